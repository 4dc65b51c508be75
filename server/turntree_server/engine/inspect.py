"""Looking at a database file before it is opened, without changing it."""

from __future__ import annotations

import os
from collections.abc import Callable

from turntree_server.engine.migrate import all_migrations, migrations_done
from turntree_server.engine.refusals import DatabaseDamaged, DatabaseForeign, DatabaseMissing, DatabaseTooNew
from turntree_server.engine.sqlite_driver import Connection, is_damage, primary_code, reading, sqlite3

_SDK_COLUMNS = {
    "agent_sessions": {"session_id", "created_at", "updated_at"},
    "agent_messages": {"id", "session_id", "message_data", "created_at"},
}
_ANOTHER_FILE = "give another file, or restore a backup if this was a database of turntree"


def inspect(
    path: str, *, check: bool = True, name: str | None = None, is_given_up: Callable[[], bool] = lambda: False
) -> None:
    """Refuse a file that turntree must not open; an absent or empty one is welcome.

    Args:
        path: The file.
        check: Whether to read all of it for damage, which takes some seconds for each gigabyte.
        name: What the file is called in errors, when that is not its path.
        is_given_up: Whether nobody waits for this any more, so that it is to end.

    Raises:
        DatabaseForeign: It is of another program.
        DatabaseTooNew: It is of a newer turntree.
        DatabaseDamaged: It is damaged.
        DatabaseMissing: It is absent or empty, and its log is not, which SQLite would throw away.
    """
    name = name or path
    if not _size(path):
        if _size(f"{os.path.realpath(path)}-wal"):
            why = f"it is missing or empty, and its log {os.path.basename(path)}-wal is there: put the file back, or"
            raise DatabaseMissing(name, f"{why} restore a backup; remove the log to begin anew without it")
        return
    try:
        with reading(path, is_given_up) as connection:
            _refuse_foreign(connection, name)
            done, known = migrations_done(connection), all_migrations()[-1].number
            if done > known:
                raise DatabaseTooNew(name, done, known)
            if check:
                (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if finding != "ok":
                    raise DatabaseDamaged(name, " ".join(finding.split()))
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if primary_code(error) == sqlite3.SQLITE_NOTADB:
            raise DatabaseForeign(name, f"it is not a SQLite database: {_ANOTHER_FILE}") from None
        if is_damage(error):
            raise DatabaseDamaged(name, str(error)) from None
        raise


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.isfile(path) else 0


def is_empty(connection: Connection) -> bool:
    """Whether nobody has made a table in a database yet."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return not tables - {"sqlite_sequence", "sqlite_stat1"}


def _refuse_foreign(connection: Connection, name: str) -> None:
    if is_empty(connection):
        return
    for table, columns in _SDK_COLUMNS.items():
        found = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        if not columns <= found:
            raise DatabaseForeign(name, f"it is a database of another program, without {table}: {_ANOTHER_FILE}")
