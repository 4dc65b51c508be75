"""What a process already has of a history is not fetched again, and never shown when it is no longer so."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents.items import TResponseInputItem
from turntree.model import BranchPointer, DeltaKind, ItemsDelta
from turntree.openai_agents import TurntreeSession
from turntree.openai_agents.history_cache import History, HistoryCache, applied
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.local_store import LocalStore


class CountingStore(LocalStore):
    """A store that notes what its reads gave."""

    reads: list[tuple[DeltaKind, int]]

    async def get_items(self, session_id: str, **options: Any) -> ItemsDelta:
        """Read, and note the kind of the answer and how many items it had."""
        delta = await super().get_items(session_id, **options)
        self.reads.append((delta.kind, len(delta.items)))
        return delta


@pytest.fixture
async def store() -> AsyncIterator[CountingStore]:
    """A store in memory."""
    async with CountingStore(await SqliteEngine.open()) as store:
        store.reads = []
        yield store


def message(number: int) -> TResponseInputItem:
    """A user item."""
    return {"role": "user", "content": [{"type": "input_text", "text": f"q{number}"}]}


async def test_only_what_is_new_is_fetched(store: CountingStore) -> None:
    """A second read fetches nothing, one after an append fetches what was appended, also through another object."""
    session = TurntreeSession("s", store=store)
    await session.add_items([message(number) for number in range(300)])
    expected = [message(number) for number in range(300)]
    assert await session.get_items() == expected
    assert await session.get_items() == expected
    await store.add_items("s", [b'{"role": "user", "content": "by another client"}'])
    added: TResponseInputItem = {"role": "user", "content": "by another client"}
    assert await TurntreeSession("s", store=store).get_items() == [*expected, added]
    assert store.reads == [(DeltaKind.REPLACED, 300), (DeltaKind.UNCHANGED, 0), (DeltaKind.APPENDED, 1)]


async def test_own_items_are_not_fetched_back(store: CountingStore) -> None:
    """What was just written here is known already, unless another client wrote in between."""
    session = TurntreeSession("s", store=store)
    await session.add_items([message(1)])
    await session.get_items()
    await session.add_items([message(2)])
    assert await session.get_items() == [message(1), message(2)]
    await store.add_items("s", [b'{"role": "user", "content": "by another client"}'])
    await session.add_items([message(3)])
    contents = [item.get("content") for item in await session.get_items()]
    assert contents[2:] == ["by another client", message(3).get("content")]
    assert store.reads == [(DeltaKind.REPLACED, 1), (DeltaKind.UNCHANGED, 0), (DeltaKind.APPENDED, 2)]


async def test_callers_may_change_what_they_get(store: CountingStore) -> None:
    """Every caller gets items of its own: what one does to them, another never sees."""
    session = TurntreeSession("s", store=store)
    await session.add_items([message(1)])
    for _ in range(2):
        items: list[Any] = await session.get_items()
        assert items == [message(1)]
        items[0]["content"][0]["text"] = "changed"
        items.clear()


async def test_never_stale(store: CountingStore) -> None:
    """What others pop, replace, fork or clear shows in the next read."""
    session, other = TurntreeSession("s", store=store), TurntreeSession("s", store=store)
    await session.add_items([message(1), message(2), message(3)])
    assert await session.get_items() == [message(1), message(2), message(3)]
    await other.pop_item()
    assert await session.get_items() == [message(1), message(2)]
    await other.pop_item()
    await other.add_items([message(4)])
    assert await session.get_items() == [message(1), message(4)]
    await other.create_branch_from_turn(2, "fork")
    assert await other.get_items() == [message(1)]
    assert await session.get_items() == [message(1), message(4)]
    await other.clear_session()
    assert await session.get_items() == []
    await session.add_items([message(5)])
    assert await session.get_items() == [message(5)]


async def test_reads_at_once(store: CountingStore) -> None:
    """Reads that run at once do not add what is new twice."""
    session = TurntreeSession("s", store=store)
    expected = []
    for number in range(10):
        await session.add_items([message(number)])
        expected.append(message(number))
        answers = await asyncio.gather(*(session.get_items() for _ in range(8)))
        assert all(answer == expected for answer in answers)


def read(*texts: str) -> History:
    """A history as a first read of some items makes it."""
    items = tuple(f'"{text}"'.encode() for text in texts)
    return applied(None, ItemsDelta(DeltaKind.REPLACED, items, b"cursor", BranchPointer()))


def test_bounded() -> None:
    """The cache never holds more than its bound, and drops what was not read for longest."""
    history = read("x" * 1000)
    cache = HistoryCache(3 * history.bytes_size)
    for name in "abc":
        cache.put(history, "s", name)
    assert cache.get("s", "a") is history
    cache.put(history, "s", "d")
    assert [name for name in "abcd" if cache.get("s", name) is not None] == ["a", "c", "d"]
    cache.put(read("x" * 10_000), "s", "large")
    assert cache.get("s", "large") is None
    assert cache.get("s", "d") is history


ITEMS: list[Any] = [
    {"role": "user", "content": "flat"},
    {"role": "user", "content": [{"type": "input_text", "text": "nested"}]},
    {"type": "function_call_output", "call_id": "c", "output": "text", "extra": None, "big": 2**70, "part": 0.1},
    {"empty": []},
    "no dict",
    ["a", {"list": 1}],
    {"role": "user", "content": "\u00e9\U0001f600\ud800"},
]


def test_many_small_appends_stay_few_pieces() -> None:
    """A history that grows item by item is kept in pieces that are copied at once, not one for each append."""
    history = read()
    expected = [ITEMS[number % len(ITEMS)] for number in range(1_000)]
    for number, item in enumerate(expected):
        delta = ItemsDelta(DeltaKind.APPENDED, (json.dumps(item).encode(),), b"%d" % number, BranchPointer())
        history = applied(history, delta)
    assert history.items() == expected
    assert len(history.chunks) < 40


def containers(value: object) -> list[object]:
    """A value's dicts and lists, itself and all within it."""
    within = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found: list[object] = [value] if isinstance(value, dict | list) else []
    return found + [container for part in within for container in containers(part)]


