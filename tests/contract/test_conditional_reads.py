"""Conditional reads: with a cursor, a read brings only what is new."""

from __future__ import annotations

import pytest
from turntree.errors import ErrorReason, InvalidArgument
from turntree.model import ALL_ITEMS, MAIN, AtHead, BranchPointer, DeltaKind, ItemsWindow
from turntree.store import Store

from tests.support.items import assistant, function_call, function_output, turns, user
from tests.support.reading import cursor_of, items_of

UNCHANGED, APPENDED, REPLACED = DeltaKind.UNCHANGED, DeltaKind.APPENDED, DeltaKind.REPLACED


async def changed(
    store: Store, cursor: bytes | None, branch: BranchPointer = MAIN, window: ItemsWindow = ALL_ITEMS
) -> tuple[DeltaKind, list[bytes]]:
    """What a conditional read of the session `s` answers."""
    delta = await store.get_items("s", branch=branch, cursor=cursor, window=window)
    return delta.kind, list(delta.items)


async def test_unchanged(store: Store) -> None:
    """To the cursor of the whole branch the answer is UNCHANGED, without items."""
    written = await store.add_items("s", turns(2))
    assert await changed(store, written.cursor) == (UNCHANGED, [])
    assert await changed(store, await cursor_of(store, "s")) == (UNCHANGED, [])


async def test_appended(store: Store) -> None:
    """To the cursor of a beginning of the branch the answer is APPENDED with only the new items."""
    first = await store.add_items("s", turns(1))
    second = await store.add_items("s", turns(1, first=2))
    third = await store.add_items("s", turns(1, first=3))
    assert await changed(store, first.cursor) == (APPENDED, turns(2, first=2))
    assert await changed(store, second.cursor) == (APPENDED, turns(1, first=3))
    assert await changed(store, third.cursor) == (UNCHANGED, [])


async def test_empty_branch_has_a_cursor(store: Store) -> None:
    """The cursor of an empty branch is a beginning of all that is written later."""
    empty = await cursor_of(store, "s")
    assert await changed(store, empty) == (UNCHANGED, [])
    await store.add_items("s", turns(1))
    assert await changed(store, empty) == (APPENDED, turns(1))


async def test_after_pop(store: Store) -> None:
    """What was popped makes the answer REPLACED for whoever had it, and for nobody else."""
    first = await store.add_items("s", turns(1))
    second = await store.add_items("s", [user("q2")])
    popped = await store.pop_item("s")
    assert await changed(store, second.cursor) == (REPLACED, turns(1))
    assert await changed(store, first.cursor) == (UNCHANGED, [])
    assert await changed(store, popped.cursor) == (UNCHANGED, [])


async def test_after_pop_and_the_same_again(store: Store) -> None:
    """An equal item in the place of a popped one is another item: the answer is REPLACED."""
    cursor = (await store.add_items("s", [user("q1"), user("q2")])).cursor
    await store.pop_item("s")
    await store.add_items("s", [user("q2")])
    assert await changed(store, cursor) == (REPLACED, [user("q1"), user("q2")])


async def test_after_pop_of_everything(store: Store) -> None:
    """A branch that was emptied item by item begins anew for whoever had something of it."""
    cursor = (await store.add_items("s", [user("q1")])).cursor
    await store.pop_item("s")
    assert await changed(store, cursor) == (REPLACED, [])
    await store.add_items("s", [user("q1")])
    assert await changed(store, cursor) == (REPLACED, [user("q1")])


async def test_after_clear(store: Store) -> None:
    """A cleared session is REPLACED by nothing, and later by what came after."""
    cursor = (await store.add_items("s", turns(1))).cursor
    await store.clear_session("s")
    assert await changed(store, cursor) == (REPLACED, [])
    await store.add_items("s", turns(1))
    assert await changed(store, cursor) == (REPLACED, turns(1))


