"""The SQLite library turntree runs on, and how operations are driven on one of its connections."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from turntree.errors import ErrorReason, Internal, ResourceExhausted, TurntreeError, Unavailable

from turntree_server import failpoints
from turntree_server.operations.statement import BRIEF_BYTES_MAX, Insert, Long, Many, Operation, Query, Rows, Statement

if TYPE_CHECKING:
    import sqlite3
else:
    # Bundles a current SQLite; the one Python comes with has a bug in WAL mode that can damage a database.
    from pysqlite3 import dbapi2 as sqlite3

__all__ = [
    "SQLITE_VERSION",
    "Connection",
    "TakesLong",
    "connect",
    "drive",
    "is_damage",
    "is_disk_failure",
    "let_signals_in",
    "primary_code",
    "reading",
    "require_sound_sqlite",
    "sqlite3",
    "translated_errors",
]

T = TypeVar("T")

log = logging.getLogger(__name__)

Connection = sqlite3.Connection

SQLITE_VERSION: tuple[int, int, int] = sqlite3.sqlite_version_info
SQLITE_VERSION_MIN = (3, 51, 3)

_BUSY_TIMEOUT_S = 5.0
_STATEMENTS_CACHED = 256
_CACHE_KIB = 16 * 1024
STEPS_BETWEEN_LOOKS = 100_000  # of SQLite's own machine: about a millisecond
_ROWS_AT_ONCE = (64, 16, 4, 1)


def require_sound_sqlite() -> None:
    """Refuse to run on a SQLite that can damage a database in WAL mode.

    Raises:
        RuntimeError: It is older than 3.51.3.
    """
    if SQLITE_VERSION < SQLITE_VERSION_MIN:
        found, needed = (".".join(map(str, version)) for version in (SQLITE_VERSION, SQLITE_VERSION_MIN))
        raise RuntimeError(f"turntree needs SQLite {needed} or newer, and found {found}: install a newer pysqlite3")


def connect(path: str) -> Connection:
    """Open a database in WAL mode with every commit on disk before it returns, and no transaction but ours."""
    connection = sqlite3.connect(
        path,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS_CACHED,
    )
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode not in ("wal", "memory"):  # SQLite goes on without a word when it cannot write what it has to for this
            raise sqlite3.OperationalError("it cannot be brought into WAL mode, which needs a local disk that works")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except BaseException:
        connection.close()  # else the error would keep it, and the file would seem to be in use
        raise
    return connection


@contextmanager
def reading(path: str, is_given_up: Callable[[], bool] = lambda: False) -> Iterator[Connection]:
    """Open a file that exists so that nothing in it or in its log can change, not even by closing it.

    What is read is ended by a signal, since Python handles one whenever it runs code of its own, and so in the midst of
    the library's work; and by what is given, which is asked now and then.
    """
    path = os.path.realpath(path)  # what belongs to a database is beside the file itself, and not beside a link to it
    had_log = os.path.exists(f"{path}-wal")
    # A program that died in a transaction left a journal, and only who may write can take that back.
    connection = _open(path, "rw" if os.path.exists(f"{path}-journal") else "ro")
    connection.set_progress_handler(is_given_up, STEPS_BETWEEN_LOOKS)
    try:
        yield connection
    finally:
        connection.close()
        if not had_log:
            _tidy_up(path)


def let_signals_in(*progress: int) -> None:
    """Nothing: Python handles a signal whenever it runs code of its own, and so in the midst of the library's work."""


def _open(path: str, mode: str) -> Connection:
    uri = f"file://{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)


def _tidy_up(path: str) -> None:
    """Take away the empty log that reading a file in WAL mode left, if nobody else uses it: SQLite knows."""
    if os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal") == 0:
        with suppress(sqlite3.Error), closing(_open(path, "rw")) as connection:
            connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()


class TakesLong(Exception):
    """An operation was to be brief, and is about to begin what is not, or reads more than `BRIEF_BYTES_MAX`."""


