"""Comparing branches: what two of them share, and where they part."""

from __future__ import annotations

import pytest
from turntree.errors import ErrorReason, NotFound
from turntree.model import AfterTurn, AtHead, BeforeTurn, BranchComparison, BranchPointer, DeltaKind
from turntree.store import Store

from tests.support.items import assistant, turns, user


async def compared(store: Store, branch_id: str, other_branch_id: str) -> tuple[int, int, int, int, int, int]:
    """The common items and turn, then items and turns of each difference, which must read as they are counted."""
    comparison = await store.compare_branches("s", branch_id, other_branch_id)
    for difference in (comparison.difference, comparison.other_difference):
        read = await store.get_items(
            "s", branch=BranchPointer(difference.branch_id), cursor=difference.common_cursor, include_metadata=True
        )
        assert read.kind is (DeltaKind.APPENDED if difference.item_count else DeltaKind.UNCHANGED)
        assert len(read.items) == difference.item_count
        assert sum(metadata.type == "user" for metadata in read.metadata) == difference.turn_count
    return _figures(comparison)


def _figures(comparison: BranchComparison) -> tuple[int, int, int, int, int, int]:
    one, other = comparison.difference, comparison.other_difference
    return (
        *(comparison.common_item_count, comparison.common_turn),
        *(one.item_count, one.turn_count, other.item_count, other.turn_count),
    )


async def test_with_itself(store: Store) -> None:
    """A branch differs from itself in nothing."""
    await store.add_items("s", turns(2))
    assert await compared(store, "main", "main") == (4, 2, 0, 0, 0, 0)


async def test_forked(store: Store) -> None:
    """Branches share what stood when one was forked, and differ in what each wrote since."""
    await store.add_items("s", turns(3))
    fork = (await store.create_branch("s", BeforeTurn(2), new_branch_id="fork")).branch.pointer
    assert await compared(store, "main", "fork") == (2, 1, 4, 2, 0, 0)
    await store.add_items("s", [user("r2"), assistant("b2"), assistant("c2")], branch=fork)
    assert await compared(store, "main", "fork") == (2, 1, 4, 2, 3, 1)
    assert await compared(store, "fork", "main") == (2, 1, 3, 1, 4, 2)


async def test_forked_within_a_turn(store: Store) -> None:
    """Branches that part within a turn share that turn's beginning."""
    await store.add_items("s", [*turns(1), user("q2")])
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    await store.add_items("s", [assistant("a2")])
    await store.add_items("s", [assistant("b2"), user("r3")], branch=fork)
    assert await compared(store, "main", "fork") == (3, 2, 1, 0, 2, 1)


async def test_siblings(store: Store) -> None:
    """Two forks of one branch share what both took from it."""
    await store.add_items("s", turns(3))
    await store.create_branch("s", AfterTurn(1), new_branch_id="one")
    await store.create_branch("s", AfterTurn(2), new_branch_id="two")
    assert await compared(store, "one", "two") == (2, 1, 0, 0, 2, 1)


async def test_equal_items_are_not_shared(store: Store) -> None:
    """Items that two branches wrote each for themselves are not common, however equal."""
    await store.add_items("s", turns(1))
    fork = (await store.create_branch("s", BeforeTurn(1), new_branch_id="fork")).branch.pointer
    await store.add_items("s", turns(1), branch=fork)
    assert await compared(store, "main", "fork") == (0, 0, 2, 1, 2, 1)


async def test_after_pop(store: Store) -> None:
    """What one branch popped is a difference of the other."""
    await store.add_items("s", turns(2))
    await store.create_branch("s", AtHead(), new_branch_id="fork")
    await store.pop_item("s")
    await store.pop_item("s")
    assert await compared(store, "main", "fork") == (2, 1, 0, 0, 2, 1)


async def test_without_the_branch_between(store: Store) -> None:
    """Branches share what they share, also after the branch that one came by was deleted."""
    await store.add_items("s", turns(2))
    one = (await store.create_branch("s", AfterTurn(1), new_branch_id="one")).branch.pointer
    await store.create_branch("s", AtHead(), branch=one, new_branch_id="two")
    await store.delete_branch("s", "one")
    assert await compared(store, "main", "two") == (2, 1, 2, 1, 0, 0)


async def test_empty_main(store: Store) -> None:
    """`main` can be compared while it is empty."""
    await store.add_items("s", turns(1))
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    await store.pop_item("s")
    await store.pop_item("s")
    assert await compared(store, "main", "fork") == (0, 0, 0, 0, 2, 1)
    await store.add_items("s", turns(1), branch=fork)
    assert await compared(store, "fork", "main") == (0, 0, 4, 2, 0, 0)


async def test_not_found(store: Store) -> None:
    """A branch that does not exist, or was deleted, cannot be compared."""
    await store.add_items("s", turns(1))
    await store.create_branch("s", AtHead(), new_branch_id="gone")
    await store.delete_branch("s", "gone")
    for pair in (("main", "gone"), ("gone", "main"), ("main", "never"), ("never", "never")):
        with pytest.raises(NotFound) as refused:
            await store.compare_branches("s", *pair)
        assert refused.value.reason is ErrorReason.BRANCH_NOT_FOUND
