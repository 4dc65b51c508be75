"""Migrate copies of a file in processes that end, as a crash would, at one statement after another.

`python -m tests.faults.killed_migrations SCHEMA FOLDER` leaves `FOLDER/1.db`, killed at the first statement, `2.db` and
so on, and prints how many there are. The last one was not interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from turntree_server.engine.migrate import migrate
from turntree_server.engine.sqlite_driver import connect

from tests.support.schemas import make


def migrate_until(db: Path, statement_number: int) -> bool:
    """Migrate in a process that is killed when a statement begins; says whether the migration ended before."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.WIFEXITED(status)
    left = statement_number
    connection = connect(str(db))

    def count(_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    connection.set_trace_callback(count)
    migrate(connection)
    os._exit(0)


def main(schema: str, folder: Path) -> None:
    """Go through all statements."""
    number = 0
    is_done = False
    while not is_done:
        number += 1
        db = folder / f"{number}.db"
        make(schema, db)
        is_done = migrate_until(db, number)
    print(number)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
