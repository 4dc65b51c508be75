"""The write-ahead log has a bound: under a steady load of writes, with watchers and readers of every kind beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from turntree.model import LetterCase
from turntree.remote import RemoteStore
from turntree.store import Store
from turntree.v1.session_pb2 import StreamItemsRequest, WatchRequest
from turntree.v1.session_pb2_grpc import SessionServiceStub

from tests.faults.soak import MIB, WAL_BYTES_MAX
from tests.support.items import large, user
from tests.support.reading import collected
from tests.support.server_process import serving

WRITTEN_BYTES = 4 * WAL_BYTES_MAX
WRITERS = 4
ITEM_BYTES = 512 * 1024
WITHIN_S = 120


async def write(store: Store, session_id: str) -> None:
    """Write a share of it all, and empty the session now and then, so that the database stays small."""
    for number in range(WRITTEN_BYTES // ITEM_BYTES // WRITERS):
        if number % 16 == 0:
            await store.clear_session(session_id)
        await store.add_items(session_id, [large(f"{number}", ITEM_BYTES)])


async def read(store: Store, session_id: str) -> None:
    """Read without a pause."""
    while True:
        await store.read_items(session_id)
        await store.list_sessions()
        await collected(store.stream_turns(session_id))


async def search(store: Store) -> None:
    """Read what takes long, again and again, so that there is no moment without somebody who reads."""
    while True:
        await store.search_turns("big", "nobody said so", letter_case=LetterCase.UNICODE)


async def watch(store: Store, session_id: str) -> None:
    """Watch, and take what comes."""
    async for _ in store.watch(session_id):
        pass


async def largest(log: Path, until: asyncio.Task[None]) -> int:
    """The largest size of a file that was seen until a task ended, in bytes."""
    size = 0
    while not until.done():
        size = max(size, os.stat(log).st_size)
        await asyncio.sleep(0.002)
    return size


@asynccontextmanager
async def at_work(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let these go on, which must not end by themselves."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
        assert not [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.mark.long
async def test_the_log_stays_small_beside_watchers_and_slow_readers(tmp_path: Path) -> None:
    """While much is written the log stays below its bound, whoever watches, reads, or does not take what is read."""
    async with contextlib.AsyncExitStack() as stack:
        server = stack.enter_context(serving(tmp_path))
        stores = [await stack.enter_async_context(RemoteStore(server.address)) for _ in range(4)]
        writing, reading, *searching = stores
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
        stub = SessionServiceStub(channel)
        await writing.add_items("big", [user("Long " * (MIB // 5)) for _ in range(16)])
        slow: list[Any] = [stub.StreamItems(StreamItemsRequest(session_id="big")) for _ in range(8)]
        deaf: list[Any] = [stub.Watch(WatchRequest(session_id=f"s{number % WRITERS}")) for number in range(40)]
        for stream in (*slow, *deaf):
            await stream.read()  # and never again
        sessions = [f"s{number}" for number in range(WRITERS)]
        others = [each for session_id in sessions for each in (read(reading, session_id), watch(reading, session_id))]
        others += [search(store) for store in searching for _ in range(4)]
        async with asyncio.timeout(WITHIN_S), at_work(*others):
            all_writing = asyncio.create_task(_all(write(writing, session_id) for session_id in sessions))
            size = await largest(Path(f"{server.db}-wal"), all_writing)
            await all_writing
        for stream in (*slow, *deaf):
            stream.cancel()
        print(f"{WRITTEN_BYTES / MIB:.0f} MiB were written, the log had at most {size / MIB:.1f} MiB")
        assert MIB < size <= WAL_BYTES_MAX


async def _all(works: Any) -> None:
    await asyncio.gather(*works)
