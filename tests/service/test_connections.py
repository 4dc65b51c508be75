"""Connections: how many there may be, how long they may take, how old they get, and what a client may do on one."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from turntree.errors import ErrorReason, ResourceExhausted
from turntree.remote import RemoteStore
from turntree.v1.session_pb2 import GetItemsRequest, WatchRequest
from turntree.v1.session_pb2_grpc import SessionServiceStub
from turntree_server.app import Server
from turntree_server.file_limit import allow_open_files
from turntree_server.settings import LoadLimits, Settings, TlsSettings

from tests.support.credentials import Authority
from tests.support.items import large, user

WITHIN_S = 10.0
SETTINGS, PING, GO_AWAY, NOTHING = 4, 6, 7, -1
MAX_CONCURRENT_STREAMS = 3


def _frame(kind: int, content: bytes) -> bytes:
    return len(content).to_bytes(3) + bytes([kind]) + bytes(5) + content


@asynccontextmanager
async def serving(folder: Path, *, tls: TlsSettings | None = None, **limits: Any) -> AsyncIterator[Server]:
    """A server with these limits."""
    settings = Settings(db=str(folder / "conversations.db"), port=0, grace_s=1, tls=tls, load=LoadLimits(**limits))
    server = await Server.start(settings)
    try:
        yield server
    finally:
        await server.stop()


class Connection:
    """A connection, as bare as it can be: frames of HTTP/2, and no more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def greet(self) -> None:
        """Say that HTTP/2 is spoken here."""
        self._writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, b""))

    def ping(self) -> None:
        """Ask whether the server lives."""
        self._writer.write(_frame(PING, b"pingping"))

    async def hear(self, *kinds: int) -> bytes | None:
        """Wait for a frame of one of these kinds; None when the server ends the connection first."""
        async with asyncio.timeout(WITHIN_S):
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    header = await self._reader.readexactly(9)
                    content = await self._reader.readexactly(int.from_bytes(header[:3]))
                    if header[3] in kinds:
                        return content
        return None

    async def is_ended(self) -> bool:
        """Wait until the server ends it."""
        return await self.hear(NOTHING) is None

    def cut(self) -> None:
        """End it from this side."""
        self._writer.transport.abort()


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Connection]:
    """A connection that is cut at the end."""
    connection = Connection(*await asyncio.open_connection(server.host, server.port))
    try:
        yield connection
    finally:
        connection.cut()


async def test_connections_have_a_limit(tmp_path: Path) -> None:
    """One connection more than there may be is ended at once; those there are go on, and one that ends makes room."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(tmp_path, connections_max=3))
        store = await stack.enter_async_context(RemoteStore(server.address))
        await store.add_items("s", [user("1")])
        others = [await stack.enter_async_context(connected(server)) for _ in range(2)]
        for other in others:
            other.greet()
            assert await other.hear(SETTINGS)
        async with connected(server) as one_more:
            one_more.greet()
            assert await one_more.hear(SETTINGS) is None
        await store.add_items("s", [user("2")])
        others[0].cut()
        async with asyncio.timeout(WITHIN_S):
            while True:  # the end of the other is on its way
                async with connected(server) as instead:
                    instead.greet()
                    if await instead.hear(SETTINGS):
                        break


@pytest.mark.parametrize("speaks_tls", [False, True])
async def test_a_connection_that_is_not_set_up_in_time(speaks_tls: bool, tmp_path: Path) -> None:
    """A connection on which nothing is said, or no handshake is ended, is ended by the server after its time."""
    pem = Authority(tmp_path).issue("server")
    tls = TlsSettings(pem.cert, pem.key) if speaks_tls else None
    loop = asyncio.get_running_loop()
    async with serving(tmp_path, tls=tls, handshake_s=0.5) as server, connected(server) as silent:
        begin = loop.time()
        assert await silent.is_ended()
        assert 0.4 < loop.time() - begin < WITHIN_S / 2


async def test_streams_of_a_connection_have_a_limit(tmp_path: Path) -> None:
    """A call beyond the streams that a connection may have waits at the client until one of them ends."""
    async with (
        serving(tmp_path, streams_max=2) as server,
        connected(server) as connection,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        connection.greet()
        settings = await connection.hear(SETTINGS)
        assert settings is not None
        assert MAX_CONCURRENT_STREAMS.to_bytes(2) + (2).to_bytes(4) in settings
        stub = SessionServiceStub(channel)
        watches = [stub.Watch(WatchRequest(session_id="s")) for _ in range(2)]
        for watch in watches:
            await watch.read()
        with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
            await stub.GetItems(GetItemsRequest(session_id="s"), timeout=0.5)
        watches[0].cancel()
        await stub.GetItems(GetItemsRequest(session_id="s"), timeout=WITHIN_S)
        watches[1].cancel()


async def test_messages_have_a_limit(tmp_path: Path) -> None:
    """A message of more than `--message-max` is refused before all of it has come, with the limit."""
    async with serving(tmp_path, message_max=10_000) as server, RemoteStore(server.address) as store:
        await store.add_items("s", [large("1", 9_000)])
        with pytest.raises(ResourceExhausted, match="10000") as raised:
            await store.add_items("s", [large("2", 11_000)])
        assert raised.value.reason is ErrorReason.MESSAGE_TOO_LARGE
        assert len((await store.get_items("s")).items) == 1


async def test_who_pings_without_end_is_cut_off(tmp_path: Path) -> None:
    """A client that asks again and again whether the server lives is told why, and its connection is ended."""
    async with serving(tmp_path) as server, connected(server) as flooding:
        flooding.greet()
        end: bytes | None = b"pingping"
        pings = 0
        while (
            end == b"pingping" and pings < 20
        ):  # one after another: what the server did not read would undo its answer
            flooding.ping()
            pings += 1
            end = await flooding.hear(PING, GO_AWAY)
        assert end is not None
        assert end.endswith(b"too_many_pings")
        assert await flooding.is_ended()


async def test_connections_get_old(tmp_path: Path) -> None:
    """A connection is ended in good order after its time, and a client notices nothing."""
    loop = asyncio.get_running_loop()
    async with (
        serving(tmp_path, connection_age_s=0.5) as server,
        connected(server) as old,
        RemoteStore(server.address) as store,
    ):
        old.greet()
        begin = loop.time()
        count = 0
        while loop.time() < begin + 2:
            count += 1
            assert (await store.add_items("s", [user("q")])).turn == count
        assert await old.hear(GO_AWAY)


def test_open_files_are_allowed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """As many files may be open as the limits need; where the system does not let that be, the log says so."""
    now = (256, 2_000)

    def set_limit(_: int, limits: tuple[int, int]) -> None:
        nonlocal now
        now = limits

    monkeypatch.setattr(resource, "getrlimit", lambda _: now)
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    allow_open_files(LoadLimits(connections_max=500, namespaces_max=10))
    assert now == (760, 2_000)
    allow_open_files(LoadLimits(connections_max=1, namespaces_max=1))
    assert now == (760, 2_000)
    assert not caplog.records
    allow_open_files(LoadLimits(connections_max=5_000, namespaces_max=10))
    assert now == (2_000, 2_000)
    (record,) = caplog.records
    assert "5260" in record.getMessage()
    assert "--connections-max" in record.getMessage()
