"""Slow and hostile clients: good ones go on, the server's memory is bounded, and it stops in time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from turntree.remote import RemoteStore
from turntree.v1.pipeline_pb2 import PipelineCall, PipelineRequest
from turntree.v1.session_pb2 import GetItemsRequest, WatchRequest
from turntree.v1.session_pb2_grpc import SessionServiceStub

from tests.faults.leaks import memory_bytes
from tests.faults.rounds import TORTURE, rounds
from tests.support.items import large, user
from tests.support.server_process import ServerProcess

MIB = 1024 * 1024
MEMORY_GROWTH_MAX = 300 * MIB
STOPPED_WITHIN_S = 15.0
CALM_S = rounds(2, 20)
SLOWER_MAX = 2.0
FLOOR_S = 0.01
"""A calm p99 below this counts as this much: it is the machine's noise."""

Hostile = Callable[[ServerProcess], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def watchers_that_never_read(server: ServerProcess) -> AsyncIterator[None]:
    """200 watchers who take nothing of what they are sent, while a session grows."""
    async with grpc.aio.insecure_channel(server.address) as channel, RemoteStore(server.address) as store:
        stub = SessionServiceStub(channel)
        watches = [stub.Watch(WatchRequest(session_id="watched")) for _ in range(200)]
        for number in range(40):
            await store.add_items("watched", [large(f"{number}", 16 * 1024)])
        yield
        for watch in watches:
            watch.cancel()


@asynccontextmanager
async def no_window(server: ServerProcess) -> AsyncIterator[None]:
    """Streams of a client that gives the server no room to send anything, on twenty connections."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            http, writer = await _connect(stack, server, {SettingCodes.INITIAL_WINDOW_SIZE: 0})
            for stream_id in range(1, 101, 2):
                _request(
                    http, stream_id, "SessionService/GetItems", GetItemsRequest(session_id="big").SerializeToString()
                )
            writer.write(http.data_to_send())
            await writer.drain()
        yield


@asynccontextmanager
async def pipelines_never_read(server: ServerProcess) -> AsyncIterator[None]:
    """Pipelines of clients that ask for much, on ten connections, and give the server no room to answer."""
    calls = [PipelineCall(call_id=number, get_items=GetItemsRequest(session_id="big")) for number in range(100)]
    message = PipelineRequest(calls=calls).SerializeToString()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(10):
            http, writer = await _connect(stack, server, {SettingCodes.INITIAL_WINDOW_SIZE: 0})
            _request(http, 1, "PipelineService/Pipeline", message, more=[message] * 9)
            writer.write(http.data_to_send())
            await writer.drain()
        yield


@asynccontextmanager
async def ping_flood(server: ServerProcess) -> AsyncIterator[None]:
    """Connections that send pings as fast as they can, and new ones for those that were ended."""

    async def flood() -> None:
        while True:
            with contextlib.suppress(OSError):
                async with contextlib.AsyncExitStack() as stack:
                    http, writer = await _connect(stack, server)
                    for _ in range(200):
                        http.ping(b"pingping")
                        writer.write(http.data_to_send())
                        await writer.drain()
            await asyncio.sleep(0.02)

    async with _tasks(flood, 4):
        yield


@asynccontextmanager
async def rapid_resets(server: ServerProcess) -> AsyncIterator[None]:
    """Connections that open streams and reset each at once."""

    async def reset() -> None:
        while True:
            with contextlib.suppress(OSError):
                async with contextlib.AsyncExitStack() as stack:
                    http, writer = await _connect(stack, server)
                    for stream_id in range(1, 200, 2):
                        _request(
                            http,
                            stream_id,
                            "SessionService/GetItems",
                            GetItemsRequest(session_id="big").SerializeToString(),
                        )
                        http.reset_stream(stream_id)
                        writer.write(http.data_to_send())
                    await writer.drain()
            await asyncio.sleep(0.1)

    async with _tasks(reset, 2):
        yield


@asynccontextmanager
async def half_open(server: ServerProcess) -> AsyncIterator[None]:
    """500 connections that say nothing after they were made."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(500):
            await _open(stack, server)
        yield


@asynccontextmanager
async def random_bytes(server: ServerProcess) -> AsyncIterator[None]:
    """Connections that send noise, with and without the first words of the protocol."""

    async def talk() -> None:
        while True:
            for begin in (b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
                with contextlib.suppress(OSError):
                    async with contextlib.AsyncExitStack() as stack:
                        _, writer = await _open(stack, server)
                        writer.write(begin + os.urandom(2000))
                        await writer.drain()
                await asyncio.sleep(0.02)

    async with _tasks(talk, 4):
        yield


async def _open(
    stack: contextlib.AsyncExitStack, server: ServerProcess
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    stack.callback(_abort, writer)
    return reader, writer


def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _connect(
    stack: contextlib.AsyncExitStack, server: ServerProcess, settings: dict[SettingCodes | int, int] | None = None
) -> tuple[H2Connection, asyncio.StreamWriter]:
    _, writer = await _open(stack, server)
    http = H2Connection(H2Configuration(client_side=True))
    http.initiate_connection()
    if settings:
        http.update_settings(settings)
    writer.write(http.data_to_send())
    await writer.drain()
    return http, writer


def _request(http: H2Connection, stream_id: int, path: str, message: bytes, *, more: Sequence[bytes] = ()) -> None:
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", f"/turntree.v1.{path}"),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    http.send_headers(stream_id, headers)
    for data in (message, *more):
        http.send_data(stream_id, b"\0" + len(data).to_bytes(4, "big") + data)
    if not more:
        http.end_stream(stream_id)


@asynccontextmanager
async def _tasks(work: Callable[[], Coroutine[Any, Any, None]], count: int) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work()) for _ in range(count)]
    try:
        yield
        for task in tasks:
            assert not task.done(), task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def good_calls(store: RemoteStore, duration_s: float) -> list[float]:
    """Write and read for so long, and return how long each call took, in seconds."""
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
    return taken


def p99(taken: list[float]) -> float:
    """The time that one call in a hundred exceeds."""
    return statistics.quantiles(taken, n=100)[98]


@pytest.mark.parametrize(
    "hostile",
    [watchers_that_never_read, no_window, pipelines_never_read, ping_flood, rapid_resets, half_open, random_bytes],
    ids=lambda hostile: str(hostile.__name__),
)
async def test_hostile_clients(hostile: Hostile, tmp_path: Path) -> None:
    """Beside them every good call succeeds, memory stays below its bound, and the server stops in good order."""
    server = ServerProcess.start(tmp_path / "conversations.db")
    try:
        async with RemoteStore(server.address) as store:
            await store.add_items("big", [large(f"{number}", 60_000) for number in range(16)])
            calm = p99(await good_calls(store, CALM_S))
            memory = memory_bytes(server.process.pid)
            async with hostile(server):
                beside = p99(await good_calls(store, CALM_S))
                grown = memory_bytes(server.process.pid) - memory
            print(f"p99 {1000 * calm:.1f} ms, then {1000 * beside:.1f} ms, memory {grown / MIB:+.1f} MiB")
            assert grown < MEMORY_GROWTH_MAX
            assert not TORTURE or beside < SLOWER_MAX * max(calm, FLOOR_S)
        begin = time.monotonic()
        async with hostile(server):
            await asyncio.to_thread(server.stop)
            assert time.monotonic() - begin < STOPPED_WITHIN_S
    finally:
        server.kill()


@asynccontextmanager
async def speaking(folder: Path, settings: dict[SettingCodes | int, int]) -> AsyncIterator[Speaker]:
    """A client that makes its requests as the hostile ones do, to a server with a large session."""
    server = ServerProcess.start(folder / "conversations.db")
    try:
        async with RemoteStore(server.address) as store:
            await store.add_items("big", [large("a", 1_000_000)])
        async with contextlib.AsyncExitStack() as stack:
            reader, writer = await _open(stack, server)
            http = H2Connection(H2Configuration(client_side=True))
            http.initiate_connection()
            http.update_settings(settings)
            yield Speaker(http, reader, writer)
        await asyncio.to_thread(server.stop)
    finally:
        server.kill()


@dataclass(slots=True)
class Speaker:
    """One connection."""

    http: H2Connection
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ended: set[int] = field(default_factory=set)

    def ask(self, stream_id: int) -> None:
        """Ask for the large session."""
        _request(self.http, stream_id, "SessionService/GetItems", GetItemsRequest(session_id="big").SerializeToString())
        self.writer.write(self.http.data_to_send())

    async def hear(self, enough: Callable[[], bool]) -> None:
        """Take what comes, until it is enough."""
        while not enough():
            for event in self.http.receive_data(await asyncio.wait_for(self.reader.read(65536), 10)):
                if isinstance(event, DataReceived):
                    self.http.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
                assert not isinstance(event, StreamReset)
                if isinstance(event, StreamEnded):
                    self.ended.add(event.stream_id)
            self.writer.write(self.http.data_to_send())


async def test_the_hostile_clients_speak_the_protocol(tmp_path: Path) -> None:
    """A request made as the hostile clients make theirs is answered, so what they send reaches the server's calls."""
    async with speaking(tmp_path, {}) as client:
        client.ask(1)
        await client.hear(lambda: client.ended == {1})


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.5])
async def test_answers_that_were_given_up_take_no_room(after_s: float, tmp_path: Path) -> None:
    """A client that gives up large answers it did not take, whenever it does, gets the next one."""
    async with speaking(tmp_path, {SettingCodes.INITIAL_WINDOW_SIZE: 0}) as client:
        for stream_id in range(1, 41, 2):
            client.ask(stream_id)
        await asyncio.sleep(after_s)
        for stream_id in range(1, 41, 2):
            client.http.reset_stream(stream_id)
        client.ask(41)
        client.http.increment_flow_control_window(2**24, 41)
        client.http.increment_flow_control_window(2**24)
        await client.hear(lambda: client.ended == {41})
