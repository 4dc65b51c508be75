"""`turntree serve` with `synchronous=NORMAL`, which can lose acknowledged writes: only to measure what FULL costs."""

from __future__ import annotations

from turntree_server import cli
from turntree_server.engine import sqlite, sqlite_driver


def _connect(path: str) -> sqlite_driver.Connection:
    connection = sqlite_driver.connect(path)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


if __name__ == "__main__":
    sqlite.connect = _connect  # type: ignore[attr-defined]
    cli.main()
