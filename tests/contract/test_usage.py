"""Usage: what turns cost, recorded by turn and added up."""

from __future__ import annotations

import json

import pytest
from turntree.errors import ErrorReason, InvalidArgument
from turntree.limits import INTEGER_MAX
from turntree.model import (
    AfterTurn,
    AtHead,
    BranchPointer,
    RecordedUsage,
    TurnUsage,
    Usage,
    UsageGrouping,
    UsageMode,
    UsageTotal,
)
from turntree.store import Store

from tests.support.clock import StillClock
from tests.support.items import assistant, system, turns, user
from tests.support.reading import pages_of

MAIN_0 = BranchPointer("main", 0)
USAGE = Usage(1, 10, 5, 15, b'{"cached_tokens": 3}', b'{ "reasoning_tokens" :1.50}')


def tokens(count: int) -> Usage:
    """Usage of so many tokens, all input, in one request."""
    return Usage(1, count, 0, count)


async def recorded(store: Store, session_id: str = "s", branch_id: str = "main") -> dict[int, Usage]:
    """The usage of each turn of a branch."""
    page = await store.list_turn_usage(session_id, branch=BranchPointer(branch_id))
    return {entry.turn: entry.usage for entry in page.entries}


async def test_current_turn(store: Store, clock: StillClock) -> None:
    """Usage is recorded for the turn that the branch's last item belongs to, details byte for byte."""
    await store.add_items("s", turns(2))
    assert await store.record_usage("s", USAGE) == RecordedUsage(True, 2, MAIN_0)
    assert (await store.list_turn_usage("s")).entries == (TurnUsage(2, USAGE, clock.now),)
    await store.add_items("s", [user("q3")])
    assert (await store.record_usage("s", tokens(7))).turn == 3
    assert await recorded(store) == {2: USAGE, 3: tokens(7)}


async def test_before_the_first_turn(store: Store) -> None:
    """What precedes all turns is turn 0, and may cost too."""
    await store.add_items("s", [system("be kind"), assistant("hello")])
    assert await store.record_usage("s", USAGE) == RecordedUsage(True, 0, MAIN_0)
    assert await recorded(store) == {0: USAGE}


async def test_replace(store: Store, clock: StillClock) -> None:
    """Usage recorded again for a turn replaces what it had, whole."""
    await store.add_items("s", turns(1))
    await store.record_usage("s", USAGE)
    later = clock.advance(minutes=1)
    await store.record_usage("s", tokens(7))
    assert (await store.list_turn_usage("s")).entries == (TurnUsage(1, tokens(7), later),)


async def test_add(store: Store) -> None:
    """Usage in addition is added to what the turn has, or recorded if it has none."""
    await store.add_items("s", turns(1))
    await store.record_usage("s", Usage(1, 10, 5, 15), mode=UsageMode.ADD)
    await store.record_usage("s", Usage(2, 20, 7, 27), mode=UsageMode.ADD)
    assert await recorded(store) == {1: Usage(3, 30, 12, 42)}


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        (None, None, None),
        (b'{"a":1}', None, {"a": 1}),
        (None, b'{"a":1}', {"a": 1}),
        (b'{"a":1,"b":2}', b'{"b":3,"c":4}', {"a": 1, "b": 5, "c": 4}),
        (b'{"a":1.5}', b'{"a":2}', {"a": 3.5}),
        (b'{"a":"x","b":1,"c":true}', b'{"a":"y","b":"z","c":true}', {"a": "y", "b": "z", "c": True}),
        (b'{"a":{"b":1}}', b'{"a":{"b":2}}', {"a": {"b": 2}}),
    ],
)
async def test_add_details(
    store: Store, first: bytes | None, second: bytes | None, together: dict[str, object] | None
) -> None:
    """Details in addition are added number by number; of anything else the later one is kept."""
    await store.add_items("s", turns(1))
    for details in (first, second):
        usage = Usage(input_tokens_details=details, output_tokens_details=details)
        await store.record_usage("s", usage, mode=UsageMode.ADD)
    (usage,) = (await recorded(store)).values()
    for sum_of_details in (usage.input_tokens_details, usage.output_tokens_details):
        assert (None if sum_of_details is None else json.loads(sum_of_details)) == together


async def test_no_such_turn(store: Store) -> None:
    """Nothing is recorded when the branch is empty or the pointer stale: then there is no such turn."""
    assert await store.record_usage("nobody", USAGE) == RecordedUsage(False, 0, MAIN_0)
    await store.add_items("s", turns(1))
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    main = await store.clear_session("s")
    assert await store.record_usage("s", USAGE, branch=main) == RecordedUsage(False, 0, main)
    await store.add_items("s", turns(1))
    for stale in (fork, MAIN_0):
        assert await store.record_usage("s", USAGE, branch=stale) == RecordedUsage(False, 0, main)
    assert await store.get_session_usage("s") is None
    assert [session.session_id for session in (await store.list_sessions()).entries] == ["s"]


