"""The one thread that writes: it takes operations from a queue and commits all that wait together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from turntree.errors import ErrorReason, TurntreeError, Unavailable, exhausted, stopping

from turntree_server import failpoints
from turntree_server.engine.listeners import Listeners
from turntree_server.engine.sqlite_driver import Connection, drive, is_disk_failure, sqlite3, translated_errors
from turntree_server.operations.statement import OperationFactory

T = TypeVar("T")

log = logging.getLogger(__name__)

WAITING_MAX = 8_192
"""How many mutations may wait; more are refused at once, since they would wait too long."""

_OVERLOAD_RETRY_S = 0.2
_BATCH_MAX = 256
_EXTERNAL_CHANGE_POLL_S = 0.1


@dataclass(slots=True)
class _Work:
    """An operation that waits for its turn, and where its outcome goes."""

    operation: OperationFactory[Any]
    session_id: str
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = field(default=None)

    def settle(self) -> None:
        """Hand over the outcome, on the loop's own thread."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class SqliteWriter:
    """Runs operations on a connection of its own, on a thread of its own.

    What waits is committed together, so that one write to disk acknowledges many operations. Each runs under a
    savepoint: one that fails is undone alone.

    When the disk fails, nobody knows what of the last batch is on it, and the system may report the next write as done
    although the one before is lost. So nothing is written any more then, until the database is opened again.
    """

    def __init__(
        self,
        open_connection: Callable[[], Connection],
        listeners: Listeners,
        after_commit: Callable[[Connection], None],
    ) -> None:
        self._open_connection = open_connection
        self._listeners = listeners
        self._after_commit = after_commit
        self._failure: Unavailable | None = None
        self._on_failure: Callable[[], None] = lambda: None
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="turntree-writer", daemon=True)
        self._opened: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Start the thread and open its connection there."""
        loop = asyncio.get_running_loop()
        self._opened = loop.create_future()
        self._thread.start()
        await self._opened

    async def run(self, operation: OperationFactory[T], session_id: str) -> T:
        """Queue an operation and wait until it is on disk."""
        loop = asyncio.get_running_loop()
        work = _Work(operation, session_id, loop, loop.create_future())
        with self._lock:
            if self._closed:
                raise stopping()
            if self._queue.qsize() >= WAITING_MAX:
                limit = f"{WAITING_MAX} mutations that wait"
                raise exhausted(ErrorReason.OVERLOADED, limit, retry_after_s=_OVERLOAD_RETRY_S)
            self._queue.put(work)
        result: T = await work.future
        return result

    def wake(self) -> None:
        """Look for changes by other programs from now on, if anyone listens."""
        with self._lock:
            if not self._closed:
                self._queue.put(None)

    def when_failed(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the writer's thread when the disk fails."""
        self._on_failure = callback

    async def close(self) -> None:
        """Commit what is queued, then end the thread."""
        with self._lock:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        assert self._opened is not None
        loop = self._opened.get_loop()
        try:
            with translated_errors():
                connection = self._open_connection()
        except BaseException as error:  # handed to whoever opens the engine
            self._closed = True
            loop.call_soon_threadsafe(self._opened.set_exception, error)
            return
        loop.call_soon_threadsafe(self._opened.set_result, None)
        data_version = self._data_version(connection)
        while not (self._closed and self._queue.empty()):
            batch = self._take()
            if batch:
                self._commit(connection, batch)
                _deliver(batch)
                self._listeners.notify(work.session_id for work in batch if work.error is None)
            if self._failure is not None:
                continue
            try:
                if batch:
                    self._after_commit(connection)
                if self._listeners:
                    seen, data_version = data_version, self._data_version(connection)
                    if seen != data_version:
                        self._listeners.notify_all()
            except sqlite3.Error as error:
                self._note(error)
        if failpoints.ON:
            failpoints.hit("close.checkpoint")
        with contextlib.suppress(sqlite3.Error):  # what is not in the database yet stays in its log
            connection.close()

    def _take(self) -> list[_Work]:
        """Wait for work, and take all there is."""
        taken: list[_Work | None] = []
        try:
            taken.append(self._queue.get(timeout=_EXTERNAL_CHANGE_POLL_S if self._listeners else None))
            while len(taken) < _BATCH_MAX:
                taken.append(self._queue.get_nowait())
        except Empty:
            pass
        return [work for work in taken if work is not None and not work.future.cancelled()]

    @staticmethod
    def _data_version(connection: Connection) -> int:
        """A number that changes when another connection changes the database."""
        version: int = connection.execute("PRAGMA data_version").fetchone()[0]
        return version

    def _commit(self, connection: Connection, batch: list[_Work]) -> None:
        """Carry out a batch in one transaction and note each outcome."""
        try:
            if self._failure is not None:
                raise self._failure
            with translated_errors():
                if failpoints.ON:
                    failpoints.hit("batch.begin")
                connection.execute("BEGIN IMMEDIATE")
                if failpoints.ON:
                    failpoints.hit("batch.begun")
                for work in batch:
                    if not work.future.cancelled():  # else nobody waits for it any more
                        _carry_out(connection, work)
                if failpoints.ON:
                    failpoints.hit("batch.commit")
                connection.execute("COMMIT")
                if failpoints.ON:
                    failpoints.hit("batch.committed")
        except Exception as error:  # the outcome of every operation in the batch
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.rollback()
            for work in batch:
                work.error = work.error or error
            self._note(error.__cause__ or error)

    def _note(self, error: BaseException) -> None:
        """Log an error of the database, and stop writing if it leaves unknown what is on disk."""
        if self._failure is not None:
            return
        log.error("the database could not be written: %s", error)
        if is_disk_failure(error):
            self._failure = Unavailable(
                ErrorReason.STORE_FAILED, "the disk failed: nothing is written until the database is opened again"
            )
            self._on_failure()


def _carry_out(connection: Connection, work: _Work) -> None:
    connection.execute("SAVEPOINT operation")
    try:
        if failpoints.ON:
            failpoints.hit("operation.begin")
        with translated_errors():
            work.result = drive(connection, work.operation())
        if failpoints.ON:
            failpoints.hit("operation.end")
    except Exception as error:  # the outcome of this operation alone
        if not connection.in_transaction or is_disk_failure(error.__cause__):
            raise  # the outcome of all: SQLite gave up the whole transaction, or is to
        work.error = error
        if not isinstance(error, TurntreeError):
            log.exception("an operation failed")
        connection.execute("ROLLBACK TO operation")
    connection.execute("RELEASE operation")
    if failpoints.ON:
        failpoints.hit("operation.released")


def _deliver(batch: list[_Work]) -> None:
    if failpoints.ON:
        failpoints.hit("deliver.begin")
    by_loop: dict[asyncio.AbstractEventLoop, list[_Work]] = {}
    for work in batch:
        by_loop.setdefault(work.loop, []).append(work)
    for loop, settled in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, settled)
        except RuntimeError:
            log.debug("an event loop closed before its answers came")
    if failpoints.ON:
        failpoints.hit("deliver.end")


def _settle(batch: list[_Work]) -> None:
    for work in batch:
        work.settle()
