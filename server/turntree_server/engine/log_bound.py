"""Keeping the write-ahead log of a database file small, also while readers hold it up."""

from __future__ import annotations

import os

from turntree_server.engine.sqlite_driver import Connection

_LOG_BYTES_MAX = 32 * 1024 * 1024
_WAIT_MS = 200


class LogBound:
    """Empties the log of a file when it has grown beyond a bound.

    SQLite moves the log into the database by itself, but begins it anew only at a moment when nobody reads from it.
    Under steady reads there may be no such moment. This waits for those who read; whoever begins meanwhile reads from
    the database.
    """

    def __init__(self, path: str, log_bytes_max: int = _LOG_BYTES_MAX) -> None:
        self._log = f"{os.path.realpath(path)}-wal"  # SQLite follows links too
        self._step_bytes = log_bytes_max
        self._next_bytes = log_bytes_max

    def keep(self, connection: Connection) -> None:
        """Look at the size, and empty the log if it is due. A reader that stays puts it off until the next step."""
        try:
            size_bytes = os.stat(self._log).st_size
        except OSError:  # it is not there, or cannot be seen: SQLite keeps it by itself
            return
        if size_bytes <= self._next_bytes:
            return
        is_empty = empty_log(connection, wait_ms=_WAIT_MS)
        self._next_bytes = self._step_bytes if is_empty else size_bytes + self._step_bytes // 4


def empty_log(connection: Connection, *, wait_ms: int) -> bool:
    """Move the log into the database and cut it to nothing, and say whether that could be done in time."""
    (usual_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {wait_ms}")
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {usual_ms}")
    return not busy
