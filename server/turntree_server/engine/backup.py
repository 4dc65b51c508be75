"""Copies of a database file: making one while it is served, and putting one in its place."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from turntree_server.engine.refusals import DatabaseInUse, DatabaseMissing
from turntree_server.engine.server_lock import ServerLock
from turntree_server.engine.sqlite_driver import (
    is_disk_failure,
    primary_code,
    reading,
    sqlite3,
    translated_errors,
)
from turntree_server.engine.verify import verify

_BUSY_TIMEOUT_S = 5.0


class CannotCreate(Exception):
    """The file that was to be written exists, or cannot be written."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"cannot write {path}: {why}")


def backup(db: str, destination: str, *, force: bool = False) -> str:
    """Copy one consistent state of a database, also while it is served; the copy is verified before it has its name.

    Args:
        db: The database.
        destination: The copy, one file.
        force: Whether the copy may replace a file.

    Returns:
        What the copy holds, for people.

    Raises:
        CannotCreate: The destination exists, or cannot be written.
        DatabaseRefused: The database is missing or damaged, or not turntree's; nothing is left at the destination.
    """
    if not os.path.isfile(db):
        raise DatabaseMissing(db, "there is no such file")
    if os.path.realpath(db) == os.path.realpath(destination):
        raise CannotCreate(destination, "it is the database itself")
    _refuse_existing(destination, force)
    with _beside(destination) as copy:
        _copy(db, copy)
        held = verify(copy, name=db)
        _put(copy, destination, force)
    return held


def restore(copy: str, db: str, *, force: bool = False) -> str:
    """Put a verified copy in the place of a database that nobody has open.

    Args:
        copy: The copy, which stays.
        db: The database.
        force: Whether the copy may replace a database, with all that it holds.

    Returns:
        What the copy holds, for people.

    Raises:
        DatabaseInUse: A server or another program has the database open.
        CannotCreate: The database exists, or cannot be written.
        DatabaseRefused: The copy is missing or damaged, or not turntree's; the database stays as it is.
    """
    db = os.path.realpath(db)
    lock = ServerLock.take(db)
    try:
        _refuse_existing(db, force)
        verify(copy)
        with _beside(db) as replacement:
            _copy(copy, replacement)
            held = verify(replacement, name=copy)
            _retire(db)
            _put(replacement, db, force)
    finally:
        lock.release()
    return held


def _refuse_existing(path: str, force: bool) -> None:
    if os.path.isdir(path):
        raise CannotCreate(path, "it is a folder")
    if os.path.lexists(path) and not force:
        raise CannotCreate(path, "it exists; --force replaces it")


@contextmanager
def _beside(path: str) -> Iterator[str]:
    """The name of a file in the same folder, which is gone in the end unless it got another name."""
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise CannotCreate(path, f"the folder {os.path.dirname(path)} does not exist")
    beside = f"{path}.{secrets.token_hex(4)}.part"
    try:
        yield beside
    except OSError as error:
        raise CannotCreate(path, error.strerror or "it failed") from None
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                os.unlink(beside + end)


def _copy(source: str, destination: str) -> None:
    """Copy page by page, in one transaction: a writer of another process does not make it begin anew."""
    # Whoever may not read the source may not read the copy, at no moment.
    os.close(os.open(destination, os.O_CREAT | os.O_EXCL | os.O_WRONLY, os.stat(source).st_mode & 0o777))
    with translated_errors(), reading(source) as original:
        original.execute("BEGIN")
        original.execute("SELECT 1 FROM sqlite_master").fetchone()
        with closing(sqlite3.connect(destination, isolation_level=None)) as writing:
            writing.execute("PRAGMA synchronous = OFF")  # it is synchronised below, before it has its name
            original.backup(writing)
            # One file, without a log beside it, until it is served.
            writing.execute("PRAGMA journal_mode = DELETE")


def _put(copy: str, path: str, force: bool) -> None:
    """Give a copy its name, in one step that a loss of power does not take back."""
    _synchronise(copy)
    if force:
        os.replace(copy, path)
    else:
        try:
            os.link(copy, path)
        except FileExistsError:
            raise CannotCreate(path, "it was made meanwhile; --force replaces it") from None
        os.unlink(copy)
    _synchronise(os.path.dirname(path) or ".")


def _retire(db: str) -> None:
    """Make sure that nobody has a database open, and that no log of it is left to be taken for that of the next."""
    if os.path.lexists(db):
        try:
            with closing(sqlite3.connect(db, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise DatabaseInUse(db, "another program has it open: close it there first") from None
            if not is_disk_failure(error):
                raise
    for end in ("-wal", "-shm", "-journal"):
        Path(db + end).unlink(missing_ok=True)


def _synchronise(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
