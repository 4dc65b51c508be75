"""Small random histories, made without a store: right ones, and the same with a lie or two."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.faults.linearizability.history import Answer, Call, Kind, Operation
from tests.faults.linearizability.model import State, apply

_CLIENTS = 3
_BRANCHES = ("main", "main", "fork")
_KINDS = (Kind.APPEND, Kind.APPEND, Kind.READ, Kind.READ, Kind.POP, Kind.FORK, Kind.CLEAR)


def right_history(rng: random.Random) -> list[Operation]:
    """A history of up to a dozen calls, each of which took effect at a moment between its two ends.

    Each client's calls are laid on a line of time one after the other, each with the moment of its effect; the moments
    decide the answers. Some calls lose theirs, and some of those had no effect either.
    """
    planned: list[tuple[float, float, float, int]] = []
    for client in range(_CLIENTS):
        time = rng.random()
        for _ in range(rng.randint(1, 4)):
            began = time
            effect = began + rng.random()
            time = effect + rng.random()
            planned.append((effect, began, time, client))
            time += rng.random() / 4
    moments = sorted(moment for _, began, ended, _ in planned for moment in (began, ended))
    number = {moment: position for position, moment in enumerate(moments)}
    state = State()
    history = []
    items: list[str] = []
    for position, (_, began, ended, client) in enumerate(sorted(planned)):
        call = _any_call(rng, position, items)
        if rng.random() < 0.1:
            if rng.random() < 0.5:
                state, _ = apply(state, call)
            history.append(Operation(client, call, number[began]))
            continue
        state, answer = apply(state, call)
        history.append(Operation(client, call, number[began], number[ended], answer))
    return history


def _any_call(rng: random.Random, position: int, items: list[str]) -> Call:
    kind = rng.choice(_KINDS)
    if kind is Kind.APPEND:
        expected = rng.choice([None, None, "", *items[-2:]])
        items.append(str(position))
        return Call(kind, rng.choice(_BRANCHES), items[-1], expected)
    return Call(kind, rng.choice(_BRANCHES), new_branch="fork" if kind is Kind.FORK else "")


def with_a_lie(history: list[Operation], rng: random.Random) -> list[Operation]:
    """The same history with one answer changed, which may or may not make it wrong."""
    answered = [number for number, operation in enumerate(history) if operation.answer is not None]
    if not answered:
        return history
    number = rng.choice(answered)
    told = history[number].answer
    assert told is not None
    items = tuple(operation.call.item for operation in history if operation.call.kind is Kind.APPEND)
    if told.items or history[number].call.kind is Kind.READ:
        lie = replace(told, items=tuple(rng.sample(items, rng.randint(0, min(2, len(items))))))
    else:
        lie = Answer(told.outcome, told.items, told.number + rng.choice((-1, 1)))
    return [*history[:number], replace(history[number], answer=lie), *history[number + 1 :]]