def drive(connection: Connection, operation: Operation[T], *, brief: bool = False) -> T:
    """Run an operation on a connection, inside a transaction that is the caller's.

    Raises:
        TakesLong: It was to be brief and is not.
        Internal: The operation met what it is not made for, such as a row that was damaged unseen.
    """
    try:
        statement = next(operation)
        while True:
            if brief and isinstance(statement, Long):
                raise TakesLong
            statement = operation.send(_run(connection, statement, brief))
    except StopIteration as done:
        result: T = done.value
        return result
    except (TypeError, ValueError) as error:
        if isinstance(error, TurntreeError | UnicodeDecodeError):
            raise
        log.exception("an operation failed")
        raise Internal(ErrorReason.INTERNAL, "internal error") from error


def _run(connection: Connection, statement: Statement, brief: bool) -> Rows:
    if failpoints.ON:
        failpoints.hit("operation.statement")
    rows = Rows()
    if isinstance(statement, Long):
        return rows
    if isinstance(statement, Many):
        for parameters in statement.parameters:
            rows += connection.execute(statement.sql, parameters)
        return rows
    if isinstance(statement, Insert):
        return _inserted(connection, statement, rows)
    cursor = connection.execute(statement.sql, statement.parameters)
    if statement.bytes_max is None:
        rows += cursor
        return rows
    return _bounded(cursor, statement, rows, brief)


def _inserted(connection: Connection, statement: Insert, rows: Rows) -> Rows:
    """Insert as many rows at a time as fit a few fixed sizes, so that the statements stay prepared.

    The table numbers its rows with AUTOINCREMENT and nobody else writes meanwhile, so the ids of a statement's rows
    follow one another up to the last one. To have them returned would take as long again as a short insert.
    """
    start = 0
    for size in _ROWS_AT_ONCE:
        while len(statement.rows) - start >= size:
            some = statement.rows[start : start + size]
            start += size
            values = ", ".join([f"({', '.join('?' * len(some[0]))})"] * size)
            sql = f"INSERT INTO {statement.table} ({statement.columns}) VALUES {values}"
            last_id = connection.execute(sql, list(chain.from_iterable(some))).lastrowid
            assert last_id is not None
            rows += [(number,) for number in range(last_id - size + 1, last_id + 1)]
    return rows


def _bounded(cursor: sqlite3.Cursor, statement: Query, rows: Rows, brief: bool) -> Rows:
    """Fetch until the bytes of the columns that count pass the query's bound, or are too many to be brief."""
    bytes_max = statement.bytes_max or 0
    bytes_left = bytes_max
    left_when_long = bytes_max - BRIEF_BYTES_MAX
    may_be_long = brief and left_when_long > 0
    counts_last = statement.counts_last
    for row in cursor:
        bytes_left -= len(row[0])
        if counts_last and row[-1] is not None:
            bytes_left -= len(row[-1])
        if may_be_long and bytes_left < left_when_long:
            cursor.close()
            raise TakesLong
        if bytes_left < 0 and rows:
            rows.left_out = row
            cursor.close()
            break
        rows.append(row)
    return rows


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the database library's errors into those of turntree, without their text."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Unavailable(ErrorReason.STORE_BUSY, "the database is locked by another program") from error
        if primary_code(error) == sqlite3.SQLITE_FULL:
            raise ResourceExhausted(ErrorReason.STORE_FULL, "the disk of the database is full") from error
        raise Unavailable(ErrorReason.STORE_FAILED, "the database could not be read or written") from error


def is_disk_failure(error: BaseException | None) -> bool:
    """Whether an error leaves unknown what is on disk: an I/O error, or damage. A full disk does not."""
    return primary_code(error) in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_damage(error: Exception) -> bool:
    """Whether an error of reading says that the file is damaged: its pages, its schema, or text that is none."""
    return primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, None)


def primary_code(error: BaseException | None) -> int | None:
    """The kind of an error of the database library; None for any other error."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if code is not None else None
