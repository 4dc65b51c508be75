"""A store with a fault that can be chosen, of the kinds that a judge of histories is there to find."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from turntree.model import BranchPointer, CreatedBranch, DeltaKind, ItemsDelta, Popped, Written
from turntree_server.engine.engine import Engine
from turntree_server.local_store import LocalStore


class Bug(StrEnum):
    """What is wrong with a store."""

    STALE_READ = "a read gives the answer of the read before it"
    LOST_APPEND = "an append is acknowledged and not carried out"
    DOUBLE_APPEND = "an append is carried out twice, as if a retry were a new one"
    APPEND_OUT_OF_ORDER = "an append goes before the last item"
    WRONG_ITEM_POPPED = "a pop gives another item than it removes"
    CURSOR_IGNORED = "a conditional append does not look at its cursor"
    CLEAR_KEEPS_LAST = "a clear leaves the last item"
    FORK_MISSES_LAST = "a fork does not show the last item"
    OTHER_SESSION = "a read shows another session"
    EARLY_ACKNOWLEDGEMENT = "a write is acknowledged before it can be seen"


_EVERY = 3
"""A fault shows in every so many calls that could have it."""


class BrokenStore(LocalStore):
    """A store with one fault, or with none."""

    def __init__(self, engine: Engine, bug: Bug | None) -> None:
        super().__init__(engine)
        self._bug = bug
        self._calls = itertools.count(1)
        self._last_read: dict[tuple[str, str], ItemsDelta] = {}
        self._late: set[asyncio.Task[Written]] = set()

    def _has(self, bug: Bug) -> bool:
        """Whether this call shows the fault."""
        return self._bug is bug and next(self._calls) % _EVERY == 0

    async def add_items(self, session_id: str, items: Sequence[bytes], **options: Any) -> Written:
        branch: BranchPointer = options["branch"]
        if self._has(Bug.CURSOR_IGNORED):
            options["expected_cursor"] = None
        if self._has(Bug.LOST_APPEND):
            # What a caller cannot tell from an append that happened: the turn is right, and there is a cursor.
            turn = len((await super().read_items(session_id, branch=branch)).items) + 1
            cursor = (await super().get_items(session_id, branch=branch)).cursor
            return Written(branch, cursor, turn)
        if self._has(Bug.EARLY_ACKNOWLEDGEMENT) and options["expected_cursor"] is None:
            before = await super().get_items(session_id, branch=branch)
            if before.items or branch.branch_id == "main":
                self._late.add(asyncio.create_task(self._add_late(session_id, items, options)))
                return Written(before.branch, before.cursor, len(before.items) + 1)
        written = await super().add_items(session_id, items, **options)
        if self._has(Bug.DOUBLE_APPEND):
            await super().add_items(session_id, items, branch=branch)
        if self._has(Bug.APPEND_OUT_OF_ORDER):
            held = await super().get_items(session_id, branch=branch)
            if len(held.items) >= 2:
                swapped = held.items[:-3:-1]
                await super().replace_items(session_id, 2, swapped, expected_cursor=held.cursor, branch=branch)
        return written

    async def _add_late(self, session_id: str, items: Sequence[bytes], options: dict[str, Any]) -> Written:
        await asyncio.sleep(0.01)
        return await super().add_items(session_id, items, **options)

    async def get_items(self, session_id: str, **options: Any) -> ItemsDelta:
        branch: BranchPointer = options["branch"]
        if self._has(Bug.OTHER_SESSION):
            session_id = session_id[:-1] + "0"
        whole = await super().get_items(session_id, branch=branch)
        place = (session_id, branch.branch_id)
        if self._has(Bug.STALE_READ) and place in self._last_read:
            return replace(self._last_read[place], kind=DeltaKind.REPLACED)
        self._last_read[place] = whole
        return await super().get_items(session_id, **options)

    async def stream_items(self, session_id: str, **options: Any) -> AsyncGenerator[ItemsDelta, None]:
        yield await self.get_items(session_id, **options)

    async def pop_item(self, session_id: str, **options: Any) -> Popped:
        held = await super().get_items(session_id, branch=options["branch"])
        popped = await super().pop_item(session_id, **options)
        if len(held.items) >= 2 and self._has(Bug.WRONG_ITEM_POPPED):
            return replace(popped, item=held.items[0])
        return popped

    async def clear_session(self, session_id: str, *, request_id: str | None = None) -> BranchPointer:
        held = await super().get_items(session_id)
        cleared = await super().clear_session(session_id, request_id=request_id)
        if held.items and self._bug is Bug.CLEAR_KEEPS_LAST:
            await super().add_items(session_id, held.items[-1:])
        return cleared

    async def create_branch(self, session_id: str, *arguments: Any, **options: Any) -> CreatedBranch:
        created = await super().create_branch(session_id, *arguments, **options)
        if self._bug is Bug.FORK_MISSES_LAST and created.branch.item_count:
            await super().pop_item(session_id, branch=BranchPointer(created.branch.branch_id))
        return created

    async def close(self) -> None:
        await asyncio.gather(*self._late, return_exceptions=True)
        await super().close()
