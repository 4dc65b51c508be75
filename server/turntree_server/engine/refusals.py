"""Why a database file is not opened. None of these refusals changes the file or what lies beside it."""

from __future__ import annotations


class DatabaseRefused(Exception):
    """A database file is not opened; it stays as it is. The message says why, and what to do.

    The engine raises `Unavailable` from it, the commands of the operator this itself.
    """

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"cannot open {path}: {why}")


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
    """Another program has it open."""


class DatabaseMissing(DatabaseRefused):
    """There is no such file, or no such folder."""
