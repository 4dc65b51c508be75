"""Slow and hostile clients, each kind as a context in which many of them are at it.

`python -m tests.faults.hostile KIND HOST:PORT` is at it until its input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
from h2.settings import SettingCodes
from turntree.remote import RemoteStore
from turntree.v1.pipeline_pb2 import PipelineCall, PipelineRequest
from turntree.v1.session_pb2 import GetItemsRequest, WatchRequest
from turntree.v1.session_pb2_grpc import SessionServiceStub

from tests.support.http2 import connect, open_connection, request
from tests.support.items import large

_WITHIN_S = 60


@asynccontextmanager
async def watchers_that_never_read(address: str) -> AsyncIterator[None]:
    """200 watchers who take nothing of what they are sent, while a session grows."""
    async with grpc.aio.insecure_channel(address) as channel, RemoteStore(address) as store:
        stub = SessionServiceStub(channel)
        watches = [stub.Watch(WatchRequest(session_id="watched")) for _ in range(200)]
        for number in range(40):
            await store.add_items("watched", [large(f"{number}", 16 * 1024)])
        yield
        for watch in watches:
            watch.cancel()


@asynccontextmanager
async def no_window(address: str) -> AsyncIterator[None]:
    """Streams of a client that gives the server no room to send anything, on fifteen connections."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(15):
            http, _, writer = await connect(stack, address, {SettingCodes.INITIAL_WINDOW_SIZE: 0})
            for stream_id in range(1, 101, 2):
                request(
                    http, stream_id, "SessionService/GetItems", GetItemsRequest(session_id="big").SerializeToString()
                )
            writer.write(http.data_to_send())
            await writer.drain()
        yield


@asynccontextmanager
async def pipelines_never_read(address: str) -> AsyncIterator[None]:
    """Pipelines of clients that ask for much, on ten connections, and give the server no room to answer."""
    calls = [PipelineCall(call_id=number, get_items=GetItemsRequest(session_id="big")) for number in range(100)]
    message = PipelineRequest(calls=calls).SerializeToString()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(10):
            http, _, writer = await connect(stack, address, {SettingCodes.INITIAL_WINDOW_SIZE: 0})
            request(http, 1, "PipelineService/Pipeline", message, more=[message] * 9)
            writer.write(http.data_to_send())
            await writer.drain()
        yield


@asynccontextmanager
async def ping_flood(address: str) -> AsyncIterator[None]:
    """Connections that send pings as fast as they can, and new ones for those that were ended."""

    async def flood() -> None:
        while True:
            with contextlib.suppress(OSError):
                async with contextlib.AsyncExitStack() as stack:
                    http, _, writer = await connect(stack, address)
                    for _ in range(200):
                        http.ping(b"pingping")
                        writer.write(http.data_to_send())
                        await writer.drain()
            await asyncio.sleep(0.02)

    async with _tasks(flood, 4):
        yield


@asynccontextmanager
async def rapid_resets(address: str) -> AsyncIterator[None]:
    """Connections that open streams and reset each at once."""

    async def reset() -> None:
        while True:
            with contextlib.suppress(OSError):
                async with contextlib.AsyncExitStack() as stack:
                    http, _, writer = await connect(stack, address)
                    for stream_id in range(1, 200, 2):
                        request(
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
async def half_open(address: str) -> AsyncIterator[None]:
    """500 connections that say nothing after they were made."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(500):
            await open_connection(stack, address)
        yield


@asynccontextmanager
async def half_open_tls(address: str) -> AsyncIterator[None]:
    """500 connections that begin to speak TLS, and stop within their first message or after it."""
    hello = _client_hello()
    async with contextlib.AsyncExitStack() as stack:
        for number in range(500):
            _, writer = await open_connection(stack, address)
            writer.write(hello[: None if number % 2 else 50])
            await writer.drain()
        yield


def _client_hello() -> bytes:
    """The first message of a client that speaks TLS and HTTP/2."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


@asynccontextmanager
async def random_bytes(address: str) -> AsyncIterator[None]:
    """Connections that send noise, with and without the first words of the protocol."""

    async def talk() -> None:
        while True:
            for begin in (b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
                with contextlib.suppress(OSError):
                    async with contextlib.AsyncExitStack() as stack:
                        _, writer = await open_connection(stack, address)
                        writer.write(begin + os.urandom(2000))
                        await writer.drain()
                await asyncio.sleep(0.02)

    async with _tasks(talk, 4):
        yield


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


KINDS: dict[str, Callable[[str], AbstractAsyncContextManager[None]]] = {
    "watchers that never read": watchers_that_never_read,
    "no window": no_window,
    "pipelines that are not read": pipelines_never_read,
    "ping flood": ping_flood,
    "rapid resets": rapid_resets,
    "half-open connections": half_open,
    "half-open TLS": half_open_tls,
    "random bytes": random_bytes,
}


@asynccontextmanager
async def at_it(kind: str, address: str) -> AsyncIterator[None]:
    """Let them be at it in a process of their own, so that they take no time from this one."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, kind, address),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), _WITHIN_S) == b"begun\n"
        yield
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), _WITHIN_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def main(kind: str, address: str) -> None:
    """Be at it until the input ends."""
    async with KINDS[kind](address):
        print("begun", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
