"""Verifying a database file: everything that can be checked, without changing it."""

from __future__ import annotations

from turntree_server.engine.inspect import inspect, is_empty
from turntree_server.engine.migrate import migrations_done
from turntree_server.engine.refusals import DatabaseDamaged, DatabaseEmpty, refusal, refuse_log_elsewhere, require_file
from turntree_server.engine.sqlite_driver import (
    Connection,
    drive,
    is_damage,
    reading,
    require_sound_sqlite,
    sqlite3,
)
from turntree_server.operations.verify import Contents, verify_rows


def verify(path: str, *, name: str | None = None) -> str:
    """Check a file by SQLite's `integrity_check`, its foreign keys, its schema and the rules of its rows.

    Args:
        path: The file.
        name: What it is called in errors, when that is not its path.

    Returns:
        What it holds, for people.

    Raises:
        DatabaseRefused: It is missing, empty, damaged, of another program or of a newer turntree, or cannot be read, or
            its log may be beside another name of the file.
        DiskFailed: The disk failed.
    """
    require_sound_sqlite()
    name = name or path
    require_file(path, name)
    try:
        inspect(path, check=False, name=name)
        with reading(path) as connection:
            refuse_log_elsewhere(path, connection)
            connection.execute("BEGIN")
            findings = _structural_findings(connection)
            if not findings and is_empty(connection):
                raise DatabaseEmpty(name)
            contents = _contents(connection) if not findings else Contents(0, 0, ())
            schema = migrations_done(connection) if not findings else 0
    except (sqlite3.Error, ValueError, TypeError) as error:
        if is_damage(error):
            raise DatabaseDamaged(name, str(error)) from None
        raise refusal(path, error, name) from None
    findings += contents.findings
    if findings:
        more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
        raise DatabaseDamaged(name, findings[0] + more)
    return f"schema {schema}, {contents.session_count} sessions, {contents.item_count} items"


def _structural_findings(connection: Connection) -> list[str]:
    findings = [" ".join(row[0].split()) for row in connection.execute("PRAGMA integrity_check(10)")]
    if findings != ["ok"]:
        return findings
    broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    return [f"rows of {broken[0][0]} without their {broken[0][2]}: {len(broken)}"] if broken else []


def _contents(connection: Connection) -> Contents:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return drive(connection, verify_rows(frozenset(name for (name,) in tables)))
