"""HTTP/2 spoken by hand, for clients that do what no library of gRPC does."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes

_ROOM_BYTES = 16 * 1024 * 1024


async def open_connection(
    stack: contextlib.AsyncExitStack, address: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that is cut at the end."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    stack.callback(_abort, writer)
    return reader, writer


def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def connect(
    stack: contextlib.AsyncExitStack, address: str, settings: dict[SettingCodes | int, int] | None = None
) -> tuple[H2Connection, asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which HTTP/2 is spoken, with these settings of the client's."""
    reader, writer = await open_connection(stack, address)
    http = H2Connection(H2Configuration(client_side=True))
    http.initiate_connection()
    if settings:
        http.update_settings(settings)
    writer.write(http.data_to_send())
    await writer.drain()
    return http, reader, writer


def request(
    http: H2Connection,
    stream_id: int,
    path: str,
    message: bytes,
    *,
    more: Sequence[bytes] = (),
    token: str | None = None,
) -> None:
    """Make a call of a service, of one message or of several, which then may have more."""
    begin(http, stream_id, path, token=token)
    for data in (message, *more):
        framed = b"\0" + len(data).to_bytes(4, "big") + data
        for start in range(0, len(framed), http.max_outbound_frame_size):
            http.send_data(stream_id, framed[start : start + http.max_outbound_frame_size])
    if not more:
        http.end_stream(stream_id)


def begin(http: H2Connection, stream_id: int, path: str, *, token: str | None = None) -> None:
    """Begin a call of a service, without any of its message."""
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", f"/turntree.v1.{path}"),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    if token is not None:
        headers.append(("authorization", f"Bearer {token}"))
    http.send_headers(stream_id, headers)


@dataclass(slots=True)
class Speaker:
    """One connection, and what came on it by stream: data, and the gRPC statuses of those that ended."""

    http: H2Connection
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    received: defaultdict[int, bytes] = field(default_factory=lambda: defaultdict(bytes))
    statuses: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    def ask(self, stream_id: int, path: str, message: Message, *, token: str | None = None) -> None:
        """Make a call of one message."""
        request(self.http, stream_id, path, message.SerializeToString(), token=token)
        self.writer.write(self.http.data_to_send())

    def make_room(self, *stream_ids: int) -> None:
        """Let the server send on streams that have no window."""
        for stream_id in (None, *stream_ids):
            self.http.increment_flow_control_window(_ROOM_BYTES, stream_id)
        self.writer.write(self.http.data_to_send())

    def messages(self, stream_id: int) -> Iterator[bytes]:
        """The messages that came on a stream."""
        data = self.received[stream_id]
        while data:
            end = 5 + int.from_bytes(data[1:5], "big")
            yield data[5:end]
            data = data[end:]

    async def hear(self, enough: Callable[[], bool], *, within_s: float = 10) -> None:
        """Take what comes, until it is enough."""
        while not enough():
            for event in self.http.receive_data(await asyncio.wait_for(self.reader.read(65536), within_s)):
                if isinstance(event, DataReceived):
                    self.received[event.stream_id] += event.data or b""
                    self.http.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
                # One that the server has ended is reset too, if the client had more to say.
                assert not isinstance(event, StreamReset) or event.stream_id in self.statuses
                if isinstance(event, TrailersReceived | ResponseReceived):
                    status = dict(event.headers or ()).get(b"grpc-status")
                    if status is not None:
                        self.statuses[event.stream_id] = int(status)
                if isinstance(event, StreamEnded):
                    self.ended.add(event.stream_id)
            self.writer.write(self.http.data_to_send())
