"""What a process already has of the histories it reads, so that a read only fetches what is new.

A history is kept decoded, and every caller gets copies, because callers may change what they get. It is never served
without asking the store: the cursor beside it makes the read conditional.
"""

from __future__ import annotations

import gc
import marshal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from turntree.model import DeltaKind, ItemsDelta, Written
from turntree.openai_agents.bounded_cache import BoundedCache
from turntree.openai_agents.shapes import decode_all
from turntree.store import Store

CACHE_BYTES_MAX = 128 * 1024 * 1024
"""What the cache of one store holds; the histories that were not read for longest go first."""

_CHUNK_ITEMS_MAX = 256
_OVERHEAD_BYTES = 512
"""What Python's objects take for an item of the usual shape, beyond its text."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Some items in a row, of which nothing is ever given out but copies.

    Most items are dicts that hold no other dict or list, and are copied as they are. In place of any other, `flat` has
    an empty dict, and `nested` has the item with its position.
    """

    flat: tuple[dict[str, Any], ...]
    nested: tuple[tuple[int, Any], ...]

    def copies(self) -> list[Any]:
        items: list[Any] = [item.copy() for item in self.flat]
        for (position, _), item in zip(self.nested, _deep_copies([item for _, item in self.nested]), strict=True):
            items[position] = item
        return items


@dataclass(frozen=True, slots=True)
class History:
    """The items of a branch and the cursor that names them. Never changes: `applied` gives a new one.

    `bytes_size` is about how much memory the items take.
    """

    cursor: bytes
    chunks: tuple[_Chunk, ...]
    bytes_size: int

    def items(self) -> list[Any]:
        """Copies of the items, the caller's own; they share nothing but strings and numbers."""
        items: list[Any] = []
        with no_collection():
            for chunk in self.chunks:
                items += chunk.copies()
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
    is_appended = history is not None and delta.kind is DeltaKind.APPENDED
    chunks = list(history.chunks) if history is not None and is_appended else []
    bytes_size = history.bytes_size if history is not None and is_appended else 0
    new_items = decode_all(delta.items)
    for start in range(0, len(new_items), _CHUNK_ITEMS_MAX):
        _append(chunks, _chunk(new_items[start : start + _CHUNK_ITEMS_MAX]))
    return History(delta.cursor, tuple(chunks), bytes_size + sum(map(_memory_bytes, delta.items)))


def _append(chunks: list[_Chunk], chunk: _Chunk) -> None:
    """Append a chunk, joined with those before it that are no larger, so that there are never many small ones."""
    while chunks and len(chunks[-1].flat) <= len(chunk.flat) <= _CHUNK_ITEMS_MAX - len(chunks[-1].flat):
        before = chunks.pop()
        moved = tuple((len(before.flat) + position, item) for position, item in chunk.nested)
        chunk = _Chunk(before.flat + chunk.flat, before.nested + moved)
    chunks.append(chunk)


def _chunk(items: Sequence[Any]) -> _Chunk:
    flat: list[dict[str, Any]] = []
    nested: list[tuple[int, Any]] = []
    for position, item in enumerate(items):
        if isinstance(item, dict) and not any(isinstance(value, dict | list) for value in item.values()):
            flat.append(item)
        else:
            flat.append({})
            nested.append((position, item))
    return _Chunk(tuple(flat), tuple(nested))


def _deep_copies(items: list[Any]) -> list[Any]:
    """New lists and dicts all the way down; what cannot be changed is shared."""
    try:
        copies: list[Any] = msgspec.to_builtins(items)
    except RecursionError:  # they nest nearly as deep as anything that can be read
        copies = marshal.loads(marshal.dumps(items))  # noqa: S302 - written by this process
    return copies


def _memory_bytes(payload: bytes) -> int:
    """About how much memory an item takes: one character beyond ASCII makes its text up to four times as large."""
    is_ascii = payload.isascii() and b"\\u" not in payload
    return len(payload) * (1 if is_ascii else 4) + _OVERHEAD_BYTES


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
