"""A session as its promises describe it: branches as tuples of items, and the number of times it was cleared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from tests.faults.linearizability.history import Answer, Call, Kind, Outcome


@dataclass(frozen=True, slots=True)
class State:
    """A session: its generation, and each branch id that was ever used with its items, sorted by id."""

    generation: int = 0
    branches: tuple[tuple[str, tuple[str, ...]], ...] = (("main", ()),)


def apply(state: State, call: Call) -> tuple[State, Answer]:
    """The state after a call that nothing else disturbs, and its answer."""
    branches = dict(state.branches)
    known = call.branch in branches
    items = branches.get(call.branch, ())
    match call.kind:
        case Kind.READ:
            return state, Answer(items=items)
        case Kind.APPEND:
            if not known:
                return state, Answer(Outcome.NOT_FOUND)
            if call.expected_last is not None and call.expected_last != (items[-1] if items else ""):
                return state, Answer(Outcome.CONFLICT)
            return _with(state, branches, call.branch, (*items, call.item)), Answer(number=len(items) + 1)
        case Kind.POP:
            if not items:
                return state, Answer()
            return _with(state, branches, call.branch, items[:-1]), Answer(items=items[-1:])
        case Kind.CLEAR:
            generation = state.generation + 1
            return State(generation, tuple((name, ()) for name, _ in state.branches)), Answer(number=generation)
        case Kind.FORK:
            if not known:
                return state, Answer(Outcome.NOT_FOUND)
            if call.new_branch in branches:
                return state, Answer(Outcome.USED)
            return _with(state, branches, call.new_branch, items), Answer(number=len(items))
        case _:
            assert_never(call.kind)


def _with(state: State, branches: dict[str, tuple[str, ...]], name: str, items: tuple[str, ...]) -> State:
    return State(state.generation, tuple(sorted({**branches, name: items}.items())))
