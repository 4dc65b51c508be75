"""A real server, many clients on the same sessions: every call takes effect at one moment between its two ends."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from turntree.remote import RemoteStore
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.local_store import LocalStore

from tests.faults.linearizability.checker import is_linearizable
from tests.faults.linearizability.history import Answer, Call, Kind, Operation, as_json, with_forgotten_pops
from tests.faults.linearizability.workload import record
from tests.faults.report import tallied
from tests.faults.rounds import new_seed, rounds
from tests.support.items import user
from tests.support.server_process import ServerProcess

CLIENTS = 8
CALLS = 12
PATIENCE_S = 2.0


async def one_run(server: ServerProcess, rng: random.Random, name: str, *, killed: bool) -> dict[str, list[Operation]]:
    """The histories of eight clients on three sessions of a server that is perhaps killed among their calls."""
    async with AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(
                RemoteStore(server.address, timeout_s=rng.choice((0.1, PATIENCE_S)) if killed else 30)
            )
            for _ in range(CLIENTS)
        ]
        recording = asyncio.create_task(
            record(stores, rng, calls=CALLS, name=name, patience_s=PATIENCE_S if killed else 30)
        )
        if killed:
            await asyncio.sleep(rng.random() * 0.1)
            server.kill()
            await asyncio.to_thread(server.start_again)
        return await recording


@pytest.mark.long
@pytest.mark.parametrize("killed", [False, True], ids=["calm", "killed"])
async def test_histories_of_a_real_server(killed: bool, tmp_path: Path) -> None:
    """Whatever eight clients do to three sessions at once, also around a kill of the server, is linearizable."""
    seed = new_seed()
    rng = random.Random(seed)
    server = ServerProcess.start(tmp_path / "conversations.db")
    answered = lost = 0
    try:
        with tallied(f"histories of a server that is {'killed' if killed else 'left alone'}", seed) as tally:
            for number in range(rounds(25, 500)):
                histories = await one_run(server, rng, f"run {number}", killed=killed)
                for session_id, told in histories.items():
                    history = with_forgotten_pops(told) if killed else told
                    assert is_linearizable(history), f"{session_id}: {json.dumps(as_json(history))}"
                    lost += sum(operation.answer is None for operation in history)
                    answered += sum(operation.answer is not None for operation in history)
                tally.rounds += 1
        server.stop()
    finally:
        server.kill()
    print(f"{answered} calls answered, {lost} not")
    assert (lost > 0) is killed


async def test_a_pop_that_is_repeated_after_a_clear() -> None:
    """After a clear a repeated pop does not tell what it had removed: this is accepted, and nothing without a clear."""
    async with LocalStore(await SqliteEngine.open()) as store:
        await store.add_items("s", [user("x")])
        assert (await store.pop_item("s", request_id="1")).item == user("x")
        cleared = await store.clear_session("s")
        assert (await store.pop_item("s", request_id="1")).item is None
    append = Operation(0, Call(Kind.APPEND, item="x"), 0, 1, Answer(number=1))
    pop = Operation(0, Call(Kind.POP), 2, 9, Answer())
    read = Operation(1, Call(Kind.READ), 3, 4, Answer())
    clear = Operation(1, Call(Kind.CLEAR), 5, 6, Answer(number=cleared.generation or 0))
    told = [append, pop, read, clear]
    assert not is_linearizable(told)
    assert is_linearizable(with_forgotten_pops(told))
    assert not is_linearizable(
        with_forgotten_pops([append, pop, replace(read, began=10, ended=11, answer=Answer(items=("x",)))])
    )
