"""What the exit code of the command says; the numbers are those of `sysexits.h` where it has a word for the case."""

from __future__ import annotations

from enum import IntEnum

from turntree.errors import TurntreeError

from turntree_server.app import AddressInUse
from turntree_server.engine.backup import CannotCreate
from turntree_server.engine.refusals import (
    DatabaseDamaged,
    DatabaseEmpty,
    DatabaseForeign,
    DatabaseInUse,
    DatabaseMissing,
    DatabaseRefused,
    DatabaseRemoved,
    DatabaseTooNew,
    DiskFailed,
)
from turntree_server.options import WrongCommandLine


class ExitCode(IntEnum):
    """Why the command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DATABASE_DAMAGED = 65
    DATABASE_MISSING = 66
    ADDRESS_IN_USE = 69
    DATABASE_REMOVED = 72
    CANNOT_CREATE = 73
    DISK_FAILED = 74
    DATABASE_IN_USE = 75
    DATABASE_FOREIGN = 76
    DATABASE_TOO_NEW = 78


_CODES: dict[type[Exception], ExitCode] = {
    WrongCommandLine: ExitCode.USAGE,
    DatabaseDamaged: ExitCode.DATABASE_DAMAGED,
    DatabaseEmpty: ExitCode.DATABASE_DAMAGED,
    DatabaseMissing: ExitCode.DATABASE_MISSING,
    AddressInUse: ExitCode.ADDRESS_IN_USE,
    DatabaseRemoved: ExitCode.DATABASE_REMOVED,
    CannotCreate: ExitCode.CANNOT_CREATE,
    DiskFailed: ExitCode.DISK_FAILED,
    DatabaseInUse: ExitCode.DATABASE_IN_USE,
    DatabaseForeign: ExitCode.DATABASE_FOREIGN,
    DatabaseTooNew: ExitCode.DATABASE_TOO_NEW,
    DatabaseRefused: ExitCode.FAILED,
    RuntimeError: ExitCode.FAILED,
}


REFUSALS: tuple[type[Exception], ...] = (TurntreeError, *_CODES)
"""The errors that end a command with one line instead of a traceback."""


def exit_code_of(error: Exception) -> ExitCode:
    """The exit code for an error that ends the command."""
    return _CODES.get(type(error), ExitCode.FAILED)
