"""Conditional reads are carried out where they are asked for, and never wait there."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from turntree.limits import CHUNK_BYTES
from turntree.model import DeltaKind
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.local_store import LocalStore
from turntree_server.operations.statement import Operation, Query


async def read_from_another_event_loop(store: LocalStore, cursor: bytes) -> DeltaKind:
    """A conditional read on a thread and loop of its own."""

    async def read() -> DeltaKind:
        return (await store.get_items("s", cursor=cursor)).kind

    return await asyncio.to_thread(asyncio.run, read())


async def test_event_loops_side_by_side(tmp_path: Path) -> None:
    """Several event loops may read by cursor at once: each gets its answer."""
    async with LocalStore(await SqliteEngine.open(tmp_path / "a.db")) as store:
        cursor = (await store.add_items("s", [b"1"])).cursor
        await store.add_items("s", [b"2"])
        kinds = await asyncio.gather(*(read_from_another_event_loop(store, cursor) for _ in range(16)))
        assert set(kinds) == {DeltaKind.APPENDED}


async def test_a_busy_connection_is_not_waited_for(tmp_path: Path) -> None:
    """While another event loop reads by cursor, a read goes to a thread instead of holding up its own loop."""
    async with LocalStore(await SqliteEngine.open(tmp_path / "a.db")) as store:
        engine = store.engine
        assert isinstance(engine, SqliteEngine)
        cursor = (await store.add_items("s", [b"1"])).cursor
        with engine._brief_reader._lock:
            assert (await store.get_items("s", cursor=cursor)).kind is DeltaKind.UNCHANGED


@pytest.mark.parametrize(("item_bytes", "visits"), [(1_000, 1), (10_000, 2)])
async def test_a_read_of_much_goes_to_a_thread(tmp_path: Path, item_bytes: int, visits: int) -> None:
    """A read that turns out to be of more than 64 KiB is carried out on a thread, and holds up no event loop."""
    threads = []

    def read_all() -> Operation[int]:
        threads.append(threading.get_ident())
        rows = yield Query("SELECT CAST(message_data AS BLOB) FROM agent_messages", bytes_max=CHUNK_BYTES)
        return sum(len(payload) for (payload,) in rows)

    async with LocalStore(await SqliteEngine.open(tmp_path / "a.db")) as store:
        await store.add_items("s", [b'"%s"' % (b"x" * item_bytes)] * 20)
        assert await store.engine.read(read_all, brief=True) == 20 * (item_bytes + 2)
    assert threads[0] == threading.get_ident()
    assert len(threads) == visits
    assert threading.get_ident() not in threads[1:]
