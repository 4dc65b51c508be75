"""Idempotency: a mutation with a `request_id` happens once, and a repeat gets the first answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from turntree.errors import Conflict, ErrorReason, FailedPrecondition, NotFound
from turntree.model import (
    NEVER,
    AfterTurn,
    AtHead,
    BeforeContent,
    BeforeTurn,
    BranchPointer,
    Usage,
    UsageMode,
    UsageTotal,
)
from turntree.store import Store
from turntree_server.engine.sqlite import IN_MEMORY, SqliteEngine
from turntree_server.local_store import LocalStore

from tests.conftest import OpenStore
from tests.support.clock import StillClock
from tests.support.items import assistant, item, turns, user
from tests.support.reading import cursor_of, items_of

USAGE = Usage(1, 10, 5, 15, b'{"cached_tokens": 3}', None)
Mutation = Callable[[Store, bytes, str], Awaitable[Any]]

MUTATIONS: dict[str, Mutation] = {
    "add_items": lambda store, _, request_id: store.add_items("s", turns(1), request_id=request_id),
    "add_items on a condition": lambda store, cursor, request_id: store.add_items(
        "s", [user("\x00 \U0001f333"), item(n=2**70)], expected_cursor=cursor, request_id=request_id
    ),
    "pop_item": lambda store, _, request_id: store.pop_item("s", request_id=request_id),
    "pop_item on a condition": lambda store, cursor, request_id: store.pop_item(
        "s", expected_cursor=cursor, request_id=request_id
    ),
    "pop_item of nothing": lambda store, _, request_id: store.pop_item("nobody", request_id=request_id),
    "replace_items": lambda store, cursor, request_id: store.replace_items(
        "s", 3, [assistant("b1")], expected_cursor=cursor, request_id=request_id
    ),
    "clear_session": lambda store, _, request_id: store.clear_session("s", request_id=request_id),
    "update_session": lambda store, _, request_id: store.update_session(
        "s", labels={"b": "2", "a": "1"}, remove_labels=["old"], expiry=timedelta(hours=2), request_id=request_id
    ),
    "update_session to last": lambda store, _, request_id: store.update_session(
        "s", expiry=NEVER, request_id=request_id
    ),
    "delete_session": lambda store, _, request_id: store.delete_session("s", request_id=request_id),
    "create_branch with an id": lambda store, _, request_id: store.create_branch(
        "s", AtHead(), new_branch_id="new", request_id=request_id
    ),
    "create_branch before a turn": lambda store, _, request_id: store.create_branch(
        "s", BeforeTurn(2), request_id=request_id
    ),
    "create_branch after a turn": lambda store, _, request_id: store.create_branch(
        "s", AfterTurn(2), request_id=request_id
    ),
    "create_branch before content": lambda store, _, request_id: store.create_branch(
        "s", BeforeContent("q2"), request_id=request_id
    ),
    "delete_branch": lambda store, _, request_id: store.delete_branch("s", "fork", request_id=request_id),
    "record_usage": lambda store, _, request_id: store.record_usage("s", USAGE, request_id=request_id),
    "record_usage in addition": lambda store, _, request_id: store.record_usage(
        "s", USAGE, mode=UsageMode.ADD, request_id=request_id
    ),
    "record_usage of nothing": lambda store, _, request_id: store.record_usage("nobody", USAGE, request_id=request_id),
}
every_mutation = pytest.mark.parametrize("mutate", MUTATIONS.values(), ids=MUTATIONS.keys())


async def prepare(store: Store) -> bytes:
    """Write a session `s` with a branch, usage and labels, and return the cursor of its main."""
    await store.add_items("s", turns(2))
    await store.create_branch("s", AfterTurn(1), new_branch_id="fork")
    await store.record_usage("s", USAGE)
    await store.record_usage("s", USAGE, branch=BranchPointer("fork"))
    await store.update_session("s", labels={"old": "1", "kept": "2"}, expiry=timedelta(hours=1))
    return await cursor_of(store, "s")


async def state_of(store: Store) -> list[object]:
    """All that a store shows of its sessions."""
    shown: list[object] = [(await store.list_sessions()).entries, await store.get_session_usage("s")]
    for branch in (await store.list_branches("s")).entries:
        items = await items_of(store, "s", branch.pointer)
        shown += [branch, items, (await store.list_turn_usage("s", branch=branch.pointer)).entries]
    return shown


@every_mutation
async def test_repeat(store: Store, clock: StillClock, mutate: Mutation) -> None:
    """A repeat has no second effect and gets the first answer, also when other writes came between."""
    cursor = await prepare(store)
    first = await mutate(store, cursor, "once")
    state = await state_of(store)
    clock.advance(seconds=5)
    assert await mutate(store, cursor, "once") == first
    assert await state_of(store) == state
    await store.add_items("s", [user("something else")])
    state = await state_of(store)
    assert await mutate(store, cursor, "once") == first
    assert await state_of(store) == state


@every_mutation
async def test_repeat_after_a_restart(open_store: OpenStore, mutate: Mutation) -> None:
    """A repeat has no second effect and gets the first answer also after the store was closed and opened again."""
    async with open_store() as store:
        cursor = await prepare(store)
        first = await mutate(store, cursor, "once")
        state = await state_of(store)
    async with open_store() as store:
        assert await state_of(store) == state
        assert await mutate(store, cursor, "once") == first
        assert await state_of(store) == state


@every_mutation
async def test_other_content(store: Store, mutate: Mutation) -> None:
    """The id of another request is refused, whatever it was used for, and nothing is done."""
    cursor = await prepare(store)
    await store.add_items("elsewhere", turns(1), request_id="taken")
    state = await state_of(store)
    with pytest.raises(FailedPrecondition) as refused:
        await mutate(store, cursor, "taken")
    assert refused.value.reason is ErrorReason.REQUEST_ID_REUSED
    assert refused.value.facts == {"request_id": "taken"}
    assert await state_of(store) == state


async def test_every_argument_counts(store: Store) -> None:
    """A request that differs in any argument from the one of its id is another request."""
    cursor = await prepare(store)
    await store.add_items("s", turns(1), request_id="once")
    for other in (
        store.add_items("t", turns(1), request_id="once"),
        store.add_items("s", turns(1, first=2), request_id="once"),
        store.add_items("s", turns(2), request_id="once"),
        store.add_items("s", turns(1), branch=BranchPointer("fork"), request_id="once"),
        store.add_items("s", turns(1), branch=BranchPointer("main", 0), request_id="once"),
        store.add_items("s", turns(1), expected_cursor=cursor, request_id="once"),
    ):
        with pytest.raises(FailedPrecondition):
            await other
    await store.create_branch("s", BeforeTurn(1), request_id="fork")
    with pytest.raises(FailedPrecondition):
        await store.create_branch("s", AfterTurn(1), request_id="fork")


async def test_order_of_labels_is_no_content(store: Store) -> None:
    """The same labels in another order are the same request."""
    first = await store.update_session("s", labels={"a": "1", "b": "2"}, request_id="once")
    assert await store.update_session("s", labels={"b": "2", "a": "1"}, request_id="once") == first


async def test_refused_request_keeps_its_id(store: Store) -> None:
    """A mutation that was refused has not happened, and may be tried again with its id."""
    await store.add_items("s", turns(1))
    with pytest.raises(NotFound):
        await store.create_branch("s", BeforeTurn(2), request_id="again")
    empty = await cursor_of(store, "nobody")
    with pytest.raises(Conflict):
        await store.add_items("s", turns(1), expected_cursor=empty, request_id="again")
    await store.add_items("s", turns(1, first=2), request_id="again")
    assert await items_of(store, "s") == turns(2)


async def test_without_an_id(store: Store) -> None:
    """Mutations that name no request are each a request of their own."""
    await store.add_items("s", [user("q")])
    await store.add_items("s", [user("q")])
    assert await items_of(store, "s") == [user("q")] * 2


async def test_at_once(store: Store) -> None:
    """Repeats that arrive together have one effect and one answer."""
    answers = await asyncio.gather(*(store.add_items("s", turns(1), request_id="once") for _ in range(8)))
    assert answers == answers[:1] * 8
    assert await items_of(store, "s") == turns(1)


async def test_window(store: Store, clock: StillClock) -> None:
    """A request is remembered for 24 hours, however many others come, and then its id is free again."""
    first = await store.add_items("s", turns(1), request_id="once")
    for hour in range(12):
        clock.advance(hours=2)
        await store.add_items("s", [user(f"{hour}")], request_id=f"hourly {hour}")
    assert await store.add_items("s", turns(1), request_id="once") == first
    clock.advance(minutes=1)
    await store.add_items("s", [user("late")], request_id="late")
    await store.add_items("new", turns(1), request_id="once")
    assert await items_of(store, "new") == turns(1)


async def test_usage_is_added_once(store: Store) -> None:
    """A repeat of usage that is added is not added again."""
    await store.add_items("s", turns(1))
    for _ in range(3):
        await store.record_usage("s", USAGE, mode=UsageMode.ADD, request_id="once")
    await store.record_usage("s", USAGE, mode=UsageMode.ADD, request_id="twice")
    assert await store.get_session_usage("s") == UsageTotal(2, 20, 10, 30, 1)


async def test_forgotten_without_mutations(local_store: LocalStore, clock: StillClock) -> None:
    """A store that nobody writes to forgets old answers too: none is left a day after the last mutation."""
    for number in range(300):
        await local_store.add_items("s", [user("hi")], request_id=f"request {number}")
    assert await local_store.forget_old_requests() == 0
    clock.advance(hours=25)
    assert await local_store.forget_old_requests() == 300
    assert await local_store.forget_old_requests() == 0


async def test_a_clock_that_is_set_back(local_store: LocalStore, clock: StillClock) -> None:
    """Answers from before a clock was set back are kept for a window from then on, and hold up no others after that."""
    clock.advance(days=365)
    for number in range(150):
        await local_store.add_items("s", [user("ahead")], request_id=f"ahead {number}")
    clock.advance(days=-365)
    for number in range(150):
        await local_store.add_items("s", [user("later")], request_id=f"later {number}")
    assert await local_store.forget_old_requests() == 0
    clock.advance(hours=23)
    await local_store.add_items("s", [user("ahead")], request_id="ahead 0")
    assert len((await local_store.read_items("s")).items) == 300
    clock.advance(hours=2)
    assert await local_store.forget_old_requests() == 300


async def test_a_window_of_its_own(clock: StillClock) -> None:
    """How long a request is remembered can be set."""
    engine = await SqliteEngine.open(IN_MEMORY)
    async with LocalStore(engine, clock=clock, request_window=timedelta(hours=48)) as store:
        first = await store.add_items("s", turns(1), request_id="once")
        clock.advance(hours=47)
        assert await store.add_items("s", turns(1), request_id="once") == first
        clock.advance(hours=2)
        assert await store.add_items("s", turns(1), request_id="once") != first
