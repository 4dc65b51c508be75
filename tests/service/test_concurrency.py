"""Many clients, interrupted calls and killed servers: no write is lost, doubled or torn.

Each call writes a batch of three items with a tag of its own, so a history shows which calls happened, and how often.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from turntree.remote import RemoteStore
from turntree.v1.session_pb2 import AddItemsRequest, AddItemsResponse
from turntree.v1.session_pb2_grpc import SessionServiceStub

from tests.support.reading import items_of
from tests.support.server_process import ServerProcess
from tests.support.writers import batch, batches

if TYPE_CHECKING:
    from turntree.v1.session_pb2_grpc import SessionServiceAsyncStub

ROOT = Path(__file__).parents[2]
WITHIN_S = 60
INTERRUPTED_CALLS = 100


@contextmanager
def servers(folder: Path, count: int) -> Iterator[list[ServerProcess]]:
    """Servers on one and the same new database."""
    running: list[ServerProcess] = []
    try:
        while len(running) < count:
            running.append(ServerProcess.start(folder / "conversations.db"))
        yield running
        for server in running:
            server.stop()
    finally:
        for server in running:
            server.kill()


@pytest.fixture
def rng() -> random.Random:
    """Random numbers from TURNTREE_SEED, or from a new seed; a test that fails shows which."""
    seed = int(os.environ.get("TURNTREE_SEED", random.randrange(2**32)))
    print(f"TURNTREE_SEED={seed}")
    return random.Random(seed)


# Many at once


@pytest.mark.parametrize("embedded", [False, True])
async def test_many_writers_in_several_processes(embedded: bool, tmp_path: Path) -> None:
    """32 sessions and 8 writers on one branch, from two processes, lose, double and mix nothing.

    Both processes write through a server, or one of them writes the server's file itself.
    """
    shared = [f"shared/{number}" for number in range(8)]
    alone = [f"alone-{number}/0" for number in range(32)]
    count = 8
    with servers(tmp_path, 1) as running:
        urls = [running[0].address, f"sqlite:///{running[0].db}" if embedded else running[0].address]
        names = [*shared, *alone]
        clients = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.writers"),
                *(urls[client], str(count), *names[client::2]),
                cwd=ROOT,
            )
            for client in (0, 1)
        ]
        try:
            codes = await asyncio.wait_for(asyncio.gather(*(client.wait() for client in clients)), WITHIN_S)
        finally:
            for client in clients:
                if client.returncode is None:
                    client.kill()
        assert codes == [0, 0]
        for server in running:
            async with RemoteStore(server.address) as store:
                assert_whole_and_in_order(await items_of(store, "shared"), shared, count)
                outline = (await store.get_conversation_by_turns("shared", page_size=1000)).entries
                assert [entry.turn for entry in outline] == [1 + position // 3 for position in range(8 * count * 3)]
                for name in alone:
                    session_id = name.partition("/")[0]
                    assert_whole_and_in_order(await items_of(store, session_id), [name], count)


def assert_whole_and_in_order(items: Sequence[bytes], names: Sequence[str], count: int) -> None:
    """Every batch of every writer is there once, in one piece, and after those the same writer wrote before."""
    found = [list(items[start : start + 3]) for start in range(0, len(items), 3)]
    for name in names:
        written = batches(name, count)
        assert [each for each in found if each in written] == written, name
    assert len(found) == len(names) * count


# Interrupted calls


@dataclass(slots=True)
class Calls:
    """The calls of a test: those that were answered, and all that were made, by tag."""

    made: list[str] = field(default_factory=list)
    answered: dict[str, AddItemsResponse] = field(default_factory=dict)

    def assert_all_or_none(self, items: Sequence[bytes]) -> None:
        """Each call's items are all there or none is, and those of an answered call are."""
        counts = Counter(tag_of(item) for item in items)
        assert counts.keys() <= set(self.made)
        assert set(counts.values()) <= {3}, counts
        assert self.answered.keys() <= counts.keys()


def tag_of(item: bytes) -> str:
    """The tag of the call that an item belongs to."""
    return next(word for word in item.decode().split('"') if word.startswith("call-")).split()[0]


def request(tag: str) -> AddItemsRequest:
    """The call of a tag."""
    return AddItemsRequest(session_id="s", items=batch(tag), request_id=tag)


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[SessionServiceAsyncStub]:
    """A stub on a channel of its own, which does not retry; the channel is closed at once at the end."""
    channel = grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)])
    try:
        await channel.channel_ready()
        stub: SessionServiceAsyncStub = SessionServiceStub(channel)
        yield stub
    finally:
        await channel.close()


Interrupted = Callable[[str, AddItemsRequest, float], Awaitable[AddItemsResponse | None]]
"""Makes a call that is given up after some seconds; returns its answer, or None."""


