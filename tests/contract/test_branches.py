"""Branches: fork, describe, list and remove them; each goes its own way."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from turntree.errors import AlreadyExists, ErrorReason, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from turntree.model import (
    AfterTurn,
    AtHead,
    BeforeContent,
    BeforeTurn,
    Branch,
    BranchPointer,
    CreatedBranch,
    DeletedBranch,
    Origin,
    Usage,
)
from turntree.store import Store
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.local_store import LocalStore
from turntree_server.operations.branch_counts import KEPT_MAX, BranchCount, BranchCounts
from turntree_server.operations.statement import Operation, OperationFactory
from turntree_server.operations.tokens import EMPTY

from tests.support.clock import StillClock
from tests.support.items import assistant, function_call, system, turns, user
from tests.support.reading import cursor_of, items_of, pages_of

T = TypeVar("T")

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

OPENING = system("be kind")
HISTORY = [OPENING, *turns(3)]
ORIGINS: dict[str, tuple[Origin, int, int]] = {
    "before the first turn": (BeforeTurn(1), 0, 1),
    "before a turn": (BeforeTurn(2), 1, 3),
    "after a turn": (AfterTurn(2), 2, 5),
    "after what precedes all turns": (AfterTurn(0), 0, 1),
    "after the last turn": (AfterTurn(3), 3, 7),
    "before content": (BeforeContent("Q3"), 2, 5),
    "before the first of all with the content": (BeforeContent("q"), 0, 1),
    "at the head": (AtHead(), 3, 7),
}


async def fork(store: Store, branch_id: str, origin: Origin, session_id: str = "s") -> BranchPointer:
    """A new branch with this id."""
    return (await store.create_branch(session_id, origin, new_branch_id=branch_id)).branch.pointer


@pytest.mark.parametrize(("origin", "fork_turn", "item_count"), ORIGINS.values(), ids=ORIGINS.keys())
async def test_origin(store: Store, clock: StillClock, origin: Origin, fork_turn: int, item_count: int) -> None:
    """A new branch shows its source's items up to its origin."""
    await store.add_items("s", HISTORY)
    clock.advance(minutes=1)
    created = await store.create_branch("s", origin, new_branch_id="fork")
    branch = Branch("fork", item_count, fork_turn, 0, clock.now, "main", fork_turn)
    assert created == CreatedBranch(branch, BranchPointer("main", 0))
    assert await store.get_branch("s", "fork") == branch
    assert await items_of(store, "s", branch.pointer) == HISTORY[:item_count]
    assert await items_of(store, "s") == HISTORY


async def test_turns_go_on(store: Store) -> None:
    """The turns of a new branch are numbered on from those it shares."""
    await store.add_items("s", turns(3))
    branch = await fork(store, "fork", BeforeTurn(3))
    assert (await store.add_items("s", turns(1, first=30), branch=branch)).turn == 3
    assert [turn.turn for turn in (await store.list_turns("s", branch=branch)).entries] == [1, 2, 3]


async def test_empty_branch(store: Store) -> None:
    """A branch without items, forked before all or from nothing, can be written to and then is there."""
    await store.add_items("s", turns(1))
    for session_id, origin in (("s", BeforeTurn(1)), ("empty", AtHead())):
        created = await store.create_branch(session_id, origin, new_branch_id="fork")
        assert (created.branch.item_count, created.branch.fork_turn) == (0, 0)
        with pytest.raises(NotFound):
            await store.get_branch(session_id, "fork")
        assert (await store.add_items(session_id, [user("other")], branch=created.branch.pointer)).turn == 1
        assert await items_of(store, session_id, created.branch.pointer) == [user("other")]
        assert (await store.get_branch(session_id, "fork")).source_branch_id == "main"


async def test_fork_of_a_fork(store: Store) -> None:
    """A branch may be forked from any other, and shows what that one shows."""
    await store.add_items("s", turns(2))
    one = await fork(store, "one", AfterTurn(1))
    await store.add_items("s", [user("q2 of one")], branch=one)
    created = await store.create_branch("s", AtHead(), branch=one, new_branch_id="two")
    assert (created.branch.source_branch_id, created.source) == ("one", one)
    assert await items_of(store, "s", created.branch.pointer) == [*turns(1), user("q2 of one")]


