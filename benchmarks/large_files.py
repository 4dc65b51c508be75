"""Large database files, made quickly: turntree makes the schema, then rows go in with plain SQL."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from turntree.connect import connect
from turntree_server.engine.sqlite_driver import Connection, sqlite3
from turntree_server.operations import content

from benchmarks.items import ITEMS_A_TURN, Item, ItemWriter, payload


async def write_file(path: Path, session_ids: list[str], turns_each: int, writer: ItemWriter) -> None:
    """Make a file of these sessions. Their turns lie in turns over the file, as if they had been written together."""
    await (await connect(f"sqlite:///{path}")).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql <> ''").fetchall()
    connection.execute("BEGIN")
    for name, _ in indexes:
        connection.execute(f'DROP INDEX "{name}"')
    _write_sessions(connection, session_ids)
    for turn in range(turns_each):
        for number, session_id in enumerate(session_ids):
            first_id = 1 + (turn * len(session_ids) + number) * ITEMS_A_TURN
            _write_turn(connection, session_id, turn, first_id, writer.turn())
    for _, sql in indexes:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _write_sessions(connection: Connection, session_ids: list[str]) -> None:
    now = _now()
    connection.executemany(
        "INSERT INTO agent_sessions (session_id, created_at, updated_at) VALUES (?, ?, ?)",
        [(session_id, now, now) for session_id in session_ids],
    )
    connection.executemany(
        "INSERT INTO session_clear_generations (session_id) VALUES (?)", [(session_id,) for session_id in session_ids]
    )


def _write_turn(connection: Connection, session_id: str, turn: int, first_id: int, items: list[Item]) -> None:
    now = _now()
    messages, structure = [], []
    for position, item in enumerate(items):
        row_id = first_id + position
        number = turn * ITEMS_A_TURN + position + 1
        messages.append((row_id, session_id, payload(item).decode(), now))
        structure.append(
            (
                row_id,
                session_id,
                row_id,
                "main",
                content.item_type(item),
                number,
                turn + 1,
                turn + 1,
                content.tool_name(item),
                now,
            )
        )
    connection.executemany("INSERT INTO agent_messages VALUES (?, ?, ?, ?)", messages)
    connection.executemany("INSERT INTO message_structure VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", structure)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
