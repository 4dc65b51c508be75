"""Sessions: describe, list, label and delete them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from turntree.errors import ErrorReason, InvalidArgument, NotFound
from turntree.model import NEVER, AfterTurn, BranchPointer, Session
from turntree.store import Store

from tests.support.clock import StillClock
from tests.support.items import assistant, turns, user
from tests.support.reading import items_of, pages_of


async def listed(store: Store, **filters: object) -> list[str]:
    """The ids of the sessions that are listed."""
    page = await store.list_sessions(**filters)  # type: ignore[arg-type]
    return [session.session_id for session in page.entries]


async def one_a_minute(store: Store, clock: StillClock, *session_ids: str) -> None:
    """Write sessions, each a minute after the one before."""
    for session_id in session_ids:
        clock.advance(minutes=1)
        await store.add_items(session_id, turns(1))


async def test_describe(store: Store, clock: StillClock) -> None:
    """A session tells when it was made, when it was last active, its generation, expiry and labels."""
    made = clock.now
    await store.add_items("s", turns(1))
    assert await store.get_session("s") == Session("s", made, made, 0, None, {})
    active = clock.advance(minutes=5)
    await store.add_items("s", turns(1))
    assert await store.get_session("s") == Session("s", made, active, 0, None, {})
    with pytest.raises(NotFound) as refused:
        await store.get_session("nobody")
    assert refused.value.reason is ErrorReason.SESSION_NOT_FOUND
    assert refused.value.facts == {"session_id": "nobody"}


async def test_order_of_activity(store: Store, clock: StillClock) -> None:
    """Sessions are listed with the last active first."""
    await one_a_minute(store, clock, "a", "c", "b")
    assert await listed(store) == ["b", "c", "a"]
    await one_a_minute(store, clock, "a")
    assert await listed(store) == ["a", "b", "c"]
    clock.advance(minutes=1)
    await store.update_session("c", labels={"team": "red"})
    assert await listed(store) == ["c", "a", "b"]


async def test_active_times(store: Store, clock: StillClock) -> None:
    """Sessions are listed that were active at or after one time, and before another."""
    start = clock.now
    await one_a_minute(store, clock, "1", "2", "3", "4")
    two, four = start + timedelta(minutes=2), start + timedelta(minutes=4)
    assert await listed(store, active_since=two) == ["4", "3", "2"]
    assert await listed(store, active_before=four) == ["3", "2", "1"]
    assert await listed(store, active_since=two, active_before=four) == ["3", "2"]
    assert await listed(store, active_since=two + timedelta(milliseconds=1)) == ["4", "3"]
    assert await listed(store, active_before=four + timedelta(milliseconds=1)) == ["4", "3", "2", "1"]


async def test_labels_filter(store: Store, clock: StillClock) -> None:
    """Sessions are listed that carry all of the labels asked for, with exactly these values."""
    await one_a_minute(store, clock, "a", "b", "c", "d")
    await store.update_session("a", labels={"team": "red", "tier": "1"})
    await store.update_session("b", labels={"team": "red", "tier": "2"})
    await store.update_session("c", labels={"team": "", "tier": "2"})
    assert sorted(await listed(store, labels={"team": "red"})) == ["a", "b"]
    assert await listed(store, labels={"team": "red", "tier": "2"}) == ["b"]
    assert await listed(store, labels={"team": ""}) == ["c"]
    assert await listed(store, labels={"team": "Red"}) == []
    assert await listed(store, labels={"red": "team"}) == []


@pytest.mark.parametrize("page_size", range(1, 7))
async def test_pages(store: Store, clock: StillClock, page_size: int) -> None:
    """Page after page brings every session once, in order, each page but the last full."""
    await one_a_minute(store, clock, "a", "b", "c")
    await store.add_items("x", turns(1))
    await store.add_items("y", turns(1))
    pages = await pages_of(lambda token: store.list_sessions(page_size=page_size, page_token=token))
    ids = [session.session_id for page in pages for session in page]
    assert ids == await listed(store)
    assert sorted(ids) == ["a", "b", "c", "x", "y"]
    assert [len(page) for page in pages[:-1]] == [page_size] * (len(pages) - 1)
    assert pages[-1]


async def test_pages_of_what_changes(store: Store, clock: StillClock) -> None:
    """A session that is active while pages are read may be missed, and none is seen twice."""
    await one_a_minute(store, clock, "a", "b", "c", "d")
    first = await store.list_sessions(page_size=2)
    await one_a_minute(store, clock, "c", "a")
    second = await store.list_sessions(page_size=2, page_token=first.next_page_token)
    assert [session.session_id for session in first.entries] == ["d", "c"]
    assert [session.session_id for session in second.entries] == ["b"]
    assert not second.next_page_token


async def test_page_tokens(store: Store, clock: StillClock) -> None:
    """A page token goes on with the request it was made for; with other filters, or made up, it is refused."""
    await one_a_minute(store, clock, "a", "b")
    for session_id in "ab":
        await store.update_session(session_id, labels={"team": "red"})
    token = (await store.list_sessions(labels={"team": "red"}, page_size=1)).next_page_token
    turns_token = (await store.list_turns("a", page_size=1)).next_page_token
    assert token
    for filters in (
        {},
        {"labels": {"team": "blue"}},
        {"labels": {"team": "red"}, "active_since": clock.now},
        {"labels": {"team": "red"}, "active_before": clock.now},
    ):
        with pytest.raises(InvalidArgument) as refused:
            await store.list_sessions(page_token=token, **filters)
        assert refused.value.reason is ErrorReason.PAGE_TOKEN_INVALID
    for made_up in ("x", "!!!!", "AAAA", "ü", turns_token or "kw=="):
        with pytest.raises(InvalidArgument) as refused:
            await store.list_sessions(page_token=made_up)
        assert refused.value.reason is ErrorReason.PAGE_TOKEN_INVALID


async def test_update_labels(store: Store) -> None:
    """Labels named are set or removed, and labels not named stay."""
    await store.add_items("s", turns(1))
    await store.update_session("s", labels={"a": "1", "b": "2", "c": "ü 🌳"})
    updated = await store.update_session("s", labels={"a": "9", "d": ""}, remove_labels=["b", "never set"])
    assert updated.labels == {"a": "9", "c": "ü 🌳", "d": ""}
    assert await store.get_session("s") == updated
    assert await items_of(store, "s") == turns(1)


async def test_update_makes_the_session(store: Store, clock: StillClock) -> None:
    """A session may be labelled before its first item."""
    made = await store.update_session("s", labels={"team": "red"})
    assert made == Session("s", clock.now, clock.now, 0, None, {"team": "red"})
    assert await listed(store) == ["s"]
    assert await items_of(store, "s") == []


async def test_too_many_labels(store: Store) -> None:
    """A session carries at most 64 labels, also when they come one by one; the update too much changes nothing."""
    full = await store.update_session("s", labels={f"{number}": "x" for number in range(64)})
    with pytest.raises(InvalidArgument) as refused:
        await store.update_session("s", labels={"one more": "x"}, expiry=timedelta(hours=1))
    assert refused.value.reason is ErrorReason.FIELD_TOO_LARGE
    assert await store.get_session("s") == full
    swapped = await store.update_session("s", labels={"one more": "x"}, remove_labels=["0"])
    assert len(swapped.labels) == 64


async def test_update_expiry(store: Store, clock: StillClock) -> None:
    """Expiry is a time, a while from now, or never; an update that does not name it leaves it as it is."""
    assert (await store.update_session("s")).expire_time is None
    at = clock.now + timedelta(days=1, milliseconds=250)
    assert (await store.update_session("s", expiry=at)).expire_time == at
    assert (await store.update_session("s", labels={"a": "1"})).expire_time == at
    clock.advance(minutes=1)
    in_two_hours = clock.now + timedelta(hours=2)
    assert (await store.update_session("s", expiry=timedelta(hours=2))).expire_time == in_two_hours
    await store.add_items("s", turns(1))
    assert (await store.get_session("s")).expire_time == in_two_hours
    assert (await store.list_sessions()).entries[0].expire_time == in_two_hours
    assert (await store.update_session("s", expiry=NEVER)).expire_time is None
    assert (await store.get_session("s")).expire_time is None


async def test_delete(store: Store) -> None:
    """Delete removes a session with all that belongs to it, its reserved branch ids and labels too."""
    await store.add_items("s", turns(2))
    fork = (await store.create_branch("s", AfterTurn(1), new_branch_id="fork")).branch.pointer
    await store.update_session("s", labels={"team": "red"})
    await store.add_items("other", turns(1))
    await store.delete_session("s")
    assert await listed(store) == ["other"]
    for read in (store.get_session("s"), store.delete_session("s"), store.get_branch("s", "fork")):
        with pytest.raises(NotFound):
            await read
    assert await items_of(store, "s") == []
    await store.add_items("s", [user("anew")])
    assert (await store.get_session("s")).labels == {}
    assert (await store.create_branch("s", AfterTurn(1), new_branch_id="fork")).branch.item_count == 1
    stale = await store.get_items("s", branch=BranchPointer("fork", fork.generation))
    assert stale.branch.branch_id == "main"
    assert await items_of(store, "other") == turns(1)


async def test_isolation(store: Store) -> None:
    """What one session writes never shows in another."""
    await store.add_items("a", turns(1))
    await store.add_items("b", [user("other")])
    await store.create_branch("a", AfterTurn(1), new_branch_id="fork")
    with pytest.raises(NotFound):
        await store.add_items("b", [user("x")], branch=BranchPointer("fork"))
    await store.pop_item("b")
    await store.clear_session("b")
    assert (await store.search_turns("b", "q", all_branches=True)).entries == ()
    assert (await store.list_branches("b")).entries == ()
    assert await items_of(store, "a") == turns(1)
    assert (await store.pop_item("a")).item == assistant("a1")
