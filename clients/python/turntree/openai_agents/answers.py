"""Long answers about a branch, kept for as long as the branch stays as it is.

They are kept as the history is: decoded anew for every caller, and never given without asking the store whether the
branch changed.
"""

from __future__ import annotations

import marshal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from turntree.model import BranchPointer, DeltaKind, ItemsWindow, Page
from turntree.openai_agents.bounded_cache import BoundedCache
from turntree.openai_agents.history_cache import no_collection
from turntree.store import Store, every

T = TypeVar("T")
R = TypeVar("R", bound="list[Any] | dict[Any, Any]")

ANSWERS_BYTES_MAX = 32 * 1024 * 1024
"""What the answers of one store take; those that were not asked for for longest go first."""

_ENTRIES_MIN = 64
"""A shorter list is fetched as soon as it is asked whether it is still right."""

_NO_ITEMS = ItemsWindow(limit=0)


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
    fetch: Callable[[str], Awaitable[Page[T]]],
    shape: Callable[[tuple[T, ...]], R],
    *,
    keep_short: bool,
) -> tuple[BranchPointer, R]:
    """Answer a question about a branch.

    Args:
        store: The store.
        session_id: The session.
        pointer: The branch.
        question: Tells it from every other question about the branch.
        fetch: Asks for a page, from its token.
        shape: Makes the answer of all entries: of what `marshal` can write.
        keep_short: Whether the answer takes the store long also when it is short, as that of a search does.

    Returns:
        The branch that was read, after a stale pointer was resolved, and the answer, which is the caller's own.
    """
    answers = _answers.setdefault(store, BoundedCache(ANSWERS_BYTES_MAX))
    kept = answers.get(session_id, pointer.branch_id, *question)
    if kept is not None:
        now = await store.get_items(session_id, branch=pointer, cursor=kept.cursor, window=_NO_ITEMS)
        if now.kind is DeltaKind.UNCHANGED:
            with no_collection():
                known: R = marshal.loads(kept.data)  # noqa: S302 - written by this process
            return now.branch, known
    page = await every(fetch)
    shaped = shape(page.entries)
    if page.cursor and (keep_short or len(page.entries) >= _ENTRIES_MIN):
        answers.put(_Answer(page.cursor, marshal.dumps(shaped)), session_id, page.branch.branch_id, *question)
    return page.branch, shaped