async def test_own_way(store: Store) -> None:
    """What one branch writes, pops or loses never shows in another."""
    await store.add_items("s", turns(1))
    one, two = await fork(store, "one", AtHead()), await fork(store, "two", AtHead())
    await store.add_items("s", [user("of main")])
    await store.add_items("s", [user("of one")], branch=one)
    await store.add_items("s", [user("of two")], branch=two)
    await store.pop_item("s", branch=two)
    await store.pop_item("s", branch=two)
    assert await items_of(store, "s") == [*turns(1), user("of main")]
    assert await items_of(store, "s", one) == [*turns(1), user("of one")]
    assert await items_of(store, "s", two) == [user("q1")]
    await store.delete_branch("s", "one")
    assert await items_of(store, "s") == [*turns(1), user("of main")]
    assert await items_of(store, "s", two) == [user("q1")]


@pytest.mark.parametrize("turn", [0, 4, 2**40])
async def test_no_such_turn(store: Store, turn: int) -> None:
    """A fork before a turn needs its user item; without one nothing is made."""
    await store.add_items("s", HISTORY)
    with pytest.raises(NotFound) as refused:
        await store.create_branch("s", BeforeTurn(turn), new_branch_id="fork")
    assert refused.value.reason is ErrorReason.TURN_NOT_FOUND
    assert refused.value.facts == {"session_id": "s", "branch_id": "main", "turn": f"{turn}"}
    assert (await fork(store, "fork", AtHead())).branch_id == "fork"


async def test_no_such_origin(store: Store) -> None:
    """A fork after a turn needs an item of it, and one before content a user item with it."""
    await store.add_items("s", turns(2))
    for origin, reason in (
        (AfterTurn(0), ErrorReason.TURN_NOT_FOUND),
        (AfterTurn(3), ErrorReason.TURN_NOT_FOUND),
        (BeforeContent("a1"), ErrorReason.CONTENT_NOT_FOUND),
        (BeforeContent("%"), ErrorReason.CONTENT_NOT_FOUND),
    ):
        with pytest.raises(NotFound) as refused:
            await store.create_branch("s", origin)
        assert refused.value.reason is reason
    with pytest.raises(NotFound):
        await store.create_branch("nobody", BeforeTurn(1))


async def test_made_up_ids(store: Store) -> None:
    """Branches made without an id, also in one moment, get ids of their own that tell where they were forked."""
    await store.add_items("s", turns(2))
    await store.add_items("t", turns(2))
    made = [
        (await store.create_branch("s", origin)).branch.branch_id
        for origin in (BeforeTurn(2), BeforeTurn(2), BeforeContent("q2"), AfterTurn(2), AtHead(), AtHead())
    ]
    assert len(set(made)) == len(made)
    starts = ("branch_from_turn_2_",) * 3 + ("branch_after_turn_2_",) + ("branch_from_head_",) * 2
    assert all(branch_id.startswith(start) for branch_id, start in zip(made, starts, strict=True))
    await store.delete_branch("s", made[0])
    assert (await store.create_branch("s", BeforeTurn(2))).branch.branch_id not in made


async def test_used_ids(store: Store) -> None:
    """An id once used is never used again in its session, also after its branch or all branches are gone."""
    await store.add_items("s", turns(1))
    await store.add_items("t", turns(1))
    await fork(store, "fork", AtHead())
    for branch_id in ("main", "fork"):
        with pytest.raises(AlreadyExists) as refused:
            await fork(store, branch_id, AtHead())
        assert refused.value.reason is ErrorReason.BRANCH_ID_USED
        assert refused.value.facts == {"session_id": "s", "branch_id": branch_id}
    await store.delete_branch("s", "fork")
    with pytest.raises(AlreadyExists):
        await fork(store, "fork", AtHead())
    await store.clear_session("s")
    with pytest.raises(AlreadyExists):
        await fork(store, "fork", AtHead())
    assert (await fork(store, "fork", AtHead(), "t")).branch_id == "fork"
    assert (await fork(store, "Fork", AtHead())).branch_id == "Fork"


@pytest.mark.parametrize("branch_id", ["", " ", "\t\n", "x" * 257])
async def test_ids_that_cannot_be(store: Store, branch_id: str) -> None:
    """A branch id is not blank and not endless."""
    await store.add_items("s", turns(1))
    with pytest.raises(InvalidArgument) as refused:
        await fork(store, branch_id, AtHead())
    assert refused.value.facts["field"] == "new_branch_id"
    assert len((await store.list_branches("s")).entries) == 1


