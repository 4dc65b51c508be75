"""Writes: pop, replace, conditional writes and clear; each happens whole or not at all."""

from __future__ import annotations

import asyncio

import pytest
from turntree.errors import Conflict, ErrorReason, InvalidArgument, NotFound
from turntree.model import MAIN, AfterTurn, AtHead, BranchPointer, DeltaKind, Usage
from turntree.store import Store

from tests.support.items import assistant, system, turns, user
from tests.support.reading import cursor_of, items_of

USAGE = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)


async def turns_with_usage(store: Store, branch: BranchPointer = MAIN) -> list[int]:
    """The turns of a branch of the session `s` that have usage."""
    return [entry.turn for entry in (await store.list_turn_usage("s", branch=branch)).entries]


async def test_pop_to_the_ground(store: Store) -> None:
    """Pop removes and returns the newest item, and nothing when nothing is left."""
    written = turns(2)
    await store.add_items("s", written)
    popped = [(await store.pop_item("s")).item for _ in written]
    assert popped == written[::-1]
    last = await store.pop_item("s")
    assert (last.item, last.branch.branch_id) == (None, "main")
    assert (await store.get_items("s", cursor=last.cursor)).kind is DeltaKind.UNCHANGED
    assert (await store.pop_item("nobody")).item is None


async def test_turns_after_pop(store: Store) -> None:
    """A turn that was popped gives its number to the next one."""
    await store.add_items("s", turns(2))
    assert (await store.pop_item("s")).item == assistant("a2")
    assert (await store.add_items("s", [assistant("b2")])).turn == 2
    await store.pop_item("s")
    await store.pop_item("s")
    assert (await store.add_items("s", [user("r2")])).turn == 2


async def test_pop_keeps_shared_items(store: Store) -> None:
    """An item that another branch still shows is kept there, and can be popped there too."""
    await store.add_items("s", turns(2))
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    assert (await store.pop_item("s")).item == assistant("a2")
    assert await items_of(store, "s", fork) == turns(2)
    assert (await store.pop_item("s", branch=fork)).item == assistant("a2")
    assert (await store.pop_item("s", branch=fork)).item == user("q2")
    assert await items_of(store, "s") == [*turns(1), user("q2")]


async def test_pop_takes_usage_with_the_last_item(store: Store) -> None:
    """A turn's usage goes with its last item, not before, and a later turn of its number has none."""
    await store.add_items("s", turns(1))
    await store.record_usage("s", USAGE)
    await store.add_items("s", turns(1, first=2))
    await store.record_usage("s", USAGE)
    await store.pop_item("s")
    assert await turns_with_usage(store) == [1, 2]
    await store.pop_item("s")
    assert await turns_with_usage(store) == [1]
    await store.add_items("s", [user("q2 again")])
    assert await turns_with_usage(store) == [1]


async def test_pop_takes_usage_of_the_turn_before_all_turns(store: Store) -> None:
    """What was recorded before the first user item goes when the branch is empty."""
    await store.add_items("s", [system("be kind")])
    assert (await store.record_usage("s", USAGE)).recorded
    await store.pop_item("s")
    assert await turns_with_usage(store) == []


async def test_pop_leaves_usage_of_other_branches(store: Store) -> None:
    """The usage of a turn goes from the branch that lost it, and stays on others."""
    await store.add_items("s", [user("q1")])
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    await store.record_usage("s", USAGE)
    await store.record_usage("s", USAGE, branch=fork)
    await store.pop_item("s")
    assert await turns_with_usage(store) == []
    assert await turns_with_usage(store, fork) == [1]


async def test_replace(store: Store) -> None:
    """Replace takes the newest items of the branch away and puts others in their place."""
    cursor = (await store.add_items("s", turns(3))).cursor
    replaced = await store.replace_items("s", 3, [assistant("b2"), user("r3"), user("r4")], expected_cursor=cursor)
    assert await items_of(store, "s") == [*turns(1), user("q2"), assistant("b2"), user("r3"), user("r4")]
    assert (replaced.turn, replaced.cursor) == (4, await cursor_of(store, "s"))
    removed = await store.replace_items("s", 5, [], expected_cursor=replaced.cursor)
    assert (await items_of(store, "s"), removed.turn) == ([user("q1")], 1)
    await store.replace_items("s", 0, [assistant("a1")], expected_cursor=removed.cursor)
    assert await items_of(store, "s") == turns(1)


