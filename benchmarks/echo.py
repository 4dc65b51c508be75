"""The floor: a bare grpc.aio server that knows nothing, and carries the same bytes.

A request is eight digits and a body; the reply is as many of the body's bytes as the digits say, so that both ways can
have the size of the call it stands for. `Back` gives back any message as it is, for clients in other languages.
`python -m benchmarks.echo` runs the server.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

_SERVICE = "benchmarks.Echo"
_HEADER_BYTES = 8
_CHUNK_BYTES = 1024 * 1024
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class EchoClient:
    """A channel to an echo server. The stream carries one message at a time."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._unary: Any = self._channel.unary_unary(f"/{_SERVICE}/Unary")
        self._stream: Any = self._channel.stream_stream(f"/{_SERVICE}/Stream")()
        self._download: Any = self._channel.unary_stream(f"/{_SERVICE}/Download")

    async def unary(self, body: bytes, reply_bytes: int | None = None) -> bytes:
        """One call."""
        reply: bytes = await self._unary(framed(body, reply_bytes))
        return reply

    async def on_stream(self, body: bytes, reply_bytes: int | None = None) -> bytes:
        """One message each way on the open stream."""
        await self._stream.write(framed(body, reply_bytes))
        reply: bytes = await self._stream.read()
        return reply

    async def download(self, size: int) -> int:
        """Receive so many bytes in messages of 1 MiB."""
        received = 0
        async for chunk in self._download(b"%d" % size):
            received += len(chunk)
        return received

    async def close(self) -> None:
        """Close the channel."""
        self._stream.cancel()
        await self._channel.close()


def framed(body: bytes, reply_bytes: int | None = None) -> bytes:
    """A request whose reply has so many bytes, by default as many as the body. A short body is filled up."""
    size = len(body) if reply_bytes is None else reply_bytes
    return b"%08d" % size + body.ljust(size)


def _reply(request: bytes) -> bytes:
    return request[_HEADER_BYTES : _HEADER_BYTES + int(request[:_HEADER_BYTES])]


async def _unary(request: bytes, _: Any) -> bytes:
    return _reply(request)


async def _back(request: bytes, _: Any) -> bytes:
    return request


async def _stream(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield _reply(request)


async def _download(request: bytes, _: Any) -> AsyncIterator[bytes]:
    chunk = os.urandom(_CHUNK_BYTES)
    left = int(request)
    while left > 0:
        yield chunk[:left]
        left -= _CHUNK_BYTES


async def _serve() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = grpc.aio.server(options=_OPTIONS)
    handlers: dict[str, Any] = {
        "Unary": grpc.unary_unary_rpc_method_handler(_unary),
        "Back": grpc.unary_unary_rpc_method_handler(_back),
        "Stream": grpc.stream_stream_rpc_method_handler(_stream),
        "Download": grpc.unary_stream_rpc_method_handler(_download),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"echo listening on 127.0.0.1:{port}", flush=True)
    await stop.wait()
    await server.stop(grace=1)


if __name__ == "__main__":
    asyncio.run(_serve())