async def test_totals(store: Store) -> None:
    """Usage adds up over a session or one of its branches; it is None when none is recorded."""
    assert await store.get_session_usage("s") is None
    await store.add_items("s", turns(1))
    await store.record_usage("s", Usage(1, 10, 5, 15))
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    assert await store.get_session_usage("s", branch_id="fork") is None
    await store.record_usage("s", Usage(2, 20, 6, 26), branch=fork)
    await store.add_items("s", turns(1, first=2))
    await store.record_usage("s", Usage(3, 30, 7, 37))
    assert await store.get_session_usage("s") == UsageTotal(6, 60, 18, 78, 3)
    assert await store.get_session_usage("s", branch_id="main") == UsageTotal(4, 40, 12, 52, 2)
    assert await store.get_session_usage("s", branch_id="fork") == UsageTotal(2, 20, 6, 26, 1)
    assert await store.get_session_usage("s", branch_id="never") is None
    await store.delete_branch("s", "fork")
    assert await store.get_session_usage("s") == UsageTotal(4, 40, 12, 52, 2)


async def test_usage_of_nothing_is_usage(store: Store) -> None:
    """Zeros that were recorded are told from what was not."""
    await store.add_items("s", turns(1))
    await store.record_usage("s", Usage())
    assert await store.get_session_usage("s") == UsageTotal(0, 0, 0, 0, 1)


async def test_large_counts(store: Store) -> None:
    """Counts are exact up to 64 bits, and a sum beyond is refused and changes nothing."""
    await store.add_items("s", turns(1))
    await store.record_usage("s", tokens(INTEGER_MAX))
    assert await store.get_session_usage("s") == UsageTotal(1, INTEGER_MAX, 0, INTEGER_MAX, 1)
    with pytest.raises(InvalidArgument):
        await store.record_usage("s", tokens(1), mode=UsageMode.ADD)
    assert await recorded(store) == {1: tokens(INTEGER_MAX)}


@pytest.mark.parametrize("details", [b"[]", b"1", b"not json", b"null", b'{"a":', b"\xff"])
async def test_details_are_objects(store: Store, details: bytes) -> None:
    """Details that are not a JSON object are refused, and nothing is recorded."""
    await store.add_items("s", turns(1))
    for usage in (Usage(input_tokens_details=details), Usage(output_tokens_details=details)):
        with pytest.raises(InvalidArgument) as refused:
            await store.record_usage("s", usage)
        assert refused.value.reason is ErrorReason.FIELD_INVALID
    assert await recorded(store) == {}


@pytest.mark.parametrize("page_size", range(1, 6))
async def test_turn_pages(store: Store, page_size: int) -> None:
    """Page after page brings the usage of every turn that has some, in order; or of one turn."""
    for number in (1, 2, 3, 4):
        await store.add_items("s", turns(1, first=number))
        if number != 2:
            await store.record_usage("s", tokens(number))
    pages = await pages_of(lambda token: store.list_turn_usage("s", page_size=page_size, page_token=token))
    assert [entry.turn for page in pages for entry in page] == [1, 3, 4]
    assert [len(page) for page in pages[:-1]] == [page_size] * (len(pages) - 1)
    assert [entry.usage for entry in (await store.list_turn_usage("s", turn=3)).entries] == [tokens(3)]
    assert (await store.list_turn_usage("s", turn=2)).entries == ()


async def test_turns_of_branches(store: Store) -> None:
    """A branch has the usage recorded on it, not that of the turns it shares; a stale pointer means main."""
    await store.add_items("s", turns(1))
    await store.record_usage("s", tokens(1))
    fork = (await store.create_branch("s", AfterTurn(1), new_branch_id="fork")).branch.pointer
    await store.record_usage("s", tokens(2), branch=fork)
    assert (await recorded(store), await recorded(store, branch_id="fork")) == ({1: tokens(1)}, {1: tokens(2)})
    main = await store.clear_session("s")
    await store.add_items("s", turns(1))
    await store.record_usage("s", tokens(3))
    page = await store.list_turn_usage("s", branch=fork)
    assert ([entry.usage for entry in page.entries], page.branch) == ([tokens(3)], main)


async def test_a_sum_beyond_64_bits(store: Store) -> None:
    """A sum that passes 64 bits is given as the largest number of 64 bits, and the others are exact."""
    for number in (1, 2):
        await store.add_items("s", turns(1, first=number))
        await store.record_usage("s", Usage(2**40 + number, INTEGER_MAX, 2**62, 0))
    total = UsageTotal(2**41 + 3, INTEGER_MAX, INTEGER_MAX, 0, 2)
    assert await store.get_session_usage("s") == total
    summary = await store.summarize_usage(UsageGrouping.SESSION)
    assert [entry.total for entry in summary.entries] == [total]
