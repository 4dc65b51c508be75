"""The judge itself: it accepts what is right, rejects every seeded fault, and agrees with another project's judge."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from turntree_server.engine.sqlite import IN_MEMORY, SqliteEngine

from tests.faults.linearizability import porcupine
from tests.faults.linearizability.bugs import BrokenStore, Bug
from tests.faults.linearizability.checker import TooHard, is_linearizable
from tests.faults.linearizability.history import Answer, Call, Kind, Operation, Outcome
from tests.faults.linearizability.random_histories import right_history, with_a_lie
from tests.faults.linearizability.workload import record
from tests.faults.report import tallied
from tests.faults.rounds import new_seed, rounds

CLIENTS = 4
CALLS = 25
HISTORIES_OF_A_BUG = 20


def done(client: int, call: Call, began: int, ended: int, *items: str, number: int = 0) -> Operation:
    """An operation that ended well."""
    return Operation(client, call, began, ended, Answer(items=items, number=number))


def append(item: str, began: int, ended: int, *, turn: int, client: int = 0) -> Operation:
    """An append that ended well."""
    return done(client, Call(Kind.APPEND, item=item), began, ended, number=turn)


READ = Call(Kind.READ)


def test_calls_side_by_side_may_take_effect_in_any_order() -> None:
    """A read beside an append may see it or not; one after it must; one before it must not."""
    for read_ended, seen, verdict in ((3, ("a",), True), (3, (), True)):
        assert is_linearizable([append("a", 0, 2, turn=1), done(1, READ, 1, read_ended, *seen)]) is verdict
    assert is_linearizable([append("a", 0, 1, turn=1), done(1, READ, 2, 3, "a")])
    assert not is_linearizable([append("a", 0, 1, turn=1), done(1, READ, 2, 3)])
    assert not is_linearizable([append("a", 2, 3, turn=1), done(1, READ, 0, 1, "a")])


def test_what_was_seen_once_stays_seen() -> None:
    """Two reads one after the other beside an append cannot see it and then not."""
    beside = append("a", 0, 5, turn=1)
    assert is_linearizable([beside, done(1, READ, 1, 2), done(1, READ, 3, 4, "a")])
    assert not is_linearizable([beside, done(1, READ, 1, 2, "a"), done(1, READ, 3, 4)])


def test_a_call_without_an_answer_happened_later_or_never() -> None:
    """A lost append may show at any later time or never, but not before it began, and not twice."""
    lost = Operation(0, Call(Kind.APPEND, item="a"), 2)
    assert is_linearizable([lost, done(1, READ, 3, 4), done(1, READ, 5, 6, "a")])
    assert is_linearizable([lost, done(1, READ, 3, 4)])
    assert not is_linearizable([lost, done(1, READ, 0, 1, "a")])
    assert not is_linearizable([lost, done(1, READ, 3, 4, "a", "a")])


def test_of_two_conditional_appends_one_wins() -> None:
    """Two appends at one cursor cannot both be done, nor both be refused."""
    one, other = (Call(Kind.APPEND, item=item, expected_last="") for item in "ab")
    refused = Operation(1, other, 1, 3, Answer(Outcome.CONFLICT))
    assert is_linearizable([done(0, one, 0, 2, number=1), refused])
    assert not is_linearizable([done(0, one, 0, 2, number=1), done(1, other, 1, 3, number=2)])
    assert not is_linearizable([Operation(0, one, 0, 2, Answer(Outcome.CONFLICT)), refused])


def test_a_search_that_is_too_long_has_no_verdict() -> None:
    """The checker gives up with an error, and not with a verdict, when it has not found out."""
    history = [append(str(number), number, 40 + number, turn=1, client=number) for number in range(20)]
    with pytest.raises(TooHard):
        is_linearizable(history, steps_max=10)


async def verdict(bug: Bug | None, rng: random.Random) -> bool:
    """Whether all histories of a store with this fault are linearizable."""
    async with BrokenStore(await SqliteEngine.open(IN_MEMORY), bug) as store:
        histories = await record([store] * CLIENTS, rng, calls=CALLS)
    return all(map(is_linearizable, histories.values()))


@pytest.mark.long
async def test_every_seeded_bug_is_rejected() -> None:
    """A store with any of the faults is found out within a few histories."""
    seed = new_seed()
    rng = random.Random(seed)
    with tallied("control: histories of a store with one of ten bugs are rejected", seed) as tally:
        for bug in Bug:
            for number in range(rounds(1, 20)):
                verdicts = [await verdict(bug, rng) for _ in range(HISTORIES_OF_A_BUG)]
                assert not all(verdicts), f"not found in {HISTORIES_OF_A_BUG} histories: {bug}"
                print(f"{bug}: {number} {verdicts.count(False)} of {len(verdicts)}")
                tally.rounds += 1


async def test_a_store_without_a_bug_is_accepted() -> None:
    """The same store without a fault is never rejected."""
    rng = random.Random(new_seed())
    for _ in range(rounds(10, 200)):
        assert await verdict(None, rng)


def test_agreement_with_porcupine(tmp_path: Path) -> None:
    """On random small histories, right and wrong ones, both judges say the same."""
    program = porcupine.build(tmp_path)
    seed = new_seed()
    rng = random.Random(seed)
    right = [right_history(rng) for _ in range(rounds(500, 10_000))]
    lying = [with_a_lie(history, rng) for history in right]
    ours = [is_linearizable(history) for history in right + lying]
    assert all(ours[: len(right)])
    assert ours[len(right) :].count(False) > len(lying) / 4
    assert ours[len(right) :].count(True) > len(lying) / 20
    with tallied("control: both judges of histories agree", seed) as tally:
        for history, our, their in zip(right + lying, ours, porcupine.verdicts(program, right + lying), strict=True):
            assert our is their, history
            tally.rounds += 1
