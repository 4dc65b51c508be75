"""Decides whether a history is linearizable: the search of Wing and Gong, with the memory that Lowe added."""

from __future__ import annotations

from tests.faults.linearizability.history import History
from tests.faults.linearizability.model import State, apply


class TooHard(Exception):
    """The search passed its bound without a verdict."""


def is_linearizable(history: History, *, steps_max: int = 2_000_000) -> bool:
    """Whether one order of the calls explains every answer, and puts no call before one that ended when it began.

    An operation can be next when every other one that is left either has not ended or ended after it began. Which
    operations were carried out and the state they led to are remembered, since what follows depends on nothing else.
    Calls without an answer are carried out where that helps, or never.

    Raises:
        TooHard: No verdict after `steps_max` steps.
    """
    operations = sorted(history, key=lambda operation: operation.began)
    answered = sum(1 << number for number, operation in enumerate(operations) if operation.ended is not None)
    seen: set[tuple[int, State]] = set()
    waiting: list[tuple[int, State]] = [(0, State())]
    steps = 0
    while waiting:
        done, state = waiting.pop()
        if done & answered == answered:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        steps += 1
        if steps > steps_max:
            raise TooHard(f"no verdict on {len(operations)} operations after {steps_max} steps")
        for number in reversed(_next(operations, done)):
            operation = operations[number]
            after, answer = apply(state, operation.call)
            if operation.answer is None or operation.answer == answer:
                waiting.append((done | 1 << number, after))
    return False


def _next(operations: History, done: int) -> list[int]:
    """The operations that can be next: those that began before any of the others that are left had ended.

    Those without an answer come last: most of them never happened, or nobody noticed.
    """
    left = [number for number in range(len(operations)) if not done >> number & 1]
    ends = (operations[number].ended for number in left)
    first_end = min((end for end in ends if end is not None), default=None)
    possible = [number for number in left if first_end is None or operations[number].began < first_end]
    return sorted(possible, key=lambda number: operations[number].ended is None)
