"""A brief write is carried out where it is asked for if the connection is free, and never waits there."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from turntree.errors import ErrorReason, ResourceExhausted, Unavailable
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.engine.sqlite_driver import sqlite3
from turntree_server.engine.sqlite_writer import SqliteWriter
from turntree_server.local_store import LocalStore
from turntree_server.operations.adopt import adopt_plain_session
from turntree_server.operations.purge import purge_session
from turntree_server.operations.quota import Quota, within
from turntree_server.operations.statement import Long, Operation, Query, Rows

from tests.support.items import user
from tests.support.reading import items_of

LOOPS = 6
WRITES = 60
LARGE = "a" * 100_000


class Threads:
    """An operation that notes the thread it is carried out on."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self) -> Operation[None]:
        self.seen.append(threading.get_ident())
        yield Query("SELECT 1")


async def test_where_it_is_carried_out(tmp_path: Path) -> None:
    """On the thread of its caller if nobody writes; a long one, and one behind another, on the writer's."""
    engine = await SqliteEngine.open(tmp_path / "a.db")
    here = threading.get_ident()
    first, behind, long, after = Threads(), Threads(), Threads(), Threads()
    await asyncio.gather(engine.write(first, "s", brief=True), engine.write(behind, "s", brief=True))
    await engine.write(long, "s")
    async with asyncio.timeout(10):
        while here not in after.seen:  # the thread may have something to do after it answered
            await asyncio.sleep(0.1)
            await engine.write(after, "s", brief=True)
    await engine.close()
    assert first.seen == [here]
    assert len(behind.seen) == len(long.seen) == 1
    assert here not in (*behind.seen, *long.seen)


async def test_what_takes_long_is_not_for_an_event_loop(tmp_path: Path) -> None:
    """An operation that turns out to take long is undone, and carried out once on the writer's thread."""
    seen: list[int] = []

    def operation() -> Operation[None]:
        seen.append(threading.get_ident())
        yield Query("INSERT INTO agent_sessions (session_id) VALUES ('s')")
        yield Long()

    async with LocalStore(await SqliteEngine.open(tmp_path / "a.db")) as store:
        await store.engine.write(operation, "s", brief=True)
        assert len((await store.list_sessions()).entries) == 1
    here = threading.get_ident()
    assert len(seen) == 2
    assert seen[0] == here != seen[1]


@pytest.mark.parametrize("operation", [adopt_plain_session, purge_session])
def test_what_takes_long(operation: Callable[[str], Operation[None]]) -> None:
    """To take over a plain session or to remove an old one, as any write may have to, is known to take long."""
    assert next(operation("s")) == Long()


async def test_a_count_of_sessions_takes_long() -> None:
    """So is the count of all sessions that a limit on them asks for."""
    async with LocalStore(await SqliteEngine.open(), quota=Quota(sessions_max=2)) as store:
        counting = within(store._context(), Quota(sessions_max=2), "s", purge_session("s"))
        next(counting)
        assert counting.send(Rows()) == Long()
        counting.close()
        await store.add_items("1", [user("1")])
        await store.add_items("2", [user("1")])
        with pytest.raises(ResourceExhausted):
            await store.add_items("3", [user("1")])


async def test_in_the_order_of_the_calls(tmp_path: Path) -> None:
    """A brief write does not overtake what was asked for before it."""
    engine = await SqliteEngine.open(tmp_path / "a.db")
    done: list[int] = []

    def operation(number: int) -> Operation[None]:
        done.append(number)
        yield Query("SELECT 1")

    for _ in range(20):
        done.clear()
        await asyncio.gather(
            *(engine.write(partial(operation, number), "s", brief=bool(number % 3)) for number in range(30))
        )
        assert done == list(range(30))
    await engine.close()


async def test_interrupted(tmp_path: Path) -> None:
    """An operation in whose midst a signal ends the program's work leaves nothing behind, and the next one works."""

    def operation() -> Operation[None]:
        yield Query("INSERT INTO agent_sessions (session_id) VALUES ('half')")
        raise KeyboardInterrupt

    async with LocalStore(await SqliteEngine.open(tmp_path / "a.db")) as store:
        with pytest.raises(KeyboardInterrupt):
            await store.engine.write(operation, "half", brief=True)
        await store.add_items("s", [user("1")])
        assert [session.session_id for session in (await store.list_sessions()).entries] == ["s"]


