"""The commands `turntree backup`, `restore` and `verify`: copies of a database, and whether it is sound."""

from __future__ import annotations

import argparse
import os
from typing import Any

from turntree_server.engine.backup import backup, restore
from turntree_server.engine.verify import verify
from turntree_server.settings import DATABASE_DEFAULT


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
    held = backup(arguments.db, arguments.destination, force=arguments.force)
    print(f"turntree: copied {arguments.db} to {arguments.destination} ({held})")


def _restore(arguments: argparse.Namespace) -> None:
    held = restore(arguments.copy, arguments.db, force=arguments.force)
    print(f"turntree: restored {arguments.copy} to {arguments.db} ({held})")


def _verify(arguments: argparse.Namespace) -> None:
    print(f"turntree: {arguments.file} is sound ({verify(arguments.file)})")
