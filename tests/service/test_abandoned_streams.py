"""Streams that are left in the middle leave nothing behind in the client."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from pathlib import Path

from turntree.remote import RemoteStore

from tests.faults.leaks import memory_bytes
from tests.support.items import large
from tests.support.server_process import serving

MIB = 1024 * 1024
ITEM_BYTES = 100_000
WATCHES = 20
ROUNDS = 15
GROWTH_BYTES_MAX = WATCHES * ROUNDS * ITEM_BYTES // 3


def test_messages_that_come_too_late_are_freed(tmp_path: Path) -> None:
    """Watches that are cancelled when their news have come, but are not read yet, keep none of them in memory."""
    with serving(tmp_path) as server:
        growth = asyncio.run(growth_of_abandoned_watches(server.address))
    assert growth < GROWTH_BYTES_MAX


async def growth_of_abandoned_watches(address: str) -> int:
    """How much memory is taken by watches that were left, in bytes."""
    async with RemoteStore(address) as store:
        await leave_watches(store)
        before = memory_bytes(os.getpid())
        for _ in range(ROUNDS):
            await leave_watches(store)
        gc.collect()
        return memory_bytes(os.getpid()) - before


async def leave_watches(store: RemoteStore) -> None:
    """Let many watches wait, and cancel each when the news have come to this process."""
    await store.clear_session("s")
    watches = [store.watch("s") for _ in range(WATCHES)]
    for watch in watches:
        await anext(watch)
    waiting = [asyncio.ensure_future(anext(watch)) for watch in watches]
    await asyncio.sleep(0.05)
    have_news_come(store.target)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


def have_news_come(address: str) -> None:
    """Write to the session, and let this event loop see nothing of it until all have been told."""

    async def write() -> None:
        async with RemoteStore(address) as store:
            await store.add_items("s", [large("news", ITEM_BYTES)])

    writer = threading.Thread(target=asyncio.run, args=(write(),))
    writer.start()
    writer.join()
    time.sleep(0.2)