@pytest.mark.parametrize("branch_id", [" padded ", "ü 🌳", "a/b?c#d%20", "x" * 256, "a\nb"])
async def test_any_id(store: Store, branch_id: str) -> None:
    """A branch id is any other text."""
    await store.add_items("s", turns(1))
    pointer = await fork(store, branch_id, AtHead())
    assert await items_of(store, "s", pointer) == turns(1)
    assert (await store.get_branch("s", branch_id)).branch_id == branch_id


async def test_never_created(store: Store) -> None:
    """A branch whose id was never created is empty, is not described, and cannot be written to."""
    await store.add_items("s", turns(1))
    ghost = BranchPointer("ghost")
    cursor = await cursor_of(store, "s", ghost)
    for call in (
        store.get_branch("s", "ghost"),
        store.delete_branch("s", "ghost"),
        store.add_items("s", [user("x")], branch=ghost),
        store.add_items("s", [user("x")], branch=ghost, expected_cursor=cursor),
        store.replace_items("s", 0, [user("x")], branch=ghost, expected_cursor=cursor),
        store.add_items("new", [user("x")], branch=ghost),
    ):
        with pytest.raises(NotFound) as refused:
            await call
        assert refused.value.reason is ErrorReason.BRANCH_NOT_FOUND
        assert refused.value.facts["branch_id"] == "ghost"
    assert (await store.pop_item("s", branch=ghost)).item is None
    assert not (await store.record_usage("s", Usage(requests=1), branch=ghost)).recorded
    assert await items_of(store, "s", ghost) == []
    assert [branch.branch_id for branch in (await store.list_branches("s")).entries] == ["main"]
    assert len((await store.list_sessions()).entries) == 1


async def test_main(store: Store) -> None:
    """`main` always exists and is never deleted."""
    assert await store.get_branch("nobody", "main") == Branch("main", 0, 0, 0)
    await store.add_items("s", turns(1))
    with pytest.raises(FailedPrecondition) as refused:
        await store.delete_branch("s", "main")
    assert refused.value.reason is ErrorReason.BRANCH_PROTECTED
    assert await items_of(store, "s") == turns(1)


async def test_delete(store: Store) -> None:
    """Delete removes a branch, its usage, and every item that no other branch shows."""
    await store.add_items("s", turns(2))
    one = await fork(store, "one", AtHead())
    await store.add_items("s", [user("q3"), function_call("1"), assistant("a3")], branch=one)
    await store.record_usage("s", Usage(requests=1), branch=one)
    two = (await store.create_branch("s", BeforeTurn(3), branch=one, new_branch_id="two")).branch.pointer
    assert await store.delete_branch("s", "one") == DeletedBranch(item_count=7, orphan_count=3, usage_count=1)
    assert await items_of(store, "s") == turns(2)
    assert await items_of(store, "s", two) == turns(2)
    assert await store.get_session_usage("s") is None
    with pytest.raises(NotFound):
        await store.delete_branch("s", "one")
    assert await store.delete_branch("s", "two") == DeletedBranch(4, 0, 0)


async def test_list(store: Store, clock: StillClock) -> None:
    """Branches that hold items are listed, the oldest first, and those of one second by id, as the SDK does."""
    await store.add_items("s", turns(2))
    clock.advance(minutes=1)
    for branch_id in ("d", "c"):
        await fork(store, branch_id, AtHead())
    clock.advance(minutes=1)
    await fork(store, "b", AfterTurn(1))
    await fork(store, "empty", BeforeTurn(1))
    page = await store.list_branches("s", branch=BranchPointer("b"))
    assert page.branch == BranchPointer("b", 0)
    assert [(branch.branch_id, branch.item_count, branch.turn_count) for branch in page.entries] == [
        ("main", 4, 2),
        ("c", 4, 2),
        ("d", 4, 2),
        ("b", 2, 1),
    ]
    assert list(page.entries) == [await store.get_branch("s", branch.branch_id) for branch in page.entries]


