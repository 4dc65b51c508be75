"""Compaction: replace a suffix of the history by its summary, if nobody wrote meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agents.items import TResponseInputItem

from turntree.errors import Conflict
from turntree.model import BranchPointer, ItemsWindow
from turntree.openai_agents import shapes
from turntree.openai_agents.mutations import Mutations
from turntree.store import Store


@dataclass(frozen=True, slots=True)
class CompactionSnapshot:
    """The newest items of a branch, whether they are all of it, and how to replace those from a position on.

    `replace_suffix(start, output)` replaces `items[start:]` by `output` and returns True; when the branch changed since
    the snapshot it does nothing and returns False.
    """

    items: list[TResponseInputItem]
    complete: bool
    replace_suffix: Callable[[int, list[TResponseInputItem]], Awaitable[bool]]


async def read_snapshot(
    store: Store, session_id: str, pointer: BranchPointer, limit: int, mutations: Mutations
) -> CompactionSnapshot | None:
    """Read the newest `limit` items of a branch; None when one of them cannot be read."""
    delta = await store.read_items(session_id, branch=pointer, window=ItemsWindow(limit + 1))
    complete = len(delta.items) <= limit
    payloads = delta.items if complete else delta.items[1:]
    items = shapes.decode_all(payloads)
    if len(items) < len(payloads):
        return None

    async def replace_suffix(start: int, output: list[TResponseInputItem]) -> bool:
        remove_count = len(payloads) - start
        if remove_count <= 0:
            return False

        async def replace() -> bool:
            try:
                await store.replace_items(
                    session_id,
                    remove_count,
                    [shapes.encode(item) for item in output],
                    branch=delta.branch,
                    expected_cursor=delta.cursor,
                )
            except Conflict:
                return False
            return True

        return await mutations.run(replace)

    return CompactionSnapshot(items, complete, replace_suffix)