async def cancelled(address: str, made: AddItemsRequest, after_s: float) -> AddItemsResponse | None:
    """The caller is cancelled."""
    async with connected(address) as stub:
        caller = asyncio.ensure_future(stub.AddItems(made))
        await asyncio.wait([caller], timeout=after_s)
        caller.cancel()
        try:
            return await caller
        except asyncio.CancelledError:
            return None


async def deadline_passed(address: str, made: AddItemsRequest, after_s: float) -> AddItemsResponse | None:
    """The deadline passes."""
    async with connected(address) as stub:
        try:
            return await stub.AddItems(made, timeout=after_s)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
            return None


async def disconnected(address: str, made: AddItemsRequest, after_s: float) -> AddItemsResponse | None:
    """The channel is closed."""
    async with connected(address) as stub:
        caller = asyncio.ensure_future(stub.AddItems(made))
        await asyncio.wait([caller], timeout=after_s)
    try:
        return await caller
    except (asyncio.CancelledError, grpc.aio.AioRpcError):
        return None


@pytest.mark.parametrize("interrupted", [cancelled, deadline_passed, disconnected])
async def test_an_interrupted_call_happens_whole_or_not_at_all(
    interrupted: Interrupted, rng: random.Random, tmp_path: Path
) -> None:
    """However a call is cut off, its items are all there or none is; a repeat makes them be there once."""
    calls = Calls(made=[f"call-{number}" for number in range(INTERRUPTED_CALLS)])
    with servers(tmp_path, 1) as (server,):
        async with asyncio.timeout(WITHIN_S), RemoteStore(server.address) as reader:
            usual_s = await usual_latency_s(server.address)

            async def interrupt(tag: str) -> None:
                answer = await interrupted(server.address, request(tag), rng.uniform(0, 3 * usual_s))
                if answer is not None:
                    calls.answered[tag] = answer

            for start in range(0, INTERRUPTED_CALLS, 4):
                await asyncio.gather(*map(interrupt, calls.made[start : start + 4]))
                calls.assert_all_or_none(await items_of(reader, "s"))
            assert 0 < len(calls.answered) < INTERRUPTED_CALLS, "no call was cut off, or none was answered"
            await assert_repeats_change_nothing(server.address, calls)
            assert Counter(map(tag_of, await items_of(reader, "s"))) == dict.fromkeys(calls.made, 3)


async def usual_latency_s(address: str) -> float:
    """How long such a call takes here and now when nothing interrupts it."""
    loop = asyncio.get_running_loop()
    latencies_s = []
    for number in range(10):
        async with connected(address) as stub:
            begun = loop.time()
            made = request(f"call-{number}")
            made.session_id, made.request_id = "warm-up", f"warm-up-{number}"
            await stub.AddItems(made)
            latencies_s.append(loop.time() - begun)
    return statistics.median(latencies_s)


async def assert_repeats_change_nothing(address: str, calls: Calls) -> None:
    """Repeat every call with its request id: those that were answered get the same answer again."""
    async with connected(address) as stub:
        for tag in calls.made:
            answer = await stub.AddItems(request(tag))
            assert answer == calls.answered.get(tag, answer), tag


# Killed servers


async def test_a_killed_server_has_every_write_that_it_acknowledged(rng: random.Random, tmp_path: Path) -> None:
    """After kill -9 and a restart answered calls are there, no other is there in part, and repeats change nothing."""
    calls = Calls()
    server = ServerProcess.start(tmp_path / "conversations.db")
    try:
        async with asyncio.timeout(WITHIN_S):
            for round_number in range(6):
                await write_until_killed(server, calls, f"call-{round_number}", rng)
                server = ServerProcess.start(server.db)
                async with RemoteStore(server.address) as reader:
                    calls.assert_all_or_none(await items_of(reader, "s"))
                    await assert_repeats_change_nothing(server.address, calls)
                    assert Counter(map(tag_of, await items_of(reader, "s"))) == dict.fromkeys(calls.made, 3)
        server.stop()
    finally:
        server.kill()
    assert len(calls.answered) < len(calls.made), "no call was cut off"


async def write_until_killed(server: ServerProcess, calls: Calls, name: str, rng: random.Random) -> None:
    """Let eight writers write until some calls were answered, and kill the server under them a moment later."""
    enough = len(calls.answered) + rng.randint(1, 60)
    loop = asyncio.get_running_loop()

    async def write(writer: int, stub: SessionServiceAsyncStub) -> None:
        for number in range(1000):
            tag = f"{name}-{writer}-{number}"
            calls.made.append(tag)
            try:
                calls.answered[tag] = await stub.AddItems(request(tag))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return
            if len(calls.answered) == enough:
                loop.call_later(rng.uniform(0, 0.01), server.process.kill)

    async with connected(server.address) as stub:
        await asyncio.gather(*(write(writer, stub) for writer in range(8)))
    server.kill()
    assert len(calls.answered) >= enough
