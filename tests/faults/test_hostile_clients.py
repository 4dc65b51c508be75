"""Slow and hostile clients: good ones go on, the server's memory is bounded, and it stops in time."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import turntree
from h2.settings import SettingCodes
from turntree.remote import RemoteStore
from turntree.store import Store
from turntree.v1.session_pb2 import GetItemsRequest

from tests.faults.hostile import KINDS, at_it
from tests.faults.leaks import memory_bytes
from tests.faults.report import tallied
from tests.faults.rounds import TORTURE, new_seed, rounds
from tests.support.credentials import Authority
from tests.support.http2 import Speaker, connect
from tests.support.items import large, user
from tests.support.server_process import ServerProcess

MIB = 1024 * 1024
MEMORY_GROWTH_MAX = 300 * MIB
STOPPED_WITHIN_S = 15.0
BIG = ("SessionService/GetItems", GetItemsRequest(session_id="big"))
CALM_S = rounds(1, 20)
SLOWER_MAX = 2.0
FLOOR_S = 0.01
"""A calm p99 below this counts as this much: it is the machine's noise."""


async def good_calls(store: Store, duration_s: float) -> float:
    """Write and read for so long, and return the time that one call in a hundred exceeds, in seconds."""
    taken = []
    end = time.monotonic() + duration_s
    while time.monotonic() < end:
        begin = time.monotonic()
        written = await store.add_items("good", [user("q")])
        taken.append(time.monotonic() - begin)
        begin = time.monotonic()
        assert (await store.get_items("good", cursor=written.cursor)).items == ()
        taken.append(time.monotonic() - begin)
        await asyncio.sleep(0.005)
    return statistics.quantiles(taken, n=100)[98]


async def play(kind: str, server: ServerProcess, store: Store) -> None:
    """Let good clients call before and beside hostile ones, and stop the server under them."""
    async with store:
        await store.add_items("big", [large(f"{number}", 60_000) for number in range(16)])
        calm_s = await good_calls(store, CALM_S)
        memory = memory_bytes(server.process.pid)
        async with at_it(kind, server.address):
            await asyncio.sleep(1)  # they have begun
            beside_s = await good_calls(store, CALM_S)
            grown = memory_bytes(server.process.pid) - memory
        print(f"p99 {1000 * calm_s:.1f} ms, then {1000 * beside_s:.1f} ms, memory {grown / MIB:+.1f} MiB")
        assert grown < MEMORY_GROWTH_MAX
        assert not TORTURE or beside_s < SLOWER_MAX * max(calm_s, FLOOR_S)
    begin = time.monotonic()
    async with at_it(kind, server.address):
        await asyncio.to_thread(server.stop)
        assert time.monotonic() - begin < STOPPED_WITHIN_S


@pytest.mark.long
async def test_hostile_clients(tmp_path: Path) -> None:
    """Beside them every good call succeeds, memory stays below its bound, and the server stops in good order."""
    authority = Authority(tmp_path)
    pem = authority.issue("server")
    with tallied("slow and hostile clients", new_seed()) as tally:
        for kind in KINDS:
            print(kind)
            tls = ["--tls-cert", str(pem.cert), "--tls-key", str(pem.key)] if "TLS" in kind else []
            server = ServerProcess.start(tmp_path / f"{kind}.db", options=tls)
            try:
                url = f"turntrees://{server.address}?ca_file={authority.cert}" if tls else server.address
                await play(kind, server, await turntree.connect(url))
            finally:
                server.kill()
            tally.rounds += 1


@asynccontextmanager
async def speaking(folder: Path, settings: dict[SettingCodes | int, int]) -> AsyncIterator[Speaker]:
    """A client that makes its requests as the hostile ones do, to a server with a large session."""
    server = ServerProcess.start(folder / "conversations.db")
    try:
        async with RemoteStore(server.address) as store:
            await store.add_items("big", [large("a", 1_000_000)])
        async with contextlib.AsyncExitStack() as stack:
            yield Speaker(*await connect(stack, server.address, settings))
        await asyncio.to_thread(server.stop)
    finally:
        server.kill()


async def test_the_hostile_clients_speak_the_protocol(tmp_path: Path) -> None:
    """A request made as the hostile clients make theirs is answered, so what they send reaches the server's calls."""
    async with speaking(tmp_path, {}) as client:
        client.ask(1, *BIG)
        await client.hear(lambda: client.ended == {1})


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.5])
async def test_answers_that_were_given_up_take_no_room(after_s: float, tmp_path: Path) -> None:
    """A client that gives up large answers it did not take, whenever it does, gets the next one."""
    async with speaking(tmp_path, {SettingCodes.INITIAL_WINDOW_SIZE: 0}) as client:
        for stream_id in range(1, 41, 2):
            client.ask(stream_id, *BIG)
        await asyncio.sleep(after_s)
        for stream_id in range(1, 41, 2):
            client.http.reset_stream(stream_id)
        client.ask(41, *BIG)
        client.make_room(41)
        await client.hear(lambda: client.ended == {41})
