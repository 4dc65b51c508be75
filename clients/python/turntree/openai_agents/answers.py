"""Long answers about a branch, of which only what changed is asked for again.

They are kept as the history is: decoded anew for every caller, and never given without asking the store what changed.
"""

from __future__ import annotations

import marshal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from turntree.errors import ErrorReason, InvalidArgument
from turntree.model import BranchPointer, DeltaKind, Page
from turntree.openai_agents.bounded_cache import BoundedCache
from turntree.openai_agents.history_cache import no_collection
from turntree.store import Store, every

T = TypeVar("T")
R = TypeVar("R", bound="list[Any] | dict[Any, Any]")

ANSWERS_BYTES_MAX = 32 * 1024 * 1024
"""What the answers of one store take; those that were not asked for for longest go first."""

_TRIES = 5
"""How often an answer of many pages is asked for while its branch is rewritten between them."""

_ENTRIES_MIN = 64
"""A shorter list is fetched as soon as what changed of it."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer, as `marshal` writes it, and the cursor of the branch that it is about."""

    cursor: bytes
    data: bytes

    @property
    def bytes_size(self) -> int:
        return len(self.data)


_answers: WeakKeyDictionary[Store, BoundedCache[_Answer]] = WeakKeyDictionary()


async def answer(
    store: Store,
    session_id: str,
    pointer: BranchPointer,
    question: tuple[str, ...],
    fetch: Callable[[str, bytes | None], Awaitable[Page[T]]],
    shape: Callable[[tuple[T, ...]], R],
    extended: Callable[[R, R], R],
    *,
    keep_short: bool,
) -> tuple[BranchPointer, R]:
    """Answer a question about a branch.

    Args:
        store: The store.
        session_id: The session.
        pointer: The branch.
        question: Tells it from every other question about the branch.
        fetch: Asks for a page, from its token and the cursor of the answer that is kept.
        shape: Makes the answer of all entries: of what `marshal` can write.
        extended: Makes one answer of one that is kept and what was appended to it. It may change both.
        keep_short: Whether the answer takes the store long also when it is short, as that of a search does.

    Returns:
        The branch that was read, after a stale pointer was resolved, and the answer, which is the caller's own.
    """
    answers = _answers.setdefault(store, BoundedCache(ANSWERS_BYTES_MAX))
    kept = answers.get(session_id, pointer.branch_id, *question)
    page = await _whole(fetch, kept.cursor if kept is not None else None)
    answered = shape(page.entries)
    if kept is not None and page.kind is not DeltaKind.REPLACED:
        with no_collection():
            known: R = marshal.loads(kept.data)  # noqa: S302 - written by this process
        if page.kind is DeltaKind.UNCHANGED:
            return page.branch, known
        answered = extended(known, answered)
    if page.cursor and (keep_short or len(answered) >= _ENTRIES_MIN):
        with suppress(ValueError):  # it nests deeper than `marshal` goes, though not than JSON does
            answers.put(_Answer(page.cursor, marshal.dumps(answered)), session_id, page.branch.branch_id, *question)
    return page.branch, answered


async def _whole(fetch: Callable[[str, bytes | None], Awaitable[Page[T]]], cursor: bytes | None) -> Page[T]:
    """All pages as one. While a branch is rewritten between them, they are asked for again.

    A branch that only grew is not: what the first pages say is still so.

    Raises:
        InvalidArgument: PAGE_TOKEN_INVALID, when the session was cleared between two pages each time.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            page, cursors = await _every_noting(fetch, cursor)
        except InvalidArgument as error:
            if error.reason is not ErrorReason.PAGE_TOKEN_INVALID or not tries_left:
                raise
            continue
        if len(cursors) == 1 or not tries_left:
            break
        kinds = [(await fetch("", seen)).kind for seen in cursors]
        if DeltaKind.REPLACED not in kinds:
            break
    return page


async def _every_noting(
    fetch: Callable[[str, bytes | None], Awaitable[Page[T]]], cursor: bytes | None
) -> tuple[Page[T], set[bytes]]:
    """All pages as one, and what the branch was at while they were read."""
    cursors: set[bytes] = set()

    async def noted(token: str) -> Page[T]:
        page = await fetch(token, cursor)
        cursors.add(page.cursor)
        return page

    return await every(noted), cursors
