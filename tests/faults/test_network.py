"""Bad networks: deadlines hold, nothing happens twice, a client is soon back, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio
import pytest
from turntree.connection import OPTIONS
from turntree.errors import DeadlineExceeded, ErrorReason, Unavailable
from turntree.remote import RemoteStore
from turntree.request_ids import new_request_id
from turntree.rpc_errors import from_rpc_error
from turntree.store import Store
from turntree.v1.session_pb2 import AddItemsRequest, GetItemsRequest, WatchRequest
from turntree.v1.session_pb2_grpc import SessionServiceStub
from turntree_server.access.caller import NAMESPACE_DEFAULT
from turntree_server.app import Server
from turntree_server.settings import Settings

from tests.faults.leaks import nothing_left
from tests.faults.report import tallied
from tests.faults.rounds import TORTURE, new_seed, rounds
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.items import large, user
from tests.support.reading import collected, items_of

T = TypeVar("T")

BACK_WITHIN_S = 5.0
FAULT_S = 1.5
PASSES = rounds(1, 3)
"""How often each fault is played."""
DEADLINE_S = 1.0
SLACK_S = 1.0
STREAM_ENDS_WITHIN_S = 8.0
"""Streams have no deadline; a dead network is noticed, and ends them."""
FORGOTTEN_WITHIN_S = 20.0
HISTORY = [user("q"), *(large(f"a{number}", 50_000) for number in range(4))]


@dataclass(slots=True)
class World:
    """A server, the network before it, a client behind the network and one beside it."""

    server: Server
    proxy: FaultProxy
    client: RemoteStore
    beside: RemoteStore


@asynccontextmanager
async def world(db: Path, **network: float) -> AsyncIterator[World]:
    """Serve one session, and insist that nothing is left at the end."""
    server = await Server.start(Settings(db=str(db), port=0, grace_s=2))
    try:
        async with RemoteStore(server.address) as beside:
            await beside.add_items("s", HISTORY)
            async with nothing_left(), FaultProxy(server.address, **network) as proxy:
                client = RemoteStore(proxy.address, timeout_s=DEADLINE_S)
                try:
                    yield World(server, proxy, client, beside)
                finally:
                    await client.close()
    finally:
        await server.stop()


async def until(holds: Callable[[], bool], within_s: float) -> None:
    """Wait until something holds."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, f"not within {within_s} s"
        await asyncio.sleep(0.02)


Use = Callable[[World], Awaitable[None]]


async def in_pipeline(world: World) -> None:
    """A read over the pipeline."""
    assert (await world.client.get_items("s")).items == tuple(HISTORY)


async def plain(world: World) -> None:
    """A read as a unary call of its own, as clients in other languages make it."""
    stub = SessionServiceStub(world.client._connection().channel)
    try:
        await stub.GetItems(GetItemsRequest(session_id="s"), timeout=DEADLINE_S)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error, world.proxy.address) from None


async def streamed_items(world: World) -> None:
    """A whole history as a stream of items."""
    assert await items_of_stream(world.client) == HISTORY


async def items_of_stream(store: Store) -> list[bytes]:
    """All items of the session, read as a stream."""
    return [item for delta in await collected(store.stream_items("s")) for item in delta.items]


async def streamed_turns(world: World) -> None:
    """A whole history as a stream of turns."""
    (turn,) = await collected(world.client.stream_turns("s"))
    assert list(turn.items) == HISTORY


USES: dict[str, Use] = {"pipeline": in_pipeline, "plain": plain, "items": streamed_items, "turns": streamed_turns}
READS = {
    ("pipeline", Fault.BLACK_HOLE),
    ("plain", Fault.RESET),
    ("items", Fault.HALF_OPEN),
    ("turns", Fault.LATENCY),
    ("items", Fault.SLICING),
}
WATCHES = {Fault.BLACK_HOLE, Fault.HALF_OPEN}
WRITES = {(Fault.RESET, False), (Fault.BLACK_HOLE, False), (Fault.HALF_OPEN, True)}
"""What is played of the reads, watches and writes when not all of it is."""


async def play(
    what: str, faults: Iterable[T], one: Callable[[World, random.Random, T], Awaitable[None]], folder: Path
) -> None:
    """Play each fault in a world of its own."""
    seed = new_seed()
    rng = random.Random(seed)
    with tallied(f"bad network: {what}", seed) as tally:
        for number, fault in enumerate(fault for _ in range(PASSES) for fault in faults):
            print(fault)
            async with world(folder / f"{number}.db") as the_world:
                await one(the_world, rng, fault)
            tally.rounds += 1


async def ends_in_time(call: Awaitable[None], within_s: float) -> None:
    """A call ends within its time, with its answer or with the error of a network."""
    with contextlib.suppress(Unavailable, DeadlineExceeded):
        await asyncio.wait_for(call, within_s)


async def back(world: World, use: Use) -> None:
    """The client makes the call again and again until it is answered, which takes no longer than it may."""
    loop = asyncio.get_running_loop()
    ended = loop.time()
    while True:
        try:
            async with asyncio.timeout(BACK_WITHIN_S - (loop.time() - ended)):
                await use(world)
            return
        except (Unavailable, TimeoutError):
            assert loop.time() - ended < BACK_WITHIN_S, "not back in time"
            await asyncio.sleep(0.05)


