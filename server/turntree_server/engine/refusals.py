"""Why a database file is not opened. None of these refusals changes the file or what lies beside it."""

from __future__ import annotations

import errno
import glob
import os
import stat

from turntree_server.engine.sqlite_driver import Connection, is_disk_failure, primary_code, sqlite3

PARTS = ("", "-wal", "-shm", "-journal")
"""The ends of the names of a database and of what belongs to it."""
PART = ".part"
"""The end of the name that a copy has while it is made, beside the file whose place it takes."""


class DatabaseRefused(Exception):
    """A database file is not opened; it stays as it is. The message says why, and what to do.

    The engine raises `Unavailable` from it, the commands of the operator this itself.
    """

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"cannot open {path}: {why}")
        self.why = why


class DatabaseDamaged(DatabaseRefused):
    """SQLite finds damage in it."""

    def __init__(self, path: str, finding: str) -> None:
        super().__init__(path, f"it is damaged ({finding}): restore a backup with `turntree restore`")


class DatabaseForeign(DatabaseRefused):
    """It is not a database of turntree or of the Agents SDK, nor an empty one."""


class DatabaseTooNew(DatabaseRefused):
    """A newer turntree wrote it."""

    def __init__(self, path: str, number: int, known: int) -> None:
        super().__init__(
            path, f"the database has schema {number}, and this turntree knows {known}: install a newer turntree"
        )


class DatabaseInUse(DatabaseRefused):
    """Another program has it open, or may have by another name, which nobody would see."""


class DatabaseMissing(DatabaseRefused):
    """There is no such file, or no such folder."""


class DatabaseEmpty(DatabaseRefused):
    """It has no tables. A server fills such a file; as a copy of a database it is none."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "it is empty, as a copy is that was cut short: give another file")


class DatabaseRemoved(Exception):
    """It was removed or replaced under a server, which does not know who took it, and whether it comes back."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} was removed or replaced, or its log (-wal, -shm) was, while it was open: what was acknowledged"
            " is in the files that were taken away; put them back, all of them, or restore a backup"
        )


class DiskFailed(Exception):
    """The disk failed, under a server or a command; nothing that a server acknowledged is lost."""


def require_file(path: str, name: str) -> None:
    """Refuse what is not a file.

    Args:
        path: The file.
        name: What it is called in errors.

    Raises:
        DatabaseMissing: There is no such file, or it is a folder.
        DatabaseRefused: The system does not let us look.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise DatabaseMissing(name, "there is no such file") from None
    except OSError as error:
        raise refusal(path, error, name) from None
    if stat.S_ISDIR(mode):
        raise DatabaseMissing(name, "it is a folder")
    if not stat.S_ISREG(mode):
        raise DatabaseMissing(name, "it is not a file")


def refuse_other_kinds(path: str) -> None:
    """Refuse what is there and is not a file; an absent one is welcome.

    Raises:
        DatabaseMissing: It is a folder, a pipe, or a device.
        DatabaseRefused: The system does not let us look.
    """
    if os.path.exists(path):
        require_file(path, path)


def refuse_other_names(path: str) -> None:
    """Refuse a database file that has a second name (a hard link); an absent one is welcome.

    A log and a lock belong to a name. Who opens the file by the other one sees neither, and each destroys what the
    other wrote.

    Raises:
        DatabaseInUse: It has.
    """
    if _names(path) < 2:
        return
    # For a moment, or since a command was killed in it, a copy that is put in its place has the name of its making too.
    real_path = os.path.realpath(path)
    ours = [entry for entry in glob.glob(f"{glob.escape(real_path)}.*{PART}") if _is_same(entry, real_path)]
    count = _names(path) - len(ours)
    if count > 1:
        raise DatabaseInUse(
            path,
            f"the file has {count} names (hard links), and may be open by another one:"
            " leave it one, and make copies with `turntree backup`",
        )


def refuse_log_elsewhere(path: str, connection: Connection) -> None:
    """Refuse to read a file that has a second name, if its log may be beside that one; a copy has no log.

    Raises:
        DatabaseInUse: It may be.
    """
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode == "wal":
        refuse_other_names(path)


def _names(path: str) -> int:
    """How many names a file has; what cannot be looked at is refused by whoever opens it."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return 0
    return status.st_nlink if stat.S_ISREG(status.st_mode) else 0


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:  # gone meanwhile
        return False


def refusal(path: str, error: BaseException, name: str | None = None) -> Exception:
    """What whoever runs turntree is told of an error of opening a file: its name and the reason, which clients are not.

    Args:
        path: The file.
        error: What the engine, the database library or the system raised.
        name: What the file is called, when that is not its path.
    """
    name = name or path
    if isinstance(error, DatabaseRefused):
        return error
    if isinstance(error, OSError):
        return DatabaseRefused(name, error.strerror or str(error))
    if is_disk_failure(error):
        return DiskFailed(f"cannot open {name}: {error}: look at the disk")
    if primary_code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        if os.path.isdir(path):
            return DatabaseMissing(name, "it is a folder")
        return DatabaseRefused(name, _why_not(path, error))
    return DatabaseRefused(name, str(error))


def _why_not(path: str, error: BaseException) -> str:
    """Why the system let the database library not open a file or write to it, which the library does not say."""
    needed = os.R_OK if primary_code(error) == sqlite3.SQLITE_CANTOPEN else os.W_OK
    for part in PARTS:
        if os.path.exists(path + part) and not os.access(path + part, needed):
            return os.strerror(errno.EACCES) + (f" ({path}{part})" if part else "")
    if not os.access(os.path.dirname(path) or ".", os.W_OK):
        return "nothing may be written beside it"
    return str(error)
