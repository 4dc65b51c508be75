"""The embedded engine: one SQLite file, or a database in memory."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite
from turntree.errors import ErrorReason, Unavailable, stopping
from turntree.own_process import OwnProcess

from turntree_server import failpoints
from turntree_server.engine import open_files
from turntree_server.engine.engine import Engine, Listener
from turntree_server.engine.inspect import inspect
from turntree_server.engine.listeners import Listeners
from turntree_server.engine.log_bound import LogBound, empty_log
from turntree_server.engine.migrate import migrate
from turntree_server.engine.refusals import (
    DatabaseDamaged,
    DatabaseMissing,
    DatabaseRefused,
    refuse_other_kinds,
    refuse_other_names,
)
from turntree_server.engine.server_lock import ServerLock
from turntree_server.engine.sqlite_driver import (
    STEPS_BETWEEN_LOOKS,
    Connection,
    TakesLong,
    connect,
    drive,
    require_sound_sqlite,
    translated_errors,
)
from turntree_server.engine.sqlite_writer import SqliteWriter
from turntree_server.operations.adopt import adopt_plain_session, plain_sessions
from turntree_server.operations.statement import Operation, OperationFactory
from turntree_server.outcomes import carry_out

T = TypeVar("T")

IN_MEMORY = ":memory:"

_READERS = 2
_CHECKPOINT_PAGES = 4_000
"""The log is moved into the database when it holds this much, 16 MB: seldom, since that costs two more fsyncs."""


class SqliteEngine(Engine):
    """Operations on SQLite: writes on one thread, committed together; reads beside it, each on one snapshot.

    A file may be written by the Agents SDK's own class at the same time. A database in memory has one connection, and
    reads go through the writer.

    Args:
        path: The file, or `:memory:`.
        check: Whether to look for damage in the whole file first.
        of_server: Whether to be the only server of the file.
    """

    def __init__(self, path: str | Path = IN_MEMORY, *, check: bool = True, of_server: bool = False) -> None:
        self.path = str(path)
        self.description = f"sqlite: {path}"
        self._check = check
        self._of_server = of_server
        self._process = OwnProcess()
        self._lock: ServerLock | None = None
        self._listeners = Listeners()
        self._writer = SqliteWriter(self._open_writer, self._listeners, LogBound(self.path).keep, self.path)
        self._readers: list[_Reader] = []
        self._next_reader: Callable[[], _Reader] = self._no_reader
        self._brief_reader: _BriefReader
        self._closed = False

    @classmethod
    async def open(cls, path: str | Path = IN_MEMORY, *, check: bool = True) -> Self:
        """Make an engine and `start` it.

        Args:
            path: The file, or `:memory:`.
            check: Whether to look for damage in the whole file first.
        """
        engine = cls(path, check=check)
        await engine.start()
        return engine

    async def start(self) -> None:
        """Open the database, make or migrate its schema, and take over what plain SQLiteSessions left in it.

        Whoever gives up does not wait for the end of that; a step of the schema that was begun has no effect then.

        Raises:
            Unavailable: STORE_FAILED, when the file cannot be opened. Its cause is a `DatabaseRefused` when the file is
                damaged, of another program, of a newer turntree, another server's, or has a second name; it is not
                changed then. Otherwise it is what the database library said.
        """
        require_sound_sqlite()
        if self._of_server and self.path != IN_MEMORY:
            try:
                refuse_other_kinds(self.path)
                self._lock = ServerLock.take(self.path)
            except DatabaseRefused as error:
                raise Unavailable(ErrorReason.STORE_FAILED, str(error)) from error
        try:
            await self._writer.open()
            if self.path != IN_MEMORY:
                with translated_errors():
                    await self._open_readers()
        except BaseException as error:
            await self._writer.close()
            open_files.release(self.path)
            self._unlock()
            if isinstance(error, DatabaseRefused):
                raise Unavailable(ErrorReason.STORE_FAILED, str(error)) from error
            raise

    async def _open_readers(self) -> None:
        brief_reader = _BriefReader(self.path)
        readers = [_Reader(self.path) for _ in range(_READERS)]
        outcomes = await asyncio.gather(*readers, return_exceptions=True)
        for failure in outcomes:
            if isinstance(failure, BaseException):
                await asyncio.gather(*(reader.close() for reader in readers if reader in outcomes))
                brief_reader.close()
                raise failure
        self._readers = readers
        self._next_reader = itertools.cycle(readers).__next__
        self._brief_reader = brief_reader

    async def read(self, operation: OperationFactory[T], *, brief: bool = False) -> T:
        """See `Engine.read`."""
        self._process.require()
        if self._closed:
            raise stopping()
        if not self._readers:
            return await self._writer.run(operation, "")
        if brief and (result := self._brief_reader.run(operation)) is not None:
            return result
        with translated_errors():
            return await self._next_reader().run(operation)

    async def write(self, operation: OperationFactory[T], session_id: str, *, brief: bool = False) -> T:
        """See `Engine.write`."""
        self._process.require()
        return await self._writer.run(operation, session_id, brief=brief)

    def listen(self, session_id: str, listener: Listener) -> Callable[[], None]:
        """See `Engine.listen`."""
        self._process.require()
        remove = self._listeners.add(session_id, listener)
        self._writer.wake()
        return remove

    def when_failed(self, callback: Callable[[Unavailable], None]) -> None:
        """See `Engine.when_failed`."""
        self._writer.when_failed(callback)

    async def close(self) -> None:
        """See `Engine.close`."""
        if self._closed or not self._process.is_here():  # SQLite forbids to close what was opened before a fork
            return
        self._closed = True
        await self._writer.close()
        await asyncio.gather(*(reader.close() for reader in self._readers))
        if self._readers:
            self._brief_reader.close()
        open_files.release(self.path)
        self._unlock()
        self._listeners.notify_all()

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def _open_writer(self) -> Connection:
        if self.path != IN_MEMORY:
            if not Path(self.path).parent.is_dir():
                raise DatabaseMissing(self.path, f"the folder {Path(self.path).parent} does not exist")
            if Path(self.path).is_dir():
                raise DatabaseMissing(self.path, "it is a folder")
            refuse_other_names(self.path)
            open_files.claim(self.path)
            inspect(self.path, check=self._check, is_given_up=self._writer.is_closed)
        if failpoints.ON:
            failpoints.hit("open.begin")
        connection = connect(self.path)
        try:
            connection.set_progress_handler(self._writer.is_closed, STEPS_BETWEEN_LOOKS)
            self._prepare(connection)
            connection.set_progress_handler(None, 0)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: Connection) -> None:
        # After a failed fsync the system may call clean what never reached the disk. So what the log still holds is
        # written to the database anew, before anything is built on it.
        empty_log(connection, wait_ms=0)
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        migrate(connection)
        for session_id in drive(connection, plain_sessions()):
            _in_transaction(connection, adopt_plain_session(session_id))
        rows = connection.execute("SELECT database_id FROM turntree_database").fetchall()
        if len(rows) != 1:
            raise DatabaseDamaged(self.path, f"it has {len(rows)} ids instead of one")
        self.database_id = rows[0][0]
        if failpoints.ON:
            failpoints.hit("open.end")

    @staticmethod
    def _no_reader() -> _Reader:
        raise stopping()


def _in_transaction(connection: Connection, operation: Operation[T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = drive(connection, operation)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    return result


class _BriefReader:
    """A connection for operations that are run where they are asked for, without a visit to another thread.

    It never waits: not for the thread of another event loop that is reading, and not for a lock of another program. Nor
    does it make others wait: an operation that reads much is left to a thread.
    """

    def __init__(self, path: str) -> None:
        self._connection = _connect_reader(path)
        self._connection.execute("PRAGMA busy_timeout = 0")
        self._lock = threading.Lock()

    def run(self, operation: OperationFactory[T]) -> T | None:
        """The result of an operation that has one, or None if it would have to wait, or takes long."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            with translated_errors():
                return _read(self._connection, operation, brief=True)
        except TakesLong:
            return None
        except Unavailable as error:
            if error.reason is ErrorReason.STORE_BUSY:
                return None
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection, after whoever reads."""
        with self._lock:
            self._connection.close()


class _Reader(aiosqlite.Connection):
    """An aiosqlite connection that runs a whole operation in one visit to its thread."""

    def __init__(self, path: str) -> None:
        super().__init__(partial(self._connect_for, path), iter_chunk_size=64)
        self._thread.daemon = True
        self._waiting: asyncio.Future[Any] | None = None

    async def run(self, operation: OperationFactory[T]) -> T:
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((None, partial(self._read_for, result, operation)))
        return await result

    def _connect_for(self, path: str) -> Any:
        connection = _connect_reader(path)
        connection.set_progress_handler(self._is_abandoned, STEPS_BETWEEN_LOOKS)
        return connection

    def _is_abandoned(self) -> bool:
        """Whether nobody waits for the read at work any more, so that SQLite is to end it."""
        return self._waiting is not None and self._waiting.cancelled()

    def _read_for(self, result: asyncio.Future[T], operation: OperationFactory[T]) -> None:
        self._waiting = result
        try:
            if not result.cancelled():  # before it began
                carry_out(result, partial(_read, self._conn, operation))
        finally:
            self._waiting = None


def _connect_reader(path: str) -> Any:
    connection = connect(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _read(connection: Connection, operation: OperationFactory[T], *, brief: bool = False) -> T:
    if failpoints.ON:
        failpoints.hit("read.begin")
    connection.execute("BEGIN")
    try:
        return drive(connection, operation(), brief=brief)
    finally:
        if connection.in_transaction:  # SQLite ends it by itself after some errors
            connection.execute("COMMIT")
