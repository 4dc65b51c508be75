"""Random conversations, compared with a model that keeps each branch as a list."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from turntree.errors import NotFound
from turntree.model import AfterTurn, AtHead, BeforeTurn, BranchPointer, ItemsWindow, Origin
from turntree.store import Store

from tests.support.items import assistant, system, user
from tests.support.reading import applied

SESSION_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Add:
    """Append items to a branch, which is chosen by its number."""

    branch: int
    items: list[bytes]


@dataclass(frozen=True)
class Pop:
    """Pop an item of a branch."""

    branch: int


@dataclass(frozen=True)
class Fork:
    """Fork a branch."""

    branch: int
    origin: Origin


@dataclass(frozen=True)
class Get:
    """Read a branch's newest items."""

    branch: int
    limit: int


@dataclass
class ModelBranch:
    """A branch as a list of items, and what a caller who reads it by cursor holds."""

    pointer: BranchPointer
    items: list[bytes] = field(default_factory=list)
    held: list[bytes] = field(default_factory=list)
    cursor: bytes | None = None

    def turns(self) -> list[int]:
        """The turn of each item."""
        return list(itertools.accumulate(item.startswith(b'{"role":"user"') for item in self.items))

    def forked(self, origin: Origin) -> list[bytes] | None:
        """The items of a new branch; None when there is no such origin."""
        turns = self.turns()
        match origin:
            case BeforeTurn(turn) if turn > 0 and turn in turns:
                return self.items[: turns.index(turn)]
            case AfterTurn(turn) if turn in turns:
                return [item for item, its_turn in zip(self.items, turns, strict=True) if its_turn <= turn]
            case AtHead():
                return list(self.items)
        return None


BRANCHES = st.integers(0, 5)
TURNS = st.integers(0, 4)
ITEMS = st.builds(lambda make, text: make(text), st.sampled_from([user, assistant, system]), st.text(max_size=3))
STEPS = st.lists(
    st.one_of(
        st.builds(Add, BRANCHES, st.lists(ITEMS, min_size=1, max_size=4)),
        st.builds(Pop, BRANCHES),
        st.builds(
            Fork, BRANCHES, st.one_of(st.builds(BeforeTurn, TURNS), st.builds(AfterTurn, TURNS), st.builds(AtHead))
        ),
        st.builds(Get, BRANCHES, st.integers(0, 6)),
    ),
    max_size=15,
)


@given(steps=STEPS)
@settings(
    max_examples=100,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_as_lists(store: Store, steps: list[Add | Pop | Fork | Get]) -> None:
    """Whatever is added, popped and forked, every branch reads as a list would, whole and by cursor."""
    session_id = f"s{next(SESSION_NUMBERS)}"
    branches = [ModelBranch(BranchPointer("main", 0))]
    for step in steps:
        branch = branches[step.branch % len(branches)]
        await carry_out(store, session_id, branches, branch, step)
        await read_by_cursor(store, session_id, branch)
    for branch in branches:
        await read_by_cursor(store, session_id, branch)
        outline = (await store.get_conversation_by_turns(session_id, branch=branch.pointer)).entries
        assert [entry.turn for entry in outline] == branch.turns()


async def carry_out(
    store: Store, session_id: str, branches: list[ModelBranch], branch: ModelBranch, step: Add | Pop | Fork | Get
) -> None:
    """Do the same to the store and to the model."""
    match step:
        case Add(_, items):
            branch.items += items
            written = await store.add_items(session_id, items, branch=branch.pointer)
            assert (written.branch, written.turn) == (branch.pointer, branch.turns()[-1])
        case Pop():
            expected = branch.items.pop() if branch.items else None
            assert (await store.pop_item(session_id, branch=branch.pointer)).item == expected
        case Fork(_, origin):
            forked = branch.forked(origin)
            branch_id = f"b{len(branches)}"
            forking = store.create_branch(session_id, origin, branch=branch.pointer, new_branch_id=branch_id)
            if forked is None:
                with pytest.raises(NotFound):
                    await forking
            else:
                created = (await forking).branch
                assert created.item_count == len(forked)
                branches.append(ModelBranch(created.pointer, forked))
        case Get(_, limit):
            delta = await store.get_items(session_id, branch=branch.pointer, window=ItemsWindow(limit=limit))
            assert list(delta.items) == (branch.items[-limit:] if limit else [])


async def read_by_cursor(store: Store, session_id: str, branch: ModelBranch) -> None:
    """Bring what a caller holds up to date, and compare it with the model."""
    delta = await store.get_items(session_id, branch=branch.pointer, cursor=branch.cursor)
    branch.held = applied([delta], to=branch.held)
    branch.cursor = delta.cursor
    assert branch.held == branch.items
