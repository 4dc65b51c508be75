"""The writer's thread lives as long as its database, and nobody waits for it in vain."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import turntree
from turntree.errors import ErrorReason, Unavailable
from turntree_server.engine.log_bound import LogBound
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.engine.sqlite_driver import connect
from turntree_server.engine.sqlite_writer import SqliteWriter
from turntree_server.local_store import LocalStore

from tests.support.items import user

WITHIN_S = 10


async def test_what_nobody_expects_ends_no_thread(tmp_path: Path) -> None:
    """An error that is none of the database's stops the writing: writes are refused instead of waiting for ever."""
    failed = []

    def fail(_: object) -> None:
        raise RuntimeError("unexpected")

    async with asyncio.timeout(WITHIN_S), LocalStore(await SqliteEngine.open(tmp_path / "a.db")) as store:
        engine = store.engine
        assert isinstance(engine, SqliteEngine)
        engine.when_failed(lambda _: failed.append(True))
        engine._writer._after_commit = fail
        await store.add_items("s", [user("1")])
        for _ in range(2):
            with pytest.raises(Unavailable) as refused:
                await store.add_items("s", [user("2")])
            assert refused.value.reason is ErrorReason.STORE_FAILED
        assert len((await store.get_items("s")).items) == 1
    assert failed == [True]


def test_a_log_that_cannot_be_seen(tmp_path: Path) -> None:
    """Where the size of the log cannot be asked for, as in a folder that was closed, SQLite keeps it by itself."""
    (tmp_path / "file").write_text("")
    connection = connect(str(tmp_path / "a.db"))
    LogBound(str(tmp_path / "file" / "a.db")).keep(connection)
    connection.close()


def test_the_log_of_a_database_that_is_a_link(tmp_path: Path) -> None:
    """The log is kept small also where the database is called by a symbolic link: it is beside the file itself."""
    (tmp_path / "data").mkdir()
    link, log = tmp_path / "link.db", tmp_path / "data" / "a.db-wal"
    link.symlink_to(tmp_path / "data" / "a.db")
    connection = connect(str(link))
    connection.execute("CREATE TABLE t (x)")
    assert log.stat().st_size
    LogBound(str(link), log_bytes_max=1).keep(connection)
    assert not log.stat().st_size
    connection.close()


def _wait_until_free(store: object) -> None:
    """Wait until the thread has let go of the connection, which it does after it delivers an outcome."""
    assert isinstance(store, LocalStore)
    assert isinstance(store.engine, SqliteEngine)
    writer = store.engine._writer
    give_up_at = time.monotonic() + WITHIN_S
    while writer._is_held or writer._unfinished:
        assert time.monotonic() < give_up_at
        time.sleep(0.001)


@pytest.mark.parametrize("after", [0, 1])
def test_an_interrupt_leaves_the_writer_free(after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while an embedded store hands a write over, before or within, leaves it able to write on the next loop."""
    hand_over = SqliteWriter._hand_over
    interrupts = iter([True])

    def interrupted(self: SqliteWriter, work: Any) -> None:
        if after:
            hand_over(self, work)
        if next(interrupts, False):
            raise KeyboardInterrupt
        if not after:
            hand_over(self, work)

    store = asyncio.run(turntree.connect(f"sqlite:///{tmp_path / 'a.db'}"))
    asyncio.run(store.add_items("s", [user("1")]))
    _wait_until_free(store)  # else the next write is queued, and nothing of it is handed over
    monkeypatch.setattr(SqliteWriter, "_hand_over", interrupted)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(store.add_items("s", [user("2")]))

    async def write() -> int:
        async with asyncio.timeout(WITHIN_S):
            await store.add_items("s", [user("3")])
            return len((await store.read_items("s")).items)

    assert asyncio.run(write()) == 3
    asyncio.run(store.close())
