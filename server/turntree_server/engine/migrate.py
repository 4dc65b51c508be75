"""Bringing a database file to the schema of this version, one numbered step after another."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from turntree_server import failpoints
from turntree_server.engine.sqlite_driver import Connection, sqlite3


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step: a file of SQL."""

    number: int
    name: str
    sql: str


def all_migrations() -> list[Migration]:
    """Every step there is, in order."""
    folder = files("turntree_server.engine") / "migrations"
    steps = sorted((path for path in folder.iterdir() if path.name.endswith(".sql")), key=lambda path: path.name)
    return [
        Migration(int(path.name.partition("_")[0]), path.name.removesuffix(".sql"), path.read_text()) for path in steps
    ]


def migrate(connection: Connection) -> list[Migration]:
    """Carry out the steps that a database lacks, each in a transaction with its record; returns them.

    A step that was interrupted left nothing behind, so running this again goes on where it stopped. Files of a newer
    turntree are refused before, by `inspect`.
    """
    done = migrations_done(connection)
    missing = [migration for migration in all_migrations() if migration.number > done]
    for migration in missing:
        _carry_out(connection, migration)
        if failpoints.ON:
            failpoints.hit("migration.end")
    return missing


def migrations_done(connection: Connection) -> int:
    """The number of the last step that a database has had, or 0."""
    tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'turntree_migrations'").fetchall()
    if not tables:
        return 0
    number: int = connection.execute("SELECT COALESCE(MAX(number), 0) FROM turntree_migrations").fetchone()[0]
    return number


def _carry_out(connection: Connection, migration: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if failpoints.ON:
            failpoints.hit("migration.begin")
        connection.execute(
            """
            CREATE TABLE IF NOT EXISTS turntree_migrations (
                number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
            )
            """
        )
        if migrations_done(connection) < migration.number:
            for statement in _statements(migration.sql):
                connection.execute(statement)
                if failpoints.ON:
                    failpoints.hit("migration.statement")
            connection.execute(
                "INSERT INTO turntree_migrations (number, name) VALUES (?, ?)", (migration.number, migration.name)
            )
        if failpoints.ON:
            failpoints.hit("migration.commit")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _statements(script: str) -> list[str]:
    statements = []
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            statements.append(statement)
            statement = ""
    return statements
