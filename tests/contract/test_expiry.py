"""Expiry: a session past its expiry looks like an absent one, and a write begins anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from turntree.errors import NotFound
from turntree.model import (
    MAIN,
    AfterTurn,
    AtHead,
    BeforeTurn,
    BranchPointer,
    DeltaKind,
    Usage,
    UsageGrouping,
)
from turntree.store import Store
from turntree_server.local_store import LocalStore

from tests.support.clock import StillClock
from tests.support.items import function_call, turns, user
from tests.support.reading import collected, cursor_of, items_of

FORK = BranchPointer("fork", 0)
USAGE = Usage(requests=1, total_tokens=15)


async def prepare(store: Store, clock: StillClock) -> bytes:
    """Write a session `s` with everything a session can have, let it expire, and return the cursor of its main."""
    await store.add_items("s", [*turns(2), function_call("1")])
    await store.create_branch("s", AfterTurn(1), new_branch_id="fork")
    await store.record_usage("s", USAGE)
    await store.record_usage("s", USAGE, branch=FORK)
    await store.update_session("s", labels={"team": "red"}, expiry=timedelta(hours=1))
    cursor = await cursor_of(store, "s")
    clock.advance(hours=1)
    return cursor


async def test_until_then(store: Store, clock: StillClock) -> None:
    """Until its expiry a session is all there, and from that moment it is not."""
    await store.add_items("s", turns(1))
    await store.update_session("s", expiry=timedelta(seconds=10))
    clock.advance(seconds=9, milliseconds=999)
    assert await items_of(store, "s") == turns(1)
    clock.advance(milliseconds=1)
    assert await items_of(store, "s") == []


async def test_looks_absent(store: Store, clock: StillClock) -> None:
    """Every read of an expired session finds nothing, on any branch."""
    cursor = await prepare(store, clock)
    for branch in (MAIN, FORK):
        assert await items_of(store, "s", branch) == []
        assert (await store.list_turns("s", branch=branch)).entries == ()
        assert (await store.search_turns("s", "q", branch=branch)).entries == ()
        assert (await store.get_conversation_by_turns("s", branch=branch)).entries == ()
        assert (await store.list_tool_usage("s", branch=branch)).entries == ()
        assert (await store.list_turn_usage("s", branch=branch)).entries == ()
        assert await store.get_session_usage("s", branch_id=branch.branch_id) is None
        assert await collected(store.stream_turns("s", branch=branch)) == []
        assert [part.items for part in await collected(store.stream_items("s", branch=branch))] == [()]
    assert (await store.search_turns("s", "", all_branches=True)).entries == ()
    assert (await store.list_branches("s")).entries == ()
    assert await store.get_session_usage("s") is None
    assert (await store.get_items("s", cursor=cursor)).kind is DeltaKind.REPLACED
    assert (await store.list_sessions()).entries == ()
    assert (await store.list_sessions(labels={"team": "red"})).entries == ()
    assert (await store.summarize_usage(UsageGrouping.SESSION)).entries == ()
    assert (await store.summarize_usage(UsageGrouping.LABEL, label_key="team")).entries == ()
    main = await store.get_branch("s", "main")
    assert (main.item_count, main.turn_count) == (0, 0)
    assert (await store.compare_branches("s", "main", "main")).common_item_count == 0


async def test_not_found(store: Store, clock: StillClock) -> None:
    """What names something of an expired session does not find it."""
    await prepare(store, clock)
    for call in (
        store.get_session("s"),
        store.delete_session("s"),
        store.get_branch("s", "fork"),
        store.delete_branch("s", "fork"),
        store.compare_branches("s", "main", "fork"),
        store.create_branch("s", BeforeTurn(1)),
        store.add_items("s", [user("x")], branch=BranchPointer("fork")),
    ):
        with pytest.raises(NotFound):
            await call
    assert (await store.pop_item("s")).item is None


async def assert_anew(store: Store, *, items: list[bytes]) -> None:
    """The session `s` holds these items of main and nothing of what it held before."""
    assert await items_of(store, "s") == items
    assert await items_of(store, "s", FORK) == items  # a pointer of the old generation means main
    session = await store.get_session("s")
    assert (dict(session.labels), session.expire_time) == ({}, None)
    assert [branch.branch_id for branch in (await store.list_branches("s")).entries] == (["main"] if items else [])
    assert await store.get_session_usage("s") is None
    assert (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.item_count == len(items)


BEGINNINGS: dict[str, tuple[Callable[[Store], Awaitable[object]], list[bytes]]] = {
    "add_items": (lambda store: store.add_items("s", [user("anew")]), [user("anew")]),
    "add_items by a stale pointer": (lambda store: store.add_items("s", [user("anew")], branch=FORK), [user("anew")]),
    "update_session": (lambda store: store.update_session("s"), []),
}


@pytest.mark.parametrize(("begin", "items"), BEGINNINGS.values(), ids=BEGINNINGS.keys())
async def test_begins_anew(
    store: Store, clock: StillClock, begin: Callable[[Store], Awaitable[object]], items: list[bytes]
) -> None:
    """A write to an expired session begins anew with nothing of the old one."""
    await prepare(store, clock)
    await begin(store)
    await assert_anew(store, items=items)


async def test_conditional_write(store: Store, clock: StillClock) -> None:
    """A cursor read after the expiry allows a write, and begins anew."""
    await prepare(store, clock)
    empty = await cursor_of(store, "s")
    await store.add_items("s", [user("anew")], expected_cursor=empty)
    await assert_anew(store, items=[user("anew")])


async def test_clear(store: Store, clock: StillClock) -> None:
    """Clearing an expired session leaves nothing, not even its labels."""
    await prepare(store, clock)
    pointer = await store.clear_session("s")
    with pytest.raises(NotFound):
        await store.get_session("s")
    await store.add_items("s", [user("anew")], branch=pointer)
    await assert_anew(store, items=[user("anew")])


async def test_usage_of_nothing(store: Store, clock: StillClock) -> None:
    """Usage of a turn whose session has expired is not recorded."""
    await prepare(store, clock)
    assert not (await store.record_usage("s", USAGE)).recorded
    assert (await store.summarize_usage(UsageGrouping.SESSION)).entries == ()


async def test_in_the_past(store: Store, clock: StillClock) -> None:
    """A session that is to expire at a time gone by is absent at once."""
    await store.add_items("s", turns(1))
    await store.update_session("s", expiry=clock.now - timedelta(days=1))
    assert (await store.list_sessions()).entries == ()
    assert await items_of(store, "s") == []


async def test_delete_expired_sessions(local_store: LocalStore, clock: StillClock) -> None:
    """Expired sessions are removed and counted, however many, and no others."""
    for number in range(230):
        await local_store.update_session(f"{number}", expiry=timedelta(hours=1 if number % 2 else 3))
    await local_store.add_items("1", turns(1))
    await local_store.add_items("2", turns(1))
    await local_store.add_items("without expiry", turns(1))
    assert await local_store.delete_expired_sessions() == 0
    clock.advance(hours=2)
    assert await local_store.delete_expired_sessions() == 115
    assert await local_store.delete_expired_sessions() == 0
    clock.now -= timedelta(hours=2)  # as if they had not expired: what is gone is gone
    assert await items_of(local_store, "1") == []
    assert await items_of(local_store, "2") == turns(1)
    assert await items_of(local_store, "without expiry") == turns(1)
    assert len((await local_store.list_sessions(page_size=1000)).entries) == 116
