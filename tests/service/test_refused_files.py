"""Files that are not served: what `serve` refuses, with an exit code for each reason, and changes nothing in."""

from __future__ import annotations

import asyncio
import os
import sqlite3 as pythons_sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import turntree
from pysqlite3 import dbapi2 as sqlite3
from turntree.errors import ErrorReason, InvalidArgument, Unavailable
from turntree.remote import RemoteStore
from turntree_server.exit_codes import ExitCode

from tests.service.test_process import ANY_PORT, assert_refused, run
from tests.support.database import execute, state
from tests.support.items import turns
from tests.support.reading import items_of
from tests.support.schemas import make
from tests.support.server_process import ServerProcess

# What `serve` refuses


def foreign(path: Path) -> None:
    """The database of another program."""
    with closing(pythons_sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE notes (text)")
        connection.execute("INSERT INTO notes VALUES ('dear diary')")
        connection.commit()


def diary(path: Path) -> None:
    """A file that is no database."""
    path.write_bytes(b"Dear diary, " * 99)


def damaged(path: Path) -> None:
    """A database with a page that is none."""
    make("turntree_schema_2", path)
    destroy_a_page(path)


def destroy_a_page(path: Path) -> None:
    """Make a page of a database one that is none. No test writes to it, so no log has it."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'turntree_labels'").fetchone()
    with path.open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(b"\xff" * 4096)


def newer(path: Path) -> None:
    """A database of a schema to come."""
    make("turntree_schema_2", path)
    execute(path, "INSERT INTO turntree_migrations (number, name) VALUES (9999, 'later')")


REFUSALS: dict[str, tuple[Callable[[Path], None], ExitCode]] = {
    "foreign": (foreign, ExitCode.DATABASE_FOREIGN),
    "text": (diary, ExitCode.DATABASE_FOREIGN),
    "damaged": (damaged, ExitCode.DATABASE_DAMAGED),
    "newer": (newer, ExitCode.DATABASE_TOO_NEW),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refused_file_is_not_changed(kind: str, tmp_path: Path) -> None:
    """A file that is damaged, foreign or newer is refused with a code of its own, and nothing is changed or made."""
    db = tmp_path / "conversations.db"
    write, code = REFUSALS[kind]
    write(db)
    before = state(tmp_path)
    assert_refused(run("serve", "--db", db, *ANY_PORT), f"cannot open {db}: ", code=code)
    assert state(tmp_path) == before


async def test_a_refused_log_is_not_changed(server: ServerProcess, tmp_path: Path) -> None:
    """The log beside a refused file stays as it is too."""
    server.restart()  # so that its log does not hold every page
    async with RemoteStore(server.address) as store:
        await store.add_items("s", turns(3))
    server.kill()
    destroy_a_page(server.db)
    before = {name: content for name, content in state(tmp_path).items() if not name.endswith(("-shm", "-lock"))}
    assert len(before) == 3  # the database, its log, and the output of the server
    refused = run("serve", "--db", server.db, *ANY_PORT)
    assert_refused(refused, "it is damaged", "turntree restore", code=ExitCode.DATABASE_DAMAGED)
    assert {name: content for name, content in state(tmp_path).items() if name in before} == before


async def test_an_embedded_store_refuses_too(tmp_path: Path) -> None:
    """An embedded store refuses a damaged file with STORE_FAILED; without the check it opens what can be opened."""
    db = tmp_path / "conversations.db"
    damaged(db)
    before = state(tmp_path)
    with pytest.raises(Unavailable, match="it is damaged") as refused:
        await turntree.connect(f"sqlite:///{db}")
    assert refused.value.reason is ErrorReason.STORE_FAILED
    assert state(tmp_path) == before


async def test_what_an_embedded_store_cannot_open_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is called one, with its path, and a URL without a path is refused: only `sqlite://` is in memory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(Unavailable, match="cannot open folder: it is a folder") as refused:
        await turntree.connect("sqlite:///folder")
    assert refused.value.reason is ErrorReason.STORE_FAILED
    for url in ("sqlite:///", "sqlite:///?check=false", "sqlite:///%20"):
        with pytest.raises(InvalidArgument, match="sqlite:// for a database in memory") as wrong:
            await turntree.connect(url)
        assert (wrong.value.facts["field"], wrong.value.facts["value"]) == ("url", url)
    for url in ("sqlite://", "sqlite:///:memory:"):
        async with await turntree.connect(url) as store:
            await store.add_items("s", turns(1))
    assert os.listdir(tmp_path) == ["folder"]


async def test_what_to_do_about_another_file_suits_every_caller(tmp_path: Path) -> None:
    """An option that only some commands have is not named where a file is none of turntree's."""
    path = tmp_path / "keys.json"
    path.write_text("{}" * 99)
    for command in (
        ("verify", path),
        ("restore", path, "--db", tmp_path / "new.db"),
        ("serve", "--db", path, *ANY_PORT),
    ):
        refused = run(*command)
        assert_refused(refused, "not a SQLite database: give another file", code=ExitCode.DATABASE_FOREIGN)
        assert "--db" not in refused.stderr
    with pytest.raises(Unavailable, match="not a SQLite database: give another file"):
        await turntree.connect(f"sqlite:///{path}")


def test_the_check_may_be_skipped(tmp_path: Path) -> None:
    """With --skip-check a server does not search a file for damage."""
    db = tmp_path / "conversations.db"
    make("turntree_schema_2", db)
    execute(db, "PRAGMA writable_schema = ON", "UPDATE sqlite_master SET rootpage = 3 WHERE name = 'turntree_labels'")
    assert_refused(run("serve", "--db", db, *ANY_PORT), "it is damaged", code=ExitCode.DATABASE_DAMAGED)
    server = ServerProcess.start(db, options=["--skip-check"])
    server.stop()


def test_a_taken_port_touches_no_database(server: ServerProcess, tmp_path: Path) -> None:
    """A server that cannot listen makes no database, and does not migrate one."""
    new, old = tmp_path / "new.db", tmp_path / "old.db"
    make("sdk_advanced_0.24", old)
    before = state(tmp_path)
    for db in (new, old):
        refused = run("serve", "--db", db, "--listen", server.address)
        assert_refused(refused, "cannot listen on", code=ExitCode.ADDRESS_IN_USE)
    assert {name: content for name, content in state(tmp_path).items() if name in before} == before
    assert not new.exists()


# One server for a file


async def test_a_second_server_on_the_file(server: ServerProcess, tmp_path: Path) -> None:
    """A second server on a file is refused, by whatever name, until the first has ended, killed or not."""
    alias = tmp_path / "alias.db"
    alias.symlink_to(server.db)
    for db in (server.db, alias):
        refused = run("serve", "--db", db, *ANY_PORT)
        assert_refused(refused, "another turntree server serves it", code=ExitCode.DATABASE_IN_USE)
    async with RemoteStore(server.address) as store:
        await store.add_items("s", turns(1))
    server.kill()
    server.start_again()
    async with RemoteStore(server.address) as store:
        assert await items_of(store, "s") == turns(1)
    server.stop()
    assert not [name for name in state(tmp_path) if name.endswith("-lock")]


@pytest.mark.parametrize("command", ["serve", "restore"])
def test_a_file_with_two_names(command: str, db: Path, tmp_path: Path) -> None:
    """A file with a hard link, whose log and lock another name would not have, is refused by each name, unchanged."""
    make("turntree_schema_2", tmp_path / "copy.db")
    hard, alias = tmp_path / "hard.db", tmp_path / "alias.db"
    hard.hardlink_to(db)
    alias.symlink_to(db)
    before = state(tmp_path)
    for name in (db, hard, alias):
        serving = ("serve", "--db", name, *ANY_PORT)
        restoring = ("restore", tmp_path / "copy.db", "--db", name, "--force")
        refused = run(*(serving if command == "serve" else restoring))
        words = ("the file has 2 names (hard links)", "leave it one", "turntree backup")
        assert_refused(refused, *words, code=ExitCode.DATABASE_IN_USE)
        assert state(tmp_path) == before
    hard.unlink()
    ServerProcess.start(db).stop()


async def test_an_embedded_store_of_a_file_with_two_names(db: Path, tmp_path: Path) -> None:
    """An embedded store does not open a file with a hard link either, and does open it when it has one name again."""
    (tmp_path / "hard.db").hardlink_to(db)
    before = state(tmp_path)
    with pytest.raises(Unavailable, match="the file has 2 names") as refused:
        await turntree.connect(f"sqlite:///{db}")
    assert refused.value.reason is ErrorReason.STORE_FAILED
    assert state(tmp_path) == before
    (tmp_path / "hard.db").unlink()
    async with await turntree.connect(f"sqlite:///{db}") as store:
        assert await items_of(store, "s")


def test_a_name_of_a_copy_that_was_being_made(db: Path, tmp_path: Path) -> None:
    """A command that is killed when its copy has its name, and that of its making too, leaves what can be served."""
    (tmp_path / f"{db.name}.0123abcd.part").hardlink_to(db)
    ServerProcess.start(db).stop()
    (tmp_path / "hard.db").hardlink_to(db)
    assert_refused(run("serve", "--db", db, *ANY_PORT), "has 2 names", code=ExitCode.DATABASE_IN_USE)


async def test_the_sdk_writes_beside_a_server(server: ServerProcess) -> None:
    """The SDK's own class in another process writes a served file as before."""
    writes = (
        "import asyncio, sys; from agents.extensions.memory import AdvancedSQLiteSession as S;"
        "asyncio.run(S(session_id='s', db_path=sys.argv[1], create_tables=True)"
        ".add_items([{'role': 'user', 'content': 'q1'}]))"
    )
    command = [sys.executable, "-c", writes, str(server.db)]
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=60)
    async with RemoteStore(server.address) as store:
        assert [turn.turn for turn in (await store.list_turns("s")).entries] == [1]