async def test_another_program_is_not_waited_for(tmp_path: Path) -> None:
    """While another program writes, a brief write leaves the event loop free, and is done when that program is."""
    path = tmp_path / "a.db"
    async with LocalStore(await SqliteEngine.open(path)) as store:
        cursor = (await store.add_items("s", [user("1")])).cursor
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writing = asyncio.create_task(store.add_items("s", [user("2")]))
            for _ in range(50):
                assert (await store.get_items("s", cursor=cursor)).items == ()
                await asyncio.sleep(0.01)
            assert not writing.done()
            other.execute("COMMIT")
        await writing
        assert await items_of(store, "s") == [user("1"), user("2")]


async def test_event_loops_side_by_side(tmp_path: Path) -> None:
    """Brief and long writes of several event loops at once are each done once, and each loop's in their order."""
    async with LocalStore(await SqliteEngine.open(tmp_path / "a.db")) as store:

        async def write(name: int) -> None:
            for number in range(WRITES):
                size = LARGE if number % 7 == name else ""
                await store.add_items("s", [user(f"{name} {number} {size}")])

        await asyncio.gather(*(asyncio.to_thread(asyncio.run, write(name)) for name in range(LOOPS)))
        written = [text.decode() for text in await items_of(store, "s")]
        assert len(written) == LOOPS * WRITES
        for name in range(LOOPS):
            own = [text.split()[1] for text in written if f'"{name} ' in text]
            assert own == [f"{number}" for number in range(WRITES)]


async def test_closed_while_they_write(tmp_path: Path) -> None:
    """A store that is closed under writers has what was acknowledged and nothing by halves, and closes."""
    path = tmp_path / "a.db"
    store = LocalStore(await SqliteEngine.open(path))
    acknowledged: list[bytes] = []
    begun = threading.Event()

    async def write(name: int) -> None:
        for number in range(10_000):
            item = user(f"{name} {number}")
            await store.add_items(f"s{name}", [item])
            acknowledged.append(item)
            if len(acknowledged) == 100:
                begun.set()

    writers = [asyncio.create_task(asyncio.to_thread(asyncio.run, write(name))) for name in range(3)]
    assert await asyncio.to_thread(begun.wait, 30)
    await asyncio.wait_for(store.close(), 10)
    for outcome in await asyncio.gather(*writers, return_exceptions=True):
        assert isinstance(outcome, Unavailable)
        assert outcome.reason is ErrorReason.SERVER_STOPPING
    async with LocalStore(await SqliteEngine.open(path)) as again:
        kept = [item for name in range(3) for item in await items_of(again, f"s{name}")]
    assert sorted(kept) == sorted(acknowledged)


async def test_closed_while_one_is_carried_out(tmp_path: Path) -> None:
    """An operation in whose midst the engine is closed is committed and answered before the connection goes."""
    path = tmp_path / "a.db"
    engine = await SqliteEngine.open(path)
    closing_thread = threading.Thread(target=lambda: asyncio.run(engine.close()))

    def operation() -> Operation[str]:
        closing_thread.start()
        time.sleep(0.2)
        yield Query("INSERT INTO agent_sessions (session_id) VALUES ('s')")
        return "answer"

    async with asyncio.timeout(10):
        assert await engine.write(operation, "s", brief=True) == "answer"
    await asyncio.to_thread(closing_thread.join)
    async with LocalStore(await SqliteEngine.open(path)) as store:
        assert [session.session_id for session in (await store.list_sessions()).entries] == ["s"]


async def test_a_disk_that_fails_just_after_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens the database is told, instead of waiting for ever, and it can be opened again."""

    def fail(_: object) -> int:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(SqliteWriter, "_data_version", staticmethod(fail))
        async with asyncio.timeout(10):
            with pytest.raises(Unavailable) as refused:
                await SqliteEngine.open(tmp_path / "a.db")
    assert refused.value.reason is ErrorReason.STORE_FAILED
    async with LocalStore(await SqliteEngine.open(tmp_path / "a.db")) as store:
        await store.add_items("s", [user("1")])


@pytest.mark.parametrize("brief", [True, False])
async def test_a_failure_is_the_outcome_once(brief: bool, tmp_path: Path) -> None:
    """An operation that fails is not carried out again, has no effect, and the next one works."""

    class Failing(Threads):
        def __call__(self) -> Operation[None]:
            yield from super().__call__()
            yield Query("INSERT INTO agent_sessions (session_id) VALUES ('half')")
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    engine = await SqliteEngine.open(tmp_path / "a.db")
    failing = Failing()
    with pytest.raises(Exception, match="full"):
        await engine.write(failing, "s", brief=brief)
    async with LocalStore(engine) as store:
        assert (await store.list_sessions()).entries == ()
        await store.add_items("s", [user("1")])
        assert await items_of(store, "s") == [user("1")]
    assert len(failing.seen) == 1