def test_nothing_is_shared_that_can_be_changed() -> None:
    """No dict and no list of what one caller gets is in what another gets, whatever shape the items have."""
    payloads = tuple(json.dumps(item).encode() for item in ITEMS)
    history = applied(None, ItemsDelta(DeltaKind.REPLACED, payloads, b"cursor", BranchPointer()))
    one, other = history.items(), history.items()
    assert one == other == ITEMS
    # All are alive, so that no two have the same id for another reason.
    assert not {id(container) for container in containers(one)} & {id(container) for container in containers(other)}


def test_items_that_nest_deeply() -> None:
    """An item that nests as deep as can be read is given out, also to who calls from further down the stack."""
    depth = sys.getrecursionlimit()
    while (found := nested_as_deep_as(depth)) is None:
        depth -= 1
    history = found

    def copied_at(frames: int) -> Any:
        return copied_at(frames - 1) if frames else history.items()[0]

    copy = copied_at(50)
    for _ in range(depth):
        copy = copy["a"]
    assert copy == 1


def nested_as_deep_as(depth: int) -> History | None:
    """A history of one item of so many dicts within one another; None when that is too deep to be read."""
    payload = b'{"a":' * depth + b"1" + b"}" * depth
    try:
        return applied(None, ItemsDelta(DeltaKind.REPLACED, (payload,), b"cursor", BranchPointer()))
    except RecursionError:
        return None


def test_the_memory_of_a_history_is_about_what_it_says() -> None:
    """What a history takes is not much more than the figure that bounds the cache, in any script."""
    for text in ("plain text " * 100, "\u00e9" + "x" * 1_000, "\U0001f600" + "x" * 1_000, "\u6f22" * 500):
        items = [
            {"role": "user", "content": [{"type": "input_text", "text": f"{text}{number}"}]} for number in range(200)
        ]
        payloads = tuple(json.dumps(item).encode() for item in items)
        gc.collect()
        tracemalloc.start()
        history = applied(None, ItemsDelta(DeltaKind.REPLACED, payloads, b"cursor", BranchPointer()))
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert taken < 1.5 * history.bytes_size
        assert history.bytes_size < 8 * taken
