"""Concurrency: many at once lose nothing, share nothing, and leave nothing half done."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from turntree.errors import ErrorReason, InvalidArgument, NotFound, TurntreeError, Unavailable
from turntree.model import AtHead, BeforeTurn, BranchPointer, Usage, UsageMode, UsageTotal
from turntree.store import Store
from turntree_server.engine.sqlite import IN_MEMORY, SqliteEngine
from turntree_server.local_store import LocalStore

from tests.conftest import OpenStore
from tests.support.items import turns, user
from tests.support.reading import items_of


def said_by(writer: int, number: int) -> bytes:
    """An item that tells who wrote it and when in their order."""
    return user(f"{writer}:{number}")


async def write(store: Store, writer: int, count: int, session_id: str = "s") -> None:
    """Add so many items, one after the other."""
    for number in range(count):
        await store.add_items(session_id, [said_by(writer, number)])


def assert_all_there(items: Sequence[bytes], writers: int, count: int) -> None:
    """Every writer's items are there once, in the order they were written."""
    assert Counter(items) == Counter(said_by(writer, number) for writer in range(writers) for number in range(count))
    for writer in range(writers):
        its_own = [item for item in items if item.startswith(user(f"{writer}:")[:-2])]
        assert its_own == [said_by(writer, number) for number in range(count)]


async def test_one_branch(store: Store) -> None:
    """Eight writers on one branch lose and duplicate nothing, and each one's order is kept."""
    await asyncio.gather(*(write(store, writer, 50) for writer in range(8)))
    assert_all_there(await items_of(store, "s"), writers=8, count=50)
    outline = (await store.get_conversation_by_turns("s", page_size=1000)).entries
    assert [entry.turn for entry in outline] == list(range(1, 401))


async def test_two_stores(open_store: OpenStore) -> None:
    """Two stores on one database lose and duplicate nothing either."""
    async with open_store() as one, open_store() as two:
        await asyncio.gather(*(write(store, writer, 25) for writer, store in enumerate((one, two, one, two))))
        assert_all_there(await items_of(one, "s"), writers=4, count=25)
        assert await items_of(two, "s") == await items_of(one, "s")


async def test_many_sessions(store: Store) -> None:
    """Thirty-two sessions at once keep to themselves."""
    await asyncio.gather(*(write(store, writer, 10, f"s{writer}") for writer in range(32)))
    for writer in range(32):
        assert await items_of(store, f"s{writer}") == [said_by(writer, number) for number in range(10)]


async def test_read_after_write(open_store: OpenStore) -> None:
    """A read sees every write acknowledged before it began, whichever store of the database each went to."""
    async with open_store() as one, open_store() as two:
        for number in range(20):
            writer, reader = (one, two) if number % 2 else (two, one)
            await writer.add_items("s", [user(f"{number}")])
            assert len((await reader.get_items("s")).items) == number + 1
        fork = (await one.create_branch("s", AtHead(), new_branch_id="fork")).branch
        assert await two.get_branch("s", "fork") == fork
        main = await two.clear_session("s")
        assert (await one.add_items("s", [user("x")], branch=fork.pointer)).branch == main


async def test_reads_see_whole_writes(store: Store) -> None:
    """A read beside a write sees all of it or nothing."""

    async def read() -> None:
        for _ in range(30):
            items = (await store.get_items("s")).items
            assert len(items) % 4 == 0

    async def write_fours() -> None:
        for number in range(30):
            await store.add_items("s", turns(2, first=number))

    await asyncio.gather(read(), write_fours(), read(), write_fours())
    assert len(await items_of(store, "s")) == 240


