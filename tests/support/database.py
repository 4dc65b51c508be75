"""Database files: filled, changed by other means than turntree, and all that they hold, for comparison."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path
from typing import Any

import turntree
from pysqlite3 import dbapi2 as sqlite3
from turntree.model import AfterTurn, BranchPointer, Usage

from tests.support.items import assistant, function_call, function_output, turns, user

Dump = dict[str, list[tuple[Any, ...]]]


def dump(path: Path) -> Dump:
    """Every row of every table, the database's own tables too."""
    with closing(sqlite3.connect(path, timeout=5)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert "agent_messages" in names
        return {
            name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for name in sorted(names)
        }


async def fill(path: Path) -> None:
    """Write a little of everything."""
    async with await turntree.connect(f"sqlite:///{path}") as store:
        await store.add_items("s", [*turns(3), user("q"), function_call("c"), function_output("c"), assistant("a")])
        await store.record_usage("s", Usage(1, 10, 5, 15))
        await store.create_branch("s", AfterTurn(2), new_branch_id="fork")
        await store.add_items("s", turns(1), branch=BranchPointer("fork"))
        await store.add_items("t", turns(1))


def execute(db: Path, *statements: str) -> None:
    """Change a file that nobody has open, without a rule that holds."""
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def state(folder: Path) -> dict[str, str]:
    """Every file of a folder, by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}