async def test_replace_everything(store: Store) -> None:
    """A branch can be replaced whole, also by nothing, and an empty one by something."""
    cursor = (await store.add_items("s", turns(2))).cursor
    emptied = await store.replace_items("s", 4, [], expected_cursor=cursor)
    assert (await items_of(store, "s"), emptied.turn) == ([], 0)
    filled = await store.replace_items("s", 0, turns(1), expected_cursor=emptied.cursor)
    assert (await items_of(store, "s"), filled.turn) == (turns(1), 1)


async def test_replace_more_than_there_is(store: Store) -> None:
    """A branch with fewer items than are to be replaced is left as it is, and the answer names the limit."""
    cursor = (await store.add_items("s", turns(1))).cursor
    with pytest.raises(InvalidArgument) as refused:
        await store.replace_items("s", 3, [user("other")], expected_cursor=cursor)
    assert refused.value.reason is ErrorReason.FIELD_INVALID
    assert (refused.value.facts["field"], refused.value.facts["value"]) == ("remove_count", "3")
    assert await items_of(store, "s") == turns(1)
    assert await cursor_of(store, "s") == cursor


async def test_replace_keeps_shared_items_and_drops_usage_of_vanished_turns(store: Store) -> None:
    """Replaced items stay where another branch shows them; turns that lost all their items lose their usage."""
    for number in (1, 2, 3):
        await store.add_items("s", turns(1, first=number))
        await store.record_usage("s", USAGE)
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    cursor = await cursor_of(store, "s")
    await store.replace_items("s", 3, [assistant("b2"), user("r3")], expected_cursor=cursor)
    assert await items_of(store, "s", fork) == turns(3)
    assert await turns_with_usage(store) == [1, 2]


async def test_replace_takes_usage_of_the_turn_before_all_turns(store: Store) -> None:
    """What was recorded before the first user item goes when all items are replaced."""
    cursor = (await store.add_items("s", [system("be kind")])).cursor
    await store.record_usage("s", USAGE)
    await store.replace_items("s", 1, turns(1), expected_cursor=cursor)
    assert await turns_with_usage(store) == []


async def test_conditional_write(store: Store) -> None:
    """With an expected cursor a write happens only if the branch is there."""
    empty = await cursor_of(store, "s")
    first = await store.add_items("s", turns(1), expected_cursor=empty)
    for stale in (empty, (await store.add_items("other", turns(1))).cursor):
        for write in (
            store.add_items("s", turns(1), expected_cursor=stale),
            store.pop_item("s", expected_cursor=stale),
            store.replace_items("s", 1, [], expected_cursor=stale),
        ):
            with pytest.raises(Conflict) as refused:
                await write
            assert refused.value.reason is ErrorReason.CURSOR_MISMATCH
            assert refused.value.facts == {"session_id": "s", "branch_id": "main"}
    assert await items_of(store, "s") == turns(1)
    popped = await store.pop_item("s", expected_cursor=first.cursor)
    assert popped.item == assistant("a1")
    await store.add_items("s", [assistant("b1")], expected_cursor=popped.cursor)
    assert await items_of(store, "s") == [user("q1"), assistant("b1")]


async def test_race(store: Store) -> None:
    """Of racing writers with the same expected cursor exactly one wins."""
    cursor = await cursor_of(store, "s")
    for round_number in range(5):
        written = [user(f"{round_number} {name}") for name in ("a", "b", "c")]
        outcomes = await asyncio.gather(
            store.add_items("s", written[:1], expected_cursor=cursor),
            store.add_items("s", written[1:2], expected_cursor=cursor),
            store.replace_items("s", 0, written[2:], expected_cursor=cursor),
            return_exceptions=True,
        )
        winners = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        assert len(winners) == 1
        assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 2
        assert (await items_of(store, "s"))[round_number:] == [written[outcomes.index(winners[0])]]
        cursor = winners[0].cursor


