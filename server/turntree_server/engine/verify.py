"""Verifying a database file: everything that can be checked, without changing it."""

from __future__ import annotations

import os

from turntree_server.engine.inspect import inspect
from turntree_server.engine.migrate import migrations_done
from turntree_server.engine.refusals import DatabaseDamaged, DatabaseMissing
from turntree_server.engine.sqlite_driver import (
    Connection,
    drive,
    is_damage,
    reading,
    require_sound_sqlite,
    sqlite3,
    translated_errors,
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
        DatabaseRefused: It is missing, damaged, of another program or of a newer turntree.
        Unavailable: It could not be read.
    """
    require_sound_sqlite()
    name = name or path
    if not os.path.isfile(path):
        raise DatabaseMissing(name, "there is no such file")
    with translated_errors():
        inspect(path, check=False, name=name)
        try:
            with reading(path) as connection:
                connection.execute("BEGIN")
                findings = _structural_findings(connection)
                contents = _contents(connection) if not findings else Contents(0, 0, ())
                schema = migrations_done(connection) if not findings else 0
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            if not is_damage(error):
                raise
            raise DatabaseDamaged(name, str(error)) from None
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
