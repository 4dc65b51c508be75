"""What clients did to a session and what they were told, in the words of a model small enough to judge by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a call does."""

    APPEND = "append"
    POP = "pop"
    CLEAR = "clear"
    FORK = "fork"
    READ = "read"


class Outcome(StrEnum):
    """How a call ended."""

    DONE = "done"
    CONFLICT = "conflict"
    NOT_FOUND = "not_found"
    USED = "used"


@dataclass(frozen=True, slots=True)
class Call:
    """A call on a session.

    Attributes:
        kind: What it does.
        branch: The branch that is read or written.
        item: What is appended; no item is appended twice.
        expected_last: For a conditional append, the last item at the caller's cursor, empty for an empty branch. Items
            are unique, so the last one tells all those before it.
        new_branch: What the fork is called.
    """

    kind: Kind
    branch: str = "main"
    item: str = ""
    expected_last: str | None = None
    new_branch: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call answered.

    Attributes:
        outcome: How it ended.
        items: What was read or popped.
        number: The turn of an append, the generation after a clear, the items of a fork.
    """

    outcome: Outcome = Outcome.DONE
    items: tuple[str, ...] = ()
    number: int = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """A call, when it began and when it ended: numbers of events, of which no two are the same.

    A call without an answer may have happened at any time after it began, or never.
    """

    client: int
    call: Call
    began: int
    ended: int | None = None
    answer: Answer | None = None


History = Sequence[Operation]


def with_forgotten_pops(history: History) -> list[Operation]:
    """A history of calls that may have been repeated, with what the answer of a repeated pop leaves open.

    A clear takes the item out of a pop's kept answer. So a pop that a clear overlaps, and that answers no item, may be
    a repeat of one that did remove an item before the clear: it is as if it had no answer.
    """
    clears = [operation for operation in history if operation.call.kind is Kind.CLEAR]

    def is_open(pop: Operation) -> bool:
        return (
            pop.call.kind is Kind.POP
            and pop.answer == Answer()
            and pop.ended is not None
            and any(clear.began < pop.ended and (clear.ended is None or clear.ended > pop.began) for clear in clears)
        )

    return [replace(each, ended=None, answer=None) if is_open(each) else each for each in history]


def as_json(history: History) -> list[dict[str, Any]]:
    """A history as plain data."""
    return [asdict(operation) for operation in history]
