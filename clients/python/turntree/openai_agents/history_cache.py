"""What a process already has of the histories it reads, so that a read only fetches what is new.

A history is kept in the form that decodes fastest and is decoded anew for every caller, because callers may change what
they get. It is never served without asking the store: the cursor beside it makes the read conditional.
"""

from __future__ import annotations

import gc
import marshal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from turntree.model import DeltaKind, ItemsDelta, Written
from turntree.openai_agents.bounded_cache import BoundedCache
from turntree.openai_agents.shapes import decode_all
from turntree.store import Store

CACHE_BYTES_MAX = 128 * 1024 * 1024
"""What the cache of one store holds; the histories that were not read for longest go first."""

_CHUNK_ITEMS_MAX = 256


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Some items in a row, as `marshal` writes a list of them."""

    data: bytes
    count: int


@dataclass(frozen=True, slots=True)
class History:
    """The items of a branch and the cursor that names them. Never changes: `applied` gives a new one."""

    cursor: bytes
    chunks: tuple[_Chunk, ...]

    @property
    def bytes_size(self) -> int:
        """How much memory the items take."""
        return sum(len(chunk.data) for chunk in self.chunks)

    def items(self) -> list[Any]:
        """The items, decoded anew."""
        items: list[Any] = []
        with no_collection():
            for chunk in self.chunks:
                items += marshal.loads(chunk.data)  # noqa: S302 - written by this process
        return items


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector from looking for garbage where only new objects are made, a hundred times over."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def applied(history: History | None, delta: ItemsDelta) -> History:
    """The history that a delta makes of another."""
    if delta.kind is DeltaKind.UNCHANGED and history is not None:
        return history
    chunks = list(history.chunks) if history is not None and delta.kind is DeltaKind.APPENDED else []
    new_items = decode_all(delta.items)
    for start in range(0, len(new_items), _CHUNK_ITEMS_MAX):
        _append(chunks, new_items[start : start + _CHUNK_ITEMS_MAX])
    return History(delta.cursor, tuple(chunks))


def _append(chunks: list[_Chunk], items: list[Any]) -> None:
    """Append a chunk, joined with those before it that are no larger, so that there are never many small ones."""
    while chunks and chunks[-1].count <= len(items) <= _CHUNK_ITEMS_MAX - chunks[-1].count:
        items = marshal.loads(chunks.pop().data) + items  # noqa: S302 - written by this process
    chunks.append(_Chunk(marshal.dumps(items), len(items)))


class HistoryCache(BoundedCache[History]):
    """Histories by session and branch."""

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        super().__init__(bytes_max)

    def extend(self, session_id: str, written: Written, payloads: list[bytes]) -> None:
        """Append what was just written to a branch, if its history was kept as it was before."""
        key = (session_id, written.branch.branch_id)
        history = self.get(*key)
        if history is not None and history.cursor == written.previous_cursor:
            delta = ItemsDelta(DeltaKind.APPENDED, tuple(payloads), written.cursor, written.branch)
            self.put(applied(history, delta), *key)


_caches: WeakKeyDictionary[Store, HistoryCache] = WeakKeyDictionary()


def cache_of(store: Store) -> HistoryCache:
    """The cache of a store, shared by all sessions on it."""
    return _caches.setdefault(store, HistoryCache())
