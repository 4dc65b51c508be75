"""One SQLite library for each file in a process: two would destroy it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from turntree.errors import ErrorReason, Unavailable
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.local_store import LocalStore

from tests.support.items import user
from tests.support.reading import items_of

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="this system does not list a process's open files"),
]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database with a table."""
    path = tmp_path / "conversations.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE kept (number INTEGER)")
        connection.execute("CREATE TABLE agent_sessions (session_id TEXT PRIMARY KEY, created_at, updated_at)")
        connection.execute(
            "CREATE TABLE agent_messages"
            " (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, message_data TEXT, created_at)"
        )
    return path


def content(path: Path) -> bytes:
    """What a file holds."""
    return path.read_bytes()


@pytest.fixture
def elsewhere(db: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the database open."""
    holds = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM kept'); print(1); input()"
    command = [sys.executable, "-c", holds, str(db)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        yield process
        process.communicate("\n")


@pytest.fixture
def other_library(db: Path) -> Iterator[sqlite3.Connection]:
    """The database, open through the SQLite that Python comes with."""
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("INSERT INTO kept VALUES (1)")
        connection.commit()
        yield connection


async def test_refused_beside_another_library(db: Path, other_library: sqlite3.Connection) -> None:
    """A file that another SQLite library of this process has open is refused, named, and not touched."""
    before = content(db)
    with pytest.raises(Unavailable, match="another SQLite library") as refused:
        await SqliteEngine.open(db)
    assert refused.value.reason is ErrorReason.STORE_FAILED
    assert str(db) in refused.value.message
    assert content(db) == before


async def test_opened_once_the_other_library_is_gone(db: Path, other_library: sqlite3.Connection) -> None:
    """A refusal does not last: the file opens once the other library has closed it."""
    with pytest.raises(Unavailable):
        await SqliteEngine.open(db)
    other_library.close()
    async with LocalStore(await SqliteEngine.open(db)) as store:
        await store.add_items("s", [user("hi")])
        assert await items_of(store, "s") == [user("hi")]


async def test_several_stores_on_one_file(db: Path) -> None:
    """Stores of this process may share a file, whatever path they name it by."""
    alias = db.with_name("alias.db")
    alias.symlink_to(db)
    async with LocalStore(await SqliteEngine.open(db)) as store, LocalStore(await SqliteEngine.open(alias)) as other:
        await store.add_items("s", [user("hi")])
        assert await items_of(other, "s") == [user("hi")]
    async with LocalStore(await SqliteEngine.open(db)) as store:
        assert await items_of(store, "s") == [user("hi")]


async def test_other_processes_are_welcome(db: Path, elsewhere: subprocess.Popen[str]) -> None:
    """Another process may have the file open through any library: there the locks hold."""
    async with LocalStore(await SqliteEngine.open(db)) as store:
        await store.add_items("s", [user("hi")])
        assert await items_of(store, "s") == [user("hi")]
    assert elsewhere.poll() is None
