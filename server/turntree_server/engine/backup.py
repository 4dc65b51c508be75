"""Copies of a database file: making one while it is served, and putting one in its place."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from turntree_server.engine.refusals import (
    PART,
    PARTS,
    DatabaseInUse,
    DatabaseMissing,
    refuse_log_elsewhere,
    refuse_other_names,
    require_file,
)
from turntree_server.engine.server_lock import ServerLock
from turntree_server.engine.sqlite_driver import (
    Connection,
    is_disk_failure,
    let_signals_in,
    primary_code,
    reading,
    sqlite3,
)
from turntree_server.engine.verify import verify

_BUSY_TIMEOUT_S = 5.0
_PAGES_AT_ONCE = 1_000


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
        DatabaseInUse: A server or another program has the destination open.
        CannotCreate: The destination exists, or cannot be written.
        DatabaseRefused: The database is missing, empty or damaged, or not turntree's; nothing is left of the copy.
        DiskFailed: The disk of the database failed.
    """
    require_file(db, db)
    if os.path.exists(destination) and os.path.samefile(db, destination):
        raise CannotCreate(destination, "it is the database itself")
    return _replace(db, destination, force)


def restore(copy: str, db: str, *, force: bool = False) -> str:
    """Put a verified copy in the place of a database that nobody has open.

    It is another database then: ids that rows have had since the copy was made are given again, so cursors and page
    tokens from before mean nothing in it.

    Args:
        copy: The copy, which stays.
        db: The database.
        force: Whether the copy may replace a database, with all that it holds.

    Returns:
        What the copy holds, for people.

    Raises:
        DatabaseInUse: A server or another program has the database open, or may have by another name of the file.
        CannotCreate: The database exists, or cannot be written.
        DatabaseRefused: The copy is missing, empty or damaged, or not turntree's; the database stays as it is.
        DiskFailed: The disk of the copy failed.
    """
    require_file(copy, copy)
    return _replace(copy, db, force, restores=True)


def _replace(source: str, path: str, force: bool, *, restores: bool = False) -> str:
    """Put a verified copy of a file in the place of one that nobody has open, and say what it holds."""
    path = os.path.realpath(path)
    _refuse_name_of_part(path)
    with _locked(path):
        _refuse_existing(path, force)
        if restores:
            refuse_other_names(path)
        with _beside(path) as copy:
            _copy(source, copy, path, new_id=restores)
            held = verify(copy, name=source)
            if restores:
                _give_to_owner_of(path, copy)
            _retire(path)
            _put(copy, path, force)
    return held


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """Keep servers from a file that is being replaced."""
    try:
        lock = ServerLock.take(path)
    except DatabaseMissing as error:  # its folder is
        raise CannotCreate(path, error.why) from None
    try:
        yield
    finally:
        lock.release()


def _refuse_name_of_part(path: str) -> None:
    """Refuse the name of what lies beside a database and belongs to it."""
    for end in (*PARTS, "-lock"):
        owner = path.removesuffix(end)
        if owner != path and os.path.exists(owner):
            raise CannotCreate(path, f"the name belongs to {owner}")


def _refuse_existing(path: str, force: bool) -> None:
    if not os.path.lexists(path):
        return
    if os.path.isdir(path):
        raise CannotCreate(path, "it is a folder")
    if not force:
        raise CannotCreate(path, "it exists; --force replaces it")
    if not os.path.isfile(path):
        raise CannotCreate(path, "it is not a file")
    if not os.access(path, os.W_OK):
        raise CannotCreate(path, os.strerror(errno.EACCES))


@contextmanager
def _beside(path: str) -> Iterator[str]:
    """The name of a file in the same folder, which is gone in the end unless it got another name."""
    beside = f"{path}.{secrets.token_hex(4)}{PART}"
    try:
        yield beside
    except OSError as error:
        raise CannotCreate(path, _reason(error)) from None
    finally:
        for end in PARTS:
            with suppress(FileNotFoundError):
                os.unlink(beside + end)


def _copy(source: str, copy: str, path: str, *, new_id: bool) -> None:
    """Copy page by page, in one transaction: a writer of another process does not make it begin anew."""
    # Whoever may not read the source may not read the copy, at no moment.
    mode = os.stat(source).st_mode & 0o777 | stat.S_IRUSR | stat.S_IWUSR
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    try:
        with reading(source) as original:
            original.execute("BEGIN")
            original.execute("SELECT 1 FROM sqlite_master").fetchone()
            refuse_log_elsewhere(source, original)
            with closing(sqlite3.connect(copy, isolation_level=None)) as writing:
                writing.execute("PRAGMA synchronous = OFF")  # it is synchronised below, before it has its name
                original.backup(writing, pages=_PAGES_AT_ONCE, progress=let_signals_in)
                # One file, without a log beside it, until it is served.
                writing.execute("PRAGMA journal_mode = DELETE")
                if new_id:
                    _give_new_id(writing)
    except sqlite3.Error as error:
        verify(source)  # the library does not say which of the two files failed: if not this one, then the other
        raise CannotCreate(path, str(error)) from None


def _give_new_id(connection: Connection) -> None:
    """Make another database of a copy, if it is turntree's; the SDK's gets its id when it is first served."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'turntree_database'").fetchone():
        connection.execute("UPDATE turntree_database SET database_id = randomblob(16)")


def _give_to_owner_of(path: str, copy: str) -> None:
    """Let whoever may use a file that is to be replaced use the one that comes."""
    if not os.path.exists(path):
        return
    old, new = os.stat(path), os.stat(copy)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.chown(copy, old.st_uid, old.st_gid)
        except PermissionError as error:
            raise CannotCreate(path, f"it cannot stay its owner's: {_reason(error)}") from None
    os.chmod(copy, stat.S_IMODE(old.st_mode))


def _put(copy: str, path: str, force: bool) -> None:
    """Give a copy its name, in one step that a loss of power does not take back."""
    _synchronise(copy)
    if force:
        os.replace(copy, path)
    else:
        try:
            _rename_to_new(copy, path)
        except FileExistsError:
            raise CannotCreate(path, "it was made meanwhile; --force replaces it") from None
    _synchronise(os.path.dirname(path))


def _rename_to_new(copy: str, path: str) -> None:
    """Give a copy a name that no file has."""
    try:
        os.link(copy, path)
    except FileExistsError:
        raise
    except OSError:  # no file may have two names here; so the name is taken first, for a moment by an empty file
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            os.replace(copy, path)
        except BaseException:
            os.unlink(path)
            raise
    else:
        os.unlink(copy)


def _retire(path: str) -> None:
    """Make sure that nobody has a database open, and that no log of it is left to be taken for that of the next."""
    if os.path.lexists(path):
        try:
            with closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise DatabaseInUse(path, "another program has it open: close it there first") from None
            if not is_disk_failure(error):
                raise CannotCreate(path, str(error)) from None
    for end in ("-wal", "-shm", "-journal"):
        Path(path + end).unlink(missing_ok=True)


def _synchronise(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return error.strerror or "it failed"
