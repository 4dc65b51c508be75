"""A network between a client and a server that can be made to fail: a proxy on loopback, one fault at a time."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 256 * 1024
_SLICE_BYTES = 100
_NO_LINGER = struct.pack("ii", 1, 0)


class Fault(StrEnum):
    """What is wrong with the network.

    A connection that fell into a black hole or became half-open stays dead when the fault is over, as one does whose
    way through the network was forgotten; new connections are sound then.
    """

    LATENCY = "every byte arrives later"
    RESET = "connections are reset, and new ones too"
    BLACK_HOLE = "nothing arrives any more, new connections are opened and dead"
    SLICING = "data arrives in small slices"
    HALF_OPEN = "the server's end of each connection is gone, and the client is not told"


@dataclass(eq=False, slots=True)
class _Link:
    """One connection: what was accepted from the client, and what was opened to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    dead: bool = False


class FaultProxy:
    """A proxy to `HOST:PORT`; clients connect to `address`."""

    def __init__(self, target: str, *, latency_s: float = 0.2) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._latency_s = latency_s
        self._fault: Fault | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = ""

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = "127.0.0.1:" + str(self._listener.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for link in tuple(self._links):
            _reset(link.client)
            _reset(link.server)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.wait_closed()

    def begin(self, fault: Fault) -> None:
        """Let a fault begin, for the connections there are and for new ones."""
        self._fault = fault
        for link in tuple(self._links):
            if fault is Fault.RESET:
                _reset(link.client)
                _reset(link.server)
            elif fault in (Fault.BLACK_HOLE, Fault.HALF_OPEN):
                link.dead = True
                if fault is Fault.HALF_OPEN:
                    _reset(link.server)

    def end(self) -> None:
        """Let the fault end; connections that died of it stay dead."""
        self._fault = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._fault is Fault.RESET:
            _reset(writer)
            return
        try:
            from_server, to_server = await asyncio.open_connection(self._host, self._port)
        except OSError:
            _reset(writer)
            return
        link = _Link(writer, to_server, dead=self._fault is Fault.BLACK_HOLE)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(link, reader, to_server))
                group.create_task(self._pump(link, from_server, writer))
        finally:
            self._links.discard(link)
            _reset(writer)
            _reset(to_server)

    async def _pump(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand on what comes in, as the fault of the moment has it, until one side is gone."""
        try:
            while data := await reader.read(_CHUNK_BYTES):
                if link.dead:
                    continue
                if self._fault is Fault.LATENCY:
                    await asyncio.sleep(self._latency_s)
                size = _SLICE_BYTES if self._fault is Fault.SLICING else len(data)
                for begin in range(0, len(data), size):
                    writer.write(data[begin : begin + size])
                    await writer.drain()
                    if size < len(data):
                        await asyncio.sleep(0)
        except OSError:
            pass
        if not link.dead:
            _reset(link.client)
            _reset(link.server)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and not writer.transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
