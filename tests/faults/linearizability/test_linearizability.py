"""A real server, many clients on the same sessions: every call takes effect at one moment between its two ends."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from turntree.remote import RemoteStore

from tests.faults.linearizability.checker import is_linearizable
from tests.faults.linearizability.history import Operation
from tests.faults.linearizability.workload import record
from tests.faults.report import tallied
from tests.faults.rounds import new_seed, rounds
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
                for session_id, history in histories.items():
                    assert is_linearizable(history), (session_id, history)
                    lost += sum(operation.answer is None for operation in history)
                    answered += sum(operation.answer is not None for operation in history)
                tally.rounds += 1
        server.stop()
    finally:
        server.kill()
    print(f"{answered} calls answered, {lost} not")
    assert (lost > 0) is killed