@pytest.mark.parametrize("page_size", range(1, 7))
async def test_list_pages(store: Store, clock: StillClock, page_size: int) -> None:
    """Page after page brings every branch once, in order."""
    await store.add_items("s", turns(1))
    clock.advance(minutes=1)
    for branch_id in "cabd":
        await fork(store, branch_id, AtHead())
    pages = await pages_of(lambda token: store.list_branches("s", page_size=page_size, page_token=token))
    assert [branch.branch_id for page in pages for branch in page] == ["main", "a", "b", "c", "d"]
    assert [len(page) for page in pages[:-1]] == [page_size] * (len(pages) - 1)
    token = (await store.list_branches("s", page_size=1)).next_page_token
    with pytest.raises(InvalidArgument) as refused:
        await store.list_branches("other", page_token=token)
    assert refused.value.reason is ErrorReason.PAGE_TOKEN_INVALID


async def test_list_resolves_the_callers_branch(store: Store) -> None:
    """A listing tells whether the branch the caller stands on is still meant by its pointer."""
    await store.add_items("s", turns(1))
    pointer = await fork(store, "fork", AtHead())
    assert (await store.list_branches("s", branch=pointer)).branch == pointer
    main = await store.clear_session("s")
    assert (await store.list_branches("s", branch=pointer)).branch == main


async def test_counts_follow_every_change(store: Store) -> None:
    """A branch that was counted before is right after whatever happened to it since: more, less, other, all gone."""

    async def counts() -> dict[str, tuple[int, int]]:
        listed = (await store.list_branches("s")).entries
        assert list(listed) == [await store.get_branch("s", branch.branch_id) for branch in listed]
        return {branch.branch_id: (branch.item_count, branch.turn_count) for branch in listed}

    await store.add_items("s", turns(3))
    assert await counts() == {"main": (6, 3)}
    await store.add_items("s", turns(1))
    assert await counts() == {"main": (8, 4)}
    await fork(store, "fork", AfterTurn(2))
    assert await counts() == {"main": (8, 4), "fork": (4, 2)}
    await store.pop_item("s")
    assert await counts() == {"main": (7, 4), "fork": (4, 2)}
    await store.pop_item("s")
    await store.add_items("s", [assistant("a"), assistant("b")])
    assert await counts() == {"main": (8, 3), "fork": (4, 2)}
    await store.delete_branch("s", "fork")
    assert await counts() == {"main": (8, 3)}
    await store.clear_session("s")
    assert await counts() == {}
    await store.add_items("s", turns(3))
    assert await counts() == {"main": (6, 3)}


def test_counts_are_bounded() -> None:
    """However many branches are counted, the counts of so many are kept at most, and the last one always is."""
    counts = BranchCounts()
    kept = []
    for number in range(2 * KEPT_MAX + 1):
        counts.keep("s", str(number), BranchCount(EMPTY, 0, 0, LONG_AGO))
        kept.append(counts.get("s", str(number)) is not None)
    assert all(kept)
    assert sum(counts.get("s", str(number)) is not None for number in range(len(kept))) <= KEPT_MAX


class FailingEngine(SqliteEngine):
    """Undoes each write at its end, while it `fails`."""

    fails = False

    async def write(self, operation: OperationFactory[T], session_id: str, *, brief: bool = False) -> T:
        return await super().write(
            partial(self._undone, operation) if self.fails else operation, session_id, brief=brief
        )

    def _undone(self, factory: OperationFactory[T]) -> Operation[T]:
        yield from factory()
        raise Unavailable(ErrorReason.STORE_FAILED, "undone")


async def test_a_fork_that_failed_is_not_counted(tmp_path: Path) -> None:
    """A fork that was undone leaves no trace in later counts, though its rows' ids are given to another one."""
    engine = await FailingEngine.open(tmp_path / "conversations.db")
    async with LocalStore(engine) as store:
        await store.add_items("s", [assistant("1"), user("2"), user("3"), assistant("4")])
        other = await fork(store, "other", AfterTurn(1))
        await store.add_items("s", [assistant("a")], branch=other)
        await store.add_items("s", [assistant("b")], branch=other)
        engine.fails = True
        with pytest.raises(Unavailable):
            await fork(store, "fork", AtHead())
        engine.fails = False
        await store.create_branch("s", AtHead(), branch=other, new_branch_id="fork")
        counts = {branch.branch_id: branch.turn_count for branch in (await store.list_branches("s")).entries}
    assert counts == {"main": 2, "other": 1, "fork": 1}
