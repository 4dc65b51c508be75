"""Short ways to read a store, and to do what a client does with deltas."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import TypeVar

from turntree.model import MAIN, BranchPointer, DeltaKind, ItemsDelta, Page
from turntree.store import Store

T = TypeVar("T")


async def items_of(store: Store, session_id: str, branch: BranchPointer = MAIN) -> list[bytes]:
    """All items of a branch."""
    return list((await store.read_items(session_id, branch=branch)).items)


async def cursor_of(store: Store, session_id: str, branch: BranchPointer = MAIN) -> bytes:
    """The cursor of a whole branch."""
    return (await store.read_items(session_id, branch=branch)).cursor


def applied(deltas: Iterable[ItemsDelta], to: Iterable[bytes] = ()) -> list[bytes]:
    """What a caller holds after these deltas."""
    held = list(to)
    for delta in deltas:
        match delta.kind:
            case DeltaKind.UNCHANGED:
                assert not delta.items
            case DeltaKind.REPLACED:
                held = list(delta.items)
            case DeltaKind.APPENDED:
                held += delta.items
    return held


async def collected(stream: AsyncIterable[T]) -> list[T]:
    """All that a stream brings."""
    return [element async for element in stream]


async def pages_of(fetch: Callable[[str], Awaitable[Page[T]]]) -> list[tuple[T, ...]]:
    """Page after page until there is no token for another."""
    page = await fetch("")
    pages = [page.entries]
    while page.next_page_token:
        page = await fetch(page.next_page_token)
        pages.append(page.entries)
    return pages


def ended(watch: AsyncIterator[T]) -> aclosing[AsyncGenerator[T, None]]:
    """A watch or stream that ends with the block in which it is read."""
    assert isinstance(watch, AsyncGenerator)
    return aclosing(watch)