async def test_refusals_among_writes(store: Store) -> None:
    """A write that is refused leaves nothing behind, and takes none of those beside it along."""
    await store.add_items("s", turns(1))
    calls = [
        call
        for number in range(20)
        for call in (
            store.add_items("s", [user(f"{number}")]),
            store.add_items("s", [user("bad"), b"not json"]),
            store.create_branch("s", BeforeTurn(1000), new_branch_id=f"bad {number}"),
            store.add_items(f"bad {number}", [user("bad")], branch=BranchPointer("never")),
        )
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    kinds = [None, InvalidArgument, NotFound, NotFound]
    assert [type(outcome) if isinstance(outcome, Exception) else None for outcome in outcomes] == kinds * 20
    assert Counter(await items_of(store, "s")) == Counter([*turns(1), *(user(f"{number}") for number in range(20))])
    assert len((await store.list_sessions()).entries) == 1
    assert (await store.create_branch("s", AtHead(), new_branch_id="bad 0")).branch.item_count == 22


async def test_usage_in_addition(store: Store) -> None:
    """Usage that many add at once adds up."""
    await store.add_items("s", turns(1))
    await asyncio.gather(*(store.record_usage("s", Usage(1, 2, 3, 5), mode=UsageMode.ADD) for _ in range(40)))
    assert await store.get_session_usage("s") == UsageTotal(40, 80, 120, 200, 1)


async def test_one_branch_id(store: Store) -> None:
    """Of many that make a branch of one id exactly one does; those that name none get one each."""
    await store.add_items("s", turns(1))
    named = await asyncio.gather(
        *(store.create_branch("s", AtHead(), new_branch_id="fork") for _ in range(8)), return_exceptions=True
    )
    reasons = [outcome.reason for outcome in named if isinstance(outcome, TurntreeError)]
    assert reasons == [ErrorReason.BRANCH_ID_USED] * 7
    unnamed = await asyncio.gather(*(store.create_branch("s", AtHead()) for _ in range(8)))
    assert len({created.branch.branch_id for created in unnamed}) == 8


async def test_pops(store: Store) -> None:
    """Many that pop at once get each another item."""
    written = [user(f"{number}") for number in range(30)]
    await store.add_items("s", written)
    popped = await asyncio.gather(*(store.pop_item("s") for _ in range(30)))
    assert sorted(answer.item or b"" for answer in popped) == sorted(written)
    assert await items_of(store, "s") == []


async def test_cancelled(store: Store) -> None:
    """A write whose caller is cancelled happens whole or not at all, and the store goes on."""
    rounds = 30
    for number in range(rounds):
        writing = asyncio.create_task(store.add_items("s", [user(f"{number}")] * 5))
        for _ in range(number % 10):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        assert all(count == 5 for count in Counter(await items_of(store, "s")).values())
    await store.add_items("s", [user("after")])
    items = await items_of(store, "s")
    assert set(Counter(items).values()) <= {1, 5}
    assert items.count(user("after")) == 1


async def test_close_finishes_what_was_accepted(open_store: OpenStore) -> None:
    """Closing lets what is in flight finish: what was acknowledged is there afterwards, and nothing half done."""
    async with open_store() as store:
        writing = [asyncio.create_task(store.add_items("s", [user(f"{number}")] * 2)) for number in range(20)]
        await asyncio.sleep(0)
        await store.close()
        outcomes = await asyncio.gather(*writing, return_exceptions=True)
    async with open_store() as store:
        counts = Counter(await items_of(store, "s"))
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, Unavailable)
            assert counts[user(f"{number}")] in (0, 2)
        else:
            assert counts[user(f"{number}")] == 2


async def test_closed(store: Store) -> None:
    """A closed store refuses every call, and may be closed again."""
    await store.add_items("s", turns(1))
    await store.close()
    await store.close()
    for call in (store.get_items("s"), store.add_items("s", turns(1)), store.list_sessions(), store.pop_item("s")):
        with pytest.raises(Unavailable) as refused:
            await call
        assert refused.value.reason is ErrorReason.SERVER_STOPPING


@pytest.mark.parametrize("path", [IN_MEMORY, "conversations.db"])
def test_one_event_loop_after_another(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store outlives the event loop it was opened in."""
    monkeypatch.chdir(tmp_path)
    store = LocalStore(asyncio.run(SqliteEngine.open(path)))

    async def use(number: int) -> list[bytes]:
        await store.add_items("s", [user(f"{number}")])
        return await items_of(store, "s")

    for number in range(3):
        assert asyncio.run(use(number)) == [user(f"{earlier}") for earlier in range(number + 1)]
    asyncio.run(store.close())
