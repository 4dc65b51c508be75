"""What a process already has of a history is not fetched again, and never shown when it is no longer so."""

from __future__ import annotations

import asyncio
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


def test_many_small_appends_stay_few_pieces() -> None:
    """A history that grows item by item is kept in pieces that decode at once, not one for each append."""
    history = read()
    for number in range(1_000):
        delta = ItemsDelta(DeltaKind.APPENDED, (f"{number}".encode(),), b"%d" % number, BranchPointer())
        history = applied(history, delta)
    assert history.items() == list(range(1_000))
    assert len(history.chunks) < 40