async def test_clear(store: Store) -> None:
    """Clear removes every item, branch and usage figure and raises the generation."""
    await store.add_items("s", turns(2))
    await store.record_usage("s", USAGE)
    await store.create_branch("s", AfterTurn(1), new_branch_id="fork")
    assert await store.clear_session("s") == BranchPointer("main", 1)
    assert await items_of(store, "s") == []
    assert (await store.list_branches("s")).entries == ()
    assert await store.get_session_usage("s") is None
    with pytest.raises(NotFound):
        await store.get_branch("s", "fork")
    assert await store.clear_session("s") == BranchPointer("main", 2)
    assert (await store.add_items("s", turns(1))).branch == BranchPointer("main", 2)


async def test_clear_keeps_labels_and_expiry(store: Store) -> None:
    """Labels and expiry outlive a clear, and so does the session that has them."""
    await store.add_items("s", turns(1))
    described = await store.update_session("s", labels={"team": "red"})
    await store.clear_session("s")
    cleared = await store.get_session("s")
    assert (cleared.labels, cleared.generation) == (described.labels, described.generation + 1)


async def test_clear_of_a_plain_session(store: Store) -> None:
    """A session that had nothing but its items looks absent once it is cleared."""
    await store.add_items("s", turns(1))
    await store.clear_session("s")
    with pytest.raises(NotFound):
        await store.get_session("s")


async def test_stale_pointer(store: Store) -> None:
    """A write through a pointer from before a clear goes to main, and the answer says so."""
    await store.add_items("s", turns(1))
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    main = await store.clear_session("s")
    assert (await store.add_items("s", turns(2), branch=fork)).branch == main
    assert await items_of(store, "s", main) == turns(2)
    popped = await store.pop_item("s", branch=fork)
    assert (popped.branch, popped.item) == (main, assistant("a2"))
    replaced = await store.replace_items("s", 1, [], expected_cursor=popped.cursor, branch=fork)
    assert (replaced.branch, await items_of(store, "s")) == (main, turns(1))
    assert (await store.create_branch("s", AtHead(), branch=fork, new_branch_id="new")).source == main


@pytest.mark.parametrize("bad", [b"", b"not json", b'{"a":1', b"\xff", b'{"a":NaN}', b'{"a":1} x', b'"\x01"'])
async def test_one_bad_item(store: Store, bad: bytes) -> None:
    """One item that is not JSON makes the whole write fail, naming it, and nothing is stored."""
    cursor = (await store.add_items("s", turns(1))).cursor
    for write in (
        store.add_items("s", [user("good"), bad, user("good")]),
        store.add_items("new", [user("good"), bad]),
        store.replace_items("s", 1, [user("good"), bad], expected_cursor=cursor),
    ):
        with pytest.raises(InvalidArgument) as refused:
            await write
        assert refused.value.reason is ErrorReason.ITEM_NOT_JSON
        assert refused.value.facts["field"] == "items[1]"
    assert await cursor_of(store, "s") == cursor
    assert await items_of(store, "s") == turns(1)
    assert [session.session_id for session in (await store.list_sessions()).entries] == ["s"]


async def test_no_items(store: Store) -> None:
    """A write of no items is refused and makes no session."""
    with pytest.raises(InvalidArgument) as refused:
        await store.add_items("s", [])
    assert refused.value.reason is ErrorReason.FIELD_REQUIRED
    assert (await store.list_sessions()).entries == ()


async def test_add_items_names_the_branch_before_and_after(store: Store) -> None:
    """`previous_cursor` is the cursor of the branch just before the write, whoever wrote last."""
    first = await store.add_items("s", [b"1"])
    second = await store.add_items("s", [b"2"])
    assert second.previous_cursor == first.cursor
    assert (await store.get_items("s", cursor=second.cursor)).kind is DeltaKind.UNCHANGED
    assert (await store.get_items("s", cursor=second.previous_cursor)).items == (b"2",)
