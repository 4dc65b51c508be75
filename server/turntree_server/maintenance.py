"""The commands `turntree backup`, `restore` and `verify`: copies of a database, and whether it is sound."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from turntree_server.engine.backup import backup, restore
from turntree_server.engine.verify import verify
from turntree_server.lines import one_line
from turntree_server.settings import DATABASE_DEFAULT

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def add_commands(commands: Any) -> None:
    """Add the commands to the parser's."""
    backing_up = commands.add_parser("backup", help="copy a database, also while it is served")
    backing_up.add_argument("destination", metavar="DEST", help="the copy")
    _add_db(backing_up, "the database")
    backing_up.add_argument("--force", action="store_true", help="replace DEST if it exists")
    backing_up.set_defaults(run=_backup)

    restoring = commands.add_parser("restore", help="put a copy in the place of a database that nobody has open")
    restoring.add_argument("copy", metavar="BACKUP", help="the copy, which stays")
    _add_db(restoring, "the database to make")
    restoring.add_argument("--force", action="store_true", help="replace the database if it exists")
    restoring.set_defaults(run=_restore)

    verifying = commands.add_parser("verify", help="check a database or a copy of one, without changing it")
    verifying.add_argument("file", metavar="FILE", help="the file")
    verifying.set_defaults(run=_verify)


def _add_db(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--db",
        metavar="FILE",
        default=os.environ.get("TURNTREE_DB", DATABASE_DEFAULT),
        help=f"{what} (environment: TURNTREE_DB; default: %(default)s)",
    )


def _backup(arguments: argparse.Namespace) -> None:
    with _ended_by_signals():
        held = backup(arguments.db, arguments.destination, force=arguments.force)
    print(one_line(f"turntree: copied {arguments.db} to {arguments.destination} ({held})"))


def _restore(arguments: argparse.Namespace) -> None:
    with _ended_by_signals():
        held = restore(arguments.copy, arguments.db, force=arguments.force)
    print(one_line(f"turntree: restored {arguments.copy} to {arguments.db} ({held})"))


def _verify(arguments: argparse.Namespace) -> None:
    with _ended_by_signals():
        held = verify(arguments.file)
    print(one_line(f"turntree: {arguments.file} is sound ({held})"))


class _Ended(BaseException):
    """A signal tells the command to end."""


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let a signal end a command in good order: what it made for a while is taken away, and a line says why it ended.

    A second signal ends it at once.
    """
    received: list[signal.Signals] = []

    def end(number: int, frame: object) -> NoReturn:
        received.append(signal.Signals(number))
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise _Ended

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    except BaseException:
        if not received:
            raise
        # Whatever was raised: the database library makes an error of its own of one that is raised within it.
        print(f"turntree: ended by {received[0].name}", file=sys.stderr)
        sys.exit(128 + received[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
