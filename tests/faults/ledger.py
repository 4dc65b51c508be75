"""A ledger of what writers meant to do and what was acknowledged, compared with a store that went through a fault.

Each writer has a session of its own, where the ledger knows after every operation what must be there, and adds to one
session that all share. At most one operation of a writer is ever without an answer. After a fault

- every acknowledged operation is there exactly once and in order,
- the one without an answer is there whole or not at all,
- a repeat with the same `request_id` has one effect and gets one answer, the first one if there was one,
- usage adds up.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from turntree.errors import Conflict, DeadlineExceeded, Internal, Unavailable
from turntree.model import Popped
from turntree.store import Store

from tests.faults.operations import SHARED, Add, Clear, Operation, RecordUsage, Session, next_operation, read_session
from tests.support.reading import items_of

WRITERS = 8
ATTEMPTS_MAX = 5
OUTAGES = (Unavailable, Internal, DeadlineExceeded)
"""The errors after which the outcome of an operation is not known."""


class Broken(AssertionError):
    """A promise was not kept."""


def require(kept: bool, promise: str, *facts: object) -> None:
    """Insist on a promise."""
    if not kept:
        raise Broken(f"{promise}: {facts}")


@dataclass(slots=True)
class Entry:
    """An operation that was meant, and its answer if it was acknowledged. A conflict is an answer too: refused."""

    operation: Operation
    request_id: str
    answer: Any = None

    @property
    def was_refused(self) -> bool:
        """Whether the store said that somebody else wrote first."""
        return self.answer is Conflict


@dataclass(slots=True)
class Writer:
    """One of the writers, and its part of the ledger."""

    name: str
    rng: random.Random
    session: Session = field(default_factory=Session)
    entries: list[Entry] = field(default_factory=list)
    unanswered: Entry | None = None
    settled: int = 0

    async def write(self, store: Store, answered: Callable[[], None]) -> None:
        """Write until cancelled."""
        while True:
            try:
                operation = await next_operation(store, self.name, len(self.entries), self.session, self.rng)
            except OUTAGES:  # of a read, which is made again
                continue
            self.unanswered = Entry(operation, f"{self.name}-{len(self.entries)}")
            self.acknowledge(await send(store, self.unanswered))
            answered()

    def acknowledge(self, answer: Any) -> None:
        """Note the answer of the operation that waits for one, and what it must have done."""
        assert self.unanswered is not None
        self.unanswered.answer = answer
        self.entries.append(self.unanswered)
        if self.unanswered.operation.session_id != SHARED:
            require(not self.unanswered.was_refused, "nobody else writes to a writer's own session", self.name)
            self.session = self.unanswered.operation.applied(self.session)
        self.unanswered = None

    async def settle(self, store: Store) -> None:
        """Compare the writer's own session with the ledger, repeat what was sent since last time, and compare again."""
        found = await read_session(store, self.name)
        possible = [self.session]
        if self.unanswered is not None and self.unanswered.operation.session_id != SHARED:
            possible.append(self.unanswered.operation.applied(self.session))
        require(found in possible, "acknowledged once and in order, the rest whole or not at all", self, found)
        if self.unanswered is not None:
            self.acknowledge(await send(store, self.unanswered))
        for number, entry in enumerate(self.entries[self.settled :], self.settled + 1):
            answer = await send(store, entry)
            is_cleared = any(isinstance(later.operation, Clear) for later in self.entries[number:])
            first = (
                replace(entry.answer, item=None) if isinstance(entry.answer, Popped) and is_cleared else entry.answer
            )
            require(answer == first, "a repeat gets the first answer, without an item that was cleared", entry, answer)
        self.settled = len(self.entries)
        found = await read_session(store, self.name)
        require(found == self.session, "a repeat has no second effect", self, found)


async def send(store: Store, entry: Entry) -> Any:
    """Send an operation, again when its outcome is not known, and return the answer."""
    for attempt in range(ATTEMPTS_MAX):
        try:
            return await entry.operation.send(store, entry.request_id)
        except Conflict:
            return Conflict
        except OUTAGES:
            if attempt == ATTEMPTS_MAX - 1:
                raise
    raise AssertionError("every attempt returned or raised")


class Ledger:
    """The ledger of all writers on one database."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.writers = [Writer(f"writer-{number}", rng) for number in range(WRITERS)]
        self.answered_count = 0

    @asynccontextmanager
    async def writing(self, store: Store) -> AsyncIterator[Callable[[int], asyncio.Future[None]]]:
        """Let the writers write; they are cut off at the end. Gives a wait for so many more answers."""
        waits: list[tuple[int, asyncio.Future[None]]] = []
        loop = asyncio.get_running_loop()

        def answered() -> None:
            self.answered_count += 1
            for count, wait in waits:
                if self.answered_count >= count and not wait.done():
                    wait.set_result(None)

        def more_answers(count: int) -> asyncio.Future[None]:
            waits.append((self.answered_count + count, loop.create_future()))
            return waits[-1][1]

        def failed(task: asyncio.Task[None]) -> None:
            error = None if task.cancelled() else task.exception()
            for _, wait in waits:
                if error is not None and not isinstance(error, OUTAGES) and not wait.done():
                    wait.set_exception(error)

        tasks = [asyncio.create_task(writer.write(store, answered)) for writer in self.writers]
        for task in tasks:
            task.add_done_callback(failed)
        try:
            yield more_answers
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for _, wait in waits:
                if wait.done() and not wait.cancelled():
                    wait.exception()
        for task in tasks:
            # The server was down, or on its way down: what has no answer then is settled later.
            if not task.cancelled() and not isinstance(task.exception(), OUTAGES):
                task.result()

    async def settle(self, store: Store) -> None:
        """Insist on every promise, and leave nothing without an answer."""
        await self._check_shared(store)
        for writer in self.writers:
            await writer.settle(store)
        await self._check_shared(store)

    async def _check_shared(self, store: Store) -> None:
        """What all wrote to the shared session is there, each in its place; what was refused is not."""
        items = await items_of(store, SHARED)
        require(len(items) % 2 == 0, "an operation is there whole or not at all", len(items))
        batches = [tuple(items[start : start + 2]) for start in range(0, len(items), 2)]
        counts = Counter(batches)
        require(set(counts.values()) <= {1}, "nothing is there twice", counts)
        recorded = 0
        for entry in self._shared_entries():
            if isinstance(entry.operation, RecordUsage):
                recorded += entry.answer.recorded
                continue
            assert isinstance(entry.operation, Add)
            found = counts.pop(entry.operation.items, 0)
            require(found == (not entry.was_refused), "acknowledged means there, refused means not there", entry)
            if found:
                require(
                    batches[entry.answer.turn - 1] == entry.operation.items,
                    "an operation is where its answer said",
                    entry,
                )
        waiting = [writer.unanswered.operation for writer in self.writers if writer.unanswered is not None]
        perhaps = [operation for operation in waiting if operation.session_id == SHARED]
        require(
            counts.keys() <= {operation.items for operation in perhaps if isinstance(operation, Add)},
            "nothing is there that was not sent",
            counts,
        )
        total = await store.get_session_usage(SHARED)
        found_usage = 0 if total is None else total.requests
        most = recorded + sum(isinstance(operation, RecordUsage) for operation in perhaps)
        require(recorded <= found_usage <= most, "usage adds up", recorded, found_usage, most)

    def _shared_entries(self) -> Iterator[Entry]:
        for writer in self.writers:
            yield from (entry for entry in writer.entries if entry.operation.session_id == SHARED)
