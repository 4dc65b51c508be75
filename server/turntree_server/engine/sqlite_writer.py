"""The one writer: its thread takes operations from a queue and commits all that wait together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from turntree.errors import ErrorReason, TurntreeError, Unavailable, exhausted, stopping

from turntree_server import failpoints
from turntree_server.engine.listeners import Listeners
from turntree_server.engine.place import Place
from turntree_server.engine.refusals import DatabaseRemoved
from turntree_server.engine.sqlite_driver import (
    Connection,
    TakesLong,
    drive,
    is_disk_failure,
    primary_code,
    sqlite3,
    translated_errors,
)
from turntree_server.operations.statement import OperationFactory
from turntree_server.outcomes import tell

T = TypeVar("T")

log = logging.getLogger(__name__)

WAITING_MAX = 8_192
"""How many mutations may wait; more are refused at once, since they would wait too long."""

_OVERLOAD_RETRY_S = 0.2
_BATCH_MAX = 256
_EXTERNAL_CHANGE_POLL_S = 0.1
_BUSY_TIMEOUT_MS = 5_000


_DISK_FAILED = Unavailable(
    ErrorReason.STORE_FAILED, "the disk failed: nothing is written until the database is opened again"
)
_BROKEN = Unavailable(
    ErrorReason.STORE_FAILED, "the writer failed: nothing is written until the database is opened again"
)


@dataclass(slots=True)
class _Work:
    """An operation that waits for its turn, and where its outcome goes."""

    operation: OperationFactory[Any]
    session_id: str
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    is_complete: bool = False
    """Whether it was carried out where it was asked for, to its end, and is to be committed."""
    is_for_thread: bool = False
    """Whether nothing of it was carried out there, since it would have had to wait, or takes long."""
    is_handed_over: bool = False
    """Whether the connection was handed over with it."""
    is_delivered: bool = False
    """Whether its outcome is on its way to whoever waits for it."""
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
    """Runs operations on a connection of its own, which commits on a thread of its own.

    What waits is committed together, so that one write to disk acknowledges many operations. Each runs under a
    savepoint: one that fails is undone alone.

    A brief operation that finds the connection free and nothing before it is carried out where it is asked for, and
    only committed on the thread. Beside a busy event loop the thread would have to wait for Python's lock again after
    each statement. Who uses the connection holds it: the caller until the operation is handed over, then the thread.

    When the disk fails, nobody knows what of the last batch is on it, and the system may report the next write as done
    although the one before is lost. So nothing is written any more then, until the database is opened again. Nor is it
    when a file of the database has lost its name, which is looked at before each acknowledgement.
    """

    def __init__(
        self,
        open_connection: Callable[[], Connection],
        listeners: Listeners,
        after_commit: Callable[[Connection], None],
        path: str,
    ) -> None:
        self._open_connection = open_connection
        self._listeners = listeners
        self._after_commit = after_commit
        self._path = path
        self._place = Place(path)
        self._failure: Unavailable | None = None
        self._on_failure: Callable[[Unavailable], None] = lambda _: None
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._lock = threading.Lock()  # entered and left without a line of Python, where a signal could come in between
        self._free = threading.Condition(self._lock)
        self._closed = False
        self._is_held = True
        self._handed_over: _Work | None = None
        self._unfinished = 0  # of the queue: those on it, and those that the thread has taken
        self._connection: Connection
        self._thread = threading.Thread(target=self._run, name="turntree-writer", daemon=True)
        self._opened: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Start the thread and open its connection there."""
        loop = asyncio.get_running_loop()
        self._opened = loop.create_future()
        self._thread.start()
        await self._opened

    async def run(self, operation: OperationFactory[T], session_id: str, *, brief: bool = False) -> T:
        """Queue an operation and wait until it is on disk.

        A brief one takes so little time that it may be carried out on the event loop.
        """
        loop = asyncio.get_running_loop()
        work = _Work(operation, session_id, loop, loop.create_future())
        is_here = False
        try:
            with self._lock:
                if self._closed:
                    raise stopping()
                if self._queue.qsize() >= WAITING_MAX:
                    limit = f"{WAITING_MAX} mutations that wait"
                    raise exhausted(ErrorReason.OVERLOADED, limit, retry_after_s=_OVERLOAD_RETRY_S)
                if brief and not self._is_held and not self._unfinished:
                    self._is_held = is_here = True
                else:
                    self._enqueue(work)
            if is_here:
                self._carry_out_here(work)
        finally:
            if is_here:
                try:
                    self._hand_over(work)
                except BaseException:  # a signal came in between
                    self._hand_over(work)
                    raise
        result: T = await work.future
        return result

    def wake(self) -> None:
        """Look for changes by other programs from now on, if anyone listens."""
        with self._lock:
            if not self._closed:
                self._queue.put(None)

    def when_failed(self, callback: Callable[[Unavailable], None]) -> None:
        """Call `callback`, on any thread, when nothing is written any more, with the error of later writes."""
        self._on_failure = callback

    def is_closed(self) -> bool:
        """Whether it was closed, also while it opens."""
        return self._closed

    async def close(self) -> None:
        """Commit what is queued, then end the thread."""
        with self._lock:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        assert self._opened is not None
        try:
            with translated_errors():
                connection = self._connection = self._open_connection()
                data_version = self._prepare(connection)
        except BaseException as error:  # handed to whoever opens the engine
            self._closed = True
            tell(self._opened, partial(self._opened.set_exception, error))
            return
        self._release(0)
        tell(self._opened, partial(self._opened.set_result, None))
        while not self._is_done():
            taken = self._take()
            carried_out = self._hold()
            try:
                self._work(connection, carried_out, taken)
                if self._failure is None and self._listeners:
                    seen, data_version = data_version, self._data_version(connection)
                    if seen != data_version:
                        self._listeners.notify_all()
            except BaseException as error:  # without this thread every later write would wait for ever
                self._give_up(connection, error, [*carried_out, *taken])
            self._release(len(taken))
        if failpoints.ON:
            failpoints.hit("close.checkpoint")
        with contextlib.suppress(sqlite3.Error):  # what is not in the database yet stays in its log
            connection.close()

    def _work(self, connection: Connection, carried_out: list[_Work], taken: list[_Work]) -> None:
        """Commit what was carried out where it was asked for, and carry out and commit what was taken."""
        if carried_out:
            self._commit(connection, carried_out)
        waiting = [work for work in taken if not work.future.cancelled()]
        if waiting:
            with self._settled_alike(connection, waiting):
                self._begin(connection, waits=True)
                for work in waiting:
                    if not work.future.cancelled():  # else nobody waits for it any more
                        _carry_out(connection, work)
            self._commit(connection, waiting)
        if self._failure is None and (carried_out or waiting):
            self._after_commit(connection)

    def _give_up(self, connection: Connection, error: BaseException, batch: list[_Work]) -> None:
        """Note an error that came between the operations, and let it be the outcome of those that have none yet."""
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.rollback()
        self._note(error)
        if self._failure is None and not isinstance(error, sqlite3.Error):
            self._stop_writing(_BROKEN)
        undelivered = [work for work in batch if not work.is_delivered]
        for work in undelivered:
            work.error = work.error or self._failure or _BROKEN
        _deliver(undelivered)

    def _stop_writing(self, failure: Unavailable) -> None:
        self._failure = failure
        self._on_failure(failure)

    def _prepare(self, connection: Connection) -> int:
        """Make a connection ready, and return its first `_data_version`."""
        try:
            self._place.note()
            connection.execute("PRAGMA busy_timeout = 0")  # an event loop must not wait; the thread does, in `_begin`
            return self._data_version(connection)
        except BaseException:
            connection.close()
            raise

    def _is_done(self) -> bool:
        """Whether the writer is closed and nothing is left to do."""
        with self._lock:
            return self._closed and not self._is_held and self._queue.empty()

    def _take(self) -> list[_Work]:
        """Wait for work, and take all there is on the queue."""
        taken: list[_Work | None] = []
        try:
            taken.append(self._queue.get(timeout=_EXTERNAL_CHANGE_POLL_S if self._listeners else None))
            while len(taken) < _BATCH_MAX:
                taken.append(self._queue.get_nowait())
        except Empty:
            pass
        return [work for work in taken if work is not None]

    def _hold(self) -> list[_Work]:
        """Take the connection for the thread, with the operation that is handed over with it, if there is one."""
        with self._lock:
            self._free.wait_for(lambda: not self._is_held or self._handed_over)
            self._is_held = True
            handed_over, self._handed_over = self._handed_over, None
        return [] if handed_over is None else [handed_over]

    def _release(self, finished: int) -> None:
        """Let go of the connection, when so many of the operations on the queue are finished."""
        with self._lock:
            self._unfinished -= finished
            self._is_held = False

    def _enqueue(self, work: _Work) -> None:
        self._unfinished += 1
        self._queue.put(work)

    def _carry_out_here(self, work: _Work) -> None:
        """Carry out an operation on the thread of its caller, who holds the connection."""
        with self._settled_alike(self._connection, [work]):
            try:
                if self._begin(self._connection, waits=False):
                    _carry_out(self._connection, work, brief=True)
                    work.is_complete = True
                    return
            except TakesLong:
                self._connection.rollback()
            work.is_for_thread = True

    def _hand_over(self, work: _Work) -> None:
        """Let the thread commit an operation that was carried out, or do all of it."""
        with self._lock:
            if not work.is_handed_over:
                work.is_handed_over = True
                if work.is_for_thread:
                    self._is_held = False
                    self._enqueue(work)
                else:
                    if not work.is_complete and work.error is None:  # a signal came in between
                        work.error = Unavailable(ErrorReason.STORE_FAILED, "the operation was interrupted")
                    self._handed_over = work
                    self._queue.put(None)
            self._free.notify_all()

    @staticmethod
    def _data_version(connection: Connection) -> int:
        """A number that changes when another connection changes the database."""
        version: int = connection.execute("PRAGMA data_version").fetchone()[0]
        return version

    def _begin(self, connection: Connection, *, waits: bool) -> bool:
        """Begin a transaction that writes; False if another program writes and this is not to wait for it."""
        if self._failure is not None:
            raise self._failure
        if failpoints.ON:
            failpoints.hit("batch.begin")
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY:
                raise
            if not waits:
                return False
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            try:
                connection.execute("BEGIN IMMEDIATE")
            finally:
                connection.execute("PRAGMA busy_timeout = 0")
        if failpoints.ON:
            failpoints.hit("batch.begun")
        return True

    def _commit(self, connection: Connection, batch: list[_Work]) -> None:
        """Commit what was carried out of a batch, and hand over each outcome."""
        if connection.in_transaction:
            with self._settled_alike(connection, batch):
                if failpoints.ON:
                    failpoints.hit("batch.commit")
                connection.execute("COMMIT" if any(work.error is None for work in batch) else "ROLLBACK")
                if failpoints.ON:
                    failpoints.hit("batch.committed")
                if not self._place.is_kept():
                    raise self._removed()
        _deliver(batch)
        self._listeners.notify(work.session_id for work in batch if work.error is None)

    def _removed(self) -> Unavailable:
        """Stop writing, since what is written has no name any more, and return the error that says so."""
        cause = DatabaseRemoved(self._path)
        log.error("%s", cause)
        failure = Unavailable(
            ErrorReason.STORE_FAILED,
            "the database was removed or replaced: nothing is written until it is opened again",
        )
        failure.__cause__ = cause
        self._stop_writing(failure)
        return failure

    @contextlib.contextmanager
    def _settled_alike(self, connection: Connection, batch: list[_Work]) -> Iterator[None]:
        """Undo a whole batch when something in the block fails, and let that be the outcome of all its operations."""
        try:
            with translated_errors():
                yield
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.rollback()
            for work in batch:
                work.error = work.error or error
            self._note(error.__cause__ or error)
            if not isinstance(error, Exception):
                raise

    def _note(self, error: BaseException) -> None:
        """Log an error of the database, and stop writing if it leaves unknown what is on disk."""
        if self._failure is not None:
            return
        log.error("the database could not be written: %s", error)
        if is_disk_failure(error):
            self._stop_writing(_DISK_FAILED)


def _carry_out(connection: Connection, work: _Work, *, brief: bool = False) -> None:
    connection.execute("SAVEPOINT operation")
    try:
        if failpoints.ON:
            failpoints.hit("operation.begin")
        with translated_errors():
            work.result = drive(connection, work.operation(), brief=brief)
        if failpoints.ON:
            failpoints.hit("operation.end")
    except TakesLong:
        raise
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
        work.is_delivered = True
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