async def read_once(the_world: World, rng: random.Random, read: tuple[str, Fault]) -> None:
    """Read before, while and after the network is bad."""
    use, fault = USES[read[0]], read[1]
    await use(the_world)
    the_world.proxy.begin(fault)
    within_s = STREAM_ENDS_WITHIN_S if use in (streamed_items, streamed_turns) else DEADLINE_S + SLACK_S
    reading = asyncio.create_task(ends_in_time(use(the_world), within_s))
    await asyncio.sleep(rng.uniform(0.1, FAULT_S))
    the_world.proxy.end()
    await back(the_world, use)
    await reading


@pytest.mark.long
async def test_reads_on_a_bad_network(tmp_path: Path) -> None:
    """A read ends in time while the network is bad, and is answered soon after it is well again."""
    every = [(use, fault) for use in USES for fault in Fault if TORTURE or (use, fault) in READS]
    await play("each kind of read under each fault", every, read_once, tmp_path)


async def watch_once(the_world: World, rng: random.Random, fault: Fault) -> None:
    """Watch while the network is bad, and see what was written meanwhile."""
    seen: list[bytes] = []

    async def watch() -> None:
        async for delta in the_world.client.watch("s"):
            seen.extend(delta.items)

    watching = asyncio.create_task(watch())
    await until(lambda: len(seen) == len(HISTORY), BACK_WITHIN_S)
    the_world.proxy.begin(fault)
    await the_world.beside.add_items("s", [user("meanwhile")])
    await asyncio.sleep(rng.uniform(0.1, FAULT_S))
    the_world.proxy.end()
    await until(lambda: seen[-1] == user("meanwhile"), BACK_WITHIN_S + SLACK_S)
    assert seen == [*HISTORY, user("meanwhile")]
    watching.cancel()
    await asyncio.wait([watching])


@pytest.mark.long
async def test_a_watch_on_a_bad_network(tmp_path: Path) -> None:
    """A watch brings what was written while the network was bad soon after it is well again, and nothing twice."""
    await play("a watch under each fault", Fault if TORTURE else WATCHES, watch_once, tmp_path)


async def write_once(the_world: World, rng: random.Random, how: tuple[Fault, bool]) -> None:
    """Write before, while and after the network is bad, over the pipeline or plainly, until each write is answered."""
    fault, plainly = how
    numbers = itertools.count()
    stub = SessionServiceStub(the_world.client._connection().channel)
    loop = asyncio.get_running_loop()

    async def write_until_answered(item: bytes, request_id: str) -> None:
        while True:
            try:
                if plainly:
                    request = AddItemsRequest(session_id="w", items=[item], request_id=request_id)
                    await stub.AddItems(request, timeout=DEADLINE_S)
                else:
                    await the_world.client.add_items("w", [item], request_id=request_id)
                return
            except (Unavailable, DeadlineExceeded, grpc.aio.AioRpcError):
                await asyncio.sleep(rng.random() / 10)

    async def write(until: float) -> list[bytes]:
        items: list[bytes] = []
        while not items or loop.time() < until:
            items.append(user(f"{next(numbers)}"))
            await write_until_answered(items[-1], new_request_id())
        return items

    begin = loop.time()
    writers = [asyncio.create_task(write(begin + 3 * FAULT_S)) for _ in range(4)]
    await asyncio.sleep(rng.uniform(0.1, FAULT_S))
    the_world.proxy.begin(fault)
    await asyncio.sleep(FAULT_S)
    the_world.proxy.end()
    items = await asyncio.wait_for(asyncio.gather(*writers), 3 * FAULT_S + BACK_WITHIN_S)
    assert sorted(await items_of(the_world.beside, "w")) == sorted(itertools.chain.from_iterable(items))


@pytest.mark.long
async def test_writes_on_a_bad_network(tmp_path: Path) -> None:
    """Of writes on a bad network each happens once, when it is repeated with its id until it is answered."""
    every = [(fault, plainly) for fault in Fault for plainly in (False, True) if TORTURE or (fault, plainly) in WRITES]
    await play("writes under each fault", every, write_once, tmp_path)


async def test_a_slow_network_can_be_connected_to(tmp_path: Path) -> None:
    """A client connects though the server's first answer takes more than a second and a half."""
    async with world(tmp_path / "conversations.db", latency_s=0.8) as the_world:
        the_world.proxy.begin(Fault.LATENCY)
        await the_world.client.ready(BACK_WITHIN_S)


@pytest.mark.long
async def test_a_client_that_vanished_is_forgotten(tmp_path: Path) -> None:
    """A server gives up a watcher whose machine is gone without a word, and keeps one that is only silent."""
    async with world(tmp_path / "conversations.db") as the_world, AsyncExitStack() as stack:
        served = await the_world.server.namespaces.acquire(NAMESPACE_DEFAULT)
        watches = []
        for address, options in ((the_world.proxy.address, ()), (the_world.server.address, OPTIONS)):
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address, options=options))
            watches.append(SessionServiceStub(channel).Watch(WatchRequest(session_id="s")))
            await watches[-1].read()
        assert len(served._watches) == 2
        the_world.proxy.begin(Fault.BLACK_HOLE)
        await until(lambda: len(served._watches) == 1, FORGOTTEN_WITHIN_S)
        vanished, silent = watches
        assert not silent.done()
        for watch in (vanished, silent):
            watch.cancel()


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN])
def test_a_stream_that_broke_is_no_fault_of_the_server(code: grpc.StatusCode) -> None:
    """What gRPC calls internal without the server's word for it is a broken connection, and is retried as such."""
    broken = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "Internal error from Core")
    error = from_rpc_error(broken, "127.0.0.1:1")
    assert (type(error), error.reason) == (Unavailable, ErrorReason.SERVER_UNREACHABLE)