async def test_after_replace(store: Store) -> None:
    """After the end of a branch was replaced, only those who had some of that end read it all again."""
    before = await store.add_items("s", turns(1))
    after = await store.add_items("s", turns(1, first=2))
    replaced = await store.replace_items("s", 1, [assistant("better")], expected_cursor=after.cursor)
    assert await changed(store, after.cursor) == (REPLACED, [*turns(1), user("q2"), assistant("better")])
    assert await changed(store, before.cursor) == (APPENDED, [user("q2"), assistant("better")])
    assert await changed(store, replaced.cursor) == (UNCHANGED, [])


async def test_cursor_of_another_branch_or_session(store: Store) -> None:
    """A cursor says nothing about another branch or session, even one that shows the same items."""
    cursor = (await store.add_items("s", turns(1))).cursor
    other = (await store.add_items("t", turns(1))).cursor
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    assert await changed(store, cursor, fork) == (REPLACED, turns(1))
    assert await changed(store, await cursor_of(store, "s", fork)) == (REPLACED, turns(1))
    assert await changed(store, other) == (REPLACED, turns(1))


@pytest.mark.parametrize("cursor", [b"", b"garbage", b"\x00" * 25, b"\xff" * 25, b"x" * 64])
async def test_garbage(store: Store, cursor: bytes) -> None:
    """What never was a cursor is refused by name, in a read and in a write."""
    written = await store.add_items("s", turns(1))
    if cursor:
        with pytest.raises(InvalidArgument) as refused:
            await store.get_items("s", cursor=cursor)
        assert refused.value.reason is ErrorReason.CURSOR_INVALID
        assert refused.value.facts["field"] == "cursor"
        with pytest.raises(InvalidArgument) as refused:
            await store.add_items("s", turns(1), expected_cursor=cursor)
        assert refused.value.reason is ErrorReason.CURSOR_INVALID
    with pytest.raises(InvalidArgument) as refused:
        await store.replace_items("s", 1, turns(1), expected_cursor=cursor)
    assert refused.value.facts["field"] == "expected_cursor"
    assert await cursor_of(store, "s") == written.cursor


async def test_window_reaches_back(store: Store) -> None:
    """With a window the answer is APPENDED while the window reaches back to what the caller has, else REPLACED."""
    cursor = (await store.add_items("s", turns(2))).cursor
    await store.add_items("s", turns(1, first=3))
    assert await changed(store, cursor, window=ItemsWindow(limit=4)) == (APPENDED, turns(1, first=3))
    assert await changed(store, cursor, window=ItemsWindow(limit=2)) == (APPENDED, turns(1, first=3))
    assert await changed(store, cursor, window=ItemsWindow(limit=1)) == (REPLACED, [assistant("a3")])
    assert await changed(store, cursor, window=ItemsWindow(limit_turns=1)) == (APPENDED, turns(1, first=3))
    assert await changed(store, cursor, window=ItemsWindow(limit=0)) == (REPLACED, [])


async def test_window_of_whole_exchanges_reaches_back(store: Store) -> None:
    """When the window moves on to keep exchanges whole, what the caller has is replaced, not extended by half."""
    cursor = (await store.add_items("s", [user("q"), function_call("1")])).cursor
    await store.add_items("s", [function_output("1"), assistant("a")])
    window = ItemsWindow(limit=2, whole_exchanges=True)
    assert await changed(store, cursor, window=window) == (REPLACED, [assistant("a")])
    window = ItemsWindow(limit=3, whole_exchanges=True)
    assert await changed(store, cursor, window=window) == (APPENDED, [function_output("1"), assistant("a")])


async def test_stale_pointer(store: Store) -> None:
    """A pointer from before the session was cleared reads main, and the answer says so."""
    await store.add_items("s", turns(1))
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    cursor = await cursor_of(store, "s", fork)
    main = await store.clear_session("s")
    await store.add_items("s", [user("anew")])
    delta = await store.get_items("s", branch=fork, cursor=cursor)
    assert (delta.kind, delta.items, delta.branch) == (REPLACED, (user("anew"),), main)
    assert await items_of(store, "s", fork) == [user("anew")]
