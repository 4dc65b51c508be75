"""Backup, restore and verify, the refusals of `serve`, and the exit code of each."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import signal
import sqlite3 as pythons_sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import turntree
from pysqlite3 import dbapi2 as sqlite3
from turntree.errors import Conflict, ErrorReason, InvalidArgument, Unavailable
from turntree.model import AfterTurn, BranchPointer, DeltaKind, Usage
from turntree.openai_agents import TurntreeSession
from turntree.remote import RemoteStore
from turntree_server.engine.backup import CannotCreate, backup, restore
from turntree_server.engine.migrate import all_migrations
from turntree_server.engine.refusals import DatabaseInUse
from turntree_server.engine.verify import verify
from turntree_server.exit_codes import ExitCode

from tests.docs.pages import REFERENCE, table
from tests.service.test_process import COMMAND, WITHIN_S, assert_refused, run
from tests.support.database import Dump, dump
from tests.support.items import assistant, function_call, function_output, turns, user
from tests.support.reading import items_of
from tests.support.schemas import SCHEMAS, make
from tests.support.server_process import ServerProcess, command_without_power

ANY_PORT = ("--listen", "127.0.0.1:0")
OVER: dict[str, Callable[[Path, Path], tuple[str | Path, ...]]] = {
    "restore": lambda db, other: ("restore", other, "--db", db, "--force"),
    "backup": lambda db, other: ("backup", db, "--db", other, "--force"),
}
"""How each command replaces a file by a copy of another one."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server in a process of its own, on a new database."""
    process = ServerProcess.start(tmp_path / "conversations.db")
    yield process
    process.kill()


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database that nobody has open, with a little of everything."""
    path = tmp_path / "conversations.db"
    asyncio.run(fill(path))
    return path


async def fill(path: Path) -> None:
    """Write a little of everything."""
    async with await turntree.connect(f"sqlite:///{path}") as store:
        await store.add_items("s", [*turns(3), user("q"), function_call("c"), function_output("c"), assistant("a")])
        await store.record_usage("s", Usage(1, 10, 5, 15))
        await store.create_branch("s", AfterTurn(2), new_branch_id="fork")
        await store.add_items("s", turns(1), branch=BranchPointer("fork"))
        await store.add_items("t", turns(1))


def state(folder: Path) -> dict[str, str]:
    """Every file of a folder, by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def overwrite(db: Path, damage: bytes) -> None:
    """Put something else in the place of a database, if it is to be damaged."""
    if damage:
        db.write_bytes(damage)


def execute(db: Path, *statements: str) -> None:
    """Change a file that nobody has open, without a rule that holds."""
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def held(db: Path) -> Dump:
    """All that a database holds but its id, which a restore changes."""
    return {name: rows for name, rows in dump(db).items() if name != "turntree_database"}


def contents(rows: Sequence[Any]) -> list[str]:
    """The texts of items or turns."""
    return [row["content"] for row in rows]


# Backup and restore


async def test_a_backup_while_serving(server: ServerProcess, tmp_path: Path) -> None:
    """A copy made while a server writes is one file, sound, and holds all that was acknowledged before it began."""
    copy = tmp_path / "copies" / "copy.db"
    copy.parent.mkdir()
    async with RemoteStore(server.address) as store:
        await store.add_items("s", turns(50))
        done = run("backup", copy, "--db", server.db)
        assert (done.returncode, done.stderr) == (0, "")
        held = f"schema {all_migrations()[-1].number}, 1 sessions, 100 items"
        assert done.stdout == f"turntree: copied {server.db} to {copy} ({held})\n"
        await store.add_items("s", turns(1))
    assert os.listdir(copy.parent) == [copy.name]
    async with await turntree.connect(f"sqlite:///{copy}") as store:
        assert await items_of(store, "s") == turns(50)


async def test_a_backup_of_what_is_still_in_the_log(server: ServerProcess, tmp_path: Path) -> None:
    """A killed server's file is copied with what its log holds, and neither changes."""
    async with RemoteStore(server.address) as store:
        await store.add_items("s", turns(3))
    server.kill()
    names = {server.db.name, f"{server.db.name}-wal"}
    before = state(tmp_path)
    assert names <= before.keys()
    assert run("backup", tmp_path / "copy.db", "--db", server.db).returncode == 0
    after = state(tmp_path)
    assert {name: after[name] for name in names} == {name: before[name] for name in names}
    async with await turntree.connect(f"sqlite:///{tmp_path}/copy.db") as store:
        assert await items_of(store, "s") == turns(3)


def test_a_backup_replaces_nothing_unasked(db: Path, tmp_path: Path) -> None:
    """An existing copy is replaced with --force alone, and the database itself never."""
    copy = tmp_path / "copy.db"
    copy.write_bytes(b"dear to somebody")
    refused = run("backup", copy, "--db", db)
    assert_refused(refused, f"cannot write {copy}: it exists; --force replaces it", code=ExitCode.CANNOT_CREATE)
    assert copy.read_bytes() == b"dear to somebody"
    assert run("backup", copy, "--db", db, "--force").returncode == 0
    assert dump(copy) == dump(db)
    itself = run("backup", db, "--db", db, "--force")
    assert_refused(itself, "it is the database itself", code=ExitCode.CANNOT_CREATE)
    nowhere = run("backup", tmp_path / "missing" / "copy.db", "--db", db)
    assert_refused(nowhere, f"the folder {tmp_path}/missing does not exist", code=ExitCode.CANNOT_CREATE)


def test_names_that_are_no_text(db: Path, tmp_path: Path) -> None:
    """A file is found and made under any name that the system allows, bytes that are no UTF-8 too."""
    copy, again = tmp_path / os.fsdecode(b"c\xff.db"), tmp_path / os.fsdecode(b"d\xff.db")
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    commands = (("backup", copy, "--db", db), ("verify", copy), ("backup", again, "--db", copy))
    assert [run(*command, **strict).returncode for command in commands] == [0, 0, 0]
    assert dump(again) == dump(db)


def test_a_copy_is_as_private_as_its_source(db: Path, tmp_path: Path) -> None:
    """A copy may be read by whoever may read the database, and nobody else."""
    db.chmod(0o600)
    assert run("backup", tmp_path / "copy.db", "--db", db).returncode == 0
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_a_backup_of_a_damaged_database(db: Path, tmp_path: Path) -> None:
    """A damaged database is not copied, and a copy that is there stays, also with --force."""
    assert run("backup", tmp_path / "copy.db", "--db", db).returncode == 0
    execute(db, "DELETE FROM agent_messages WHERE id = 3")
    before = state(tmp_path)
    refused = run("backup", tmp_path / "copy.db", "--db", db, "--force")
    assert_refused(refused, str(db), "it is damaged", code=ExitCode.DATABASE_DAMAGED)
    assert state(tmp_path) == before


def test_a_restore_of_what_was_lost(db: Path, tmp_path: Path) -> None:
    """A restored database holds what the copy holds; the copy stays."""
    assert run("backup", tmp_path / "copy.db", "--db", db).returncode == 0
    expected = dump(db)
    db.unlink()
    done = run("restore", tmp_path / "copy.db", "--db", db)
    assert (done.returncode, done.stderr) == (0, "")
    assert dump(tmp_path / "copy.db") == expected
    assert held(db) == held(tmp_path / "copy.db")


@pytest.mark.parametrize("damage", [b"", b"SQLite format 3\0" + b"\xff" * 5000, b"no database at all"])
async def test_a_restore_over_what_is_left(damage: bytes, db: Path, tmp_path: Path) -> None:
    """With --force a restore replaces whatever is there, and an old log beside it never becomes part of the new."""
    assert run("backup", tmp_path / "copy.db", "--db", db).returncode == 0
    expected = held(db)
    server = ServerProcess.start(db)
    async with RemoteStore(server.address) as store:
        await store.add_items("s", [user("only in the log")])
    server.kill()
    overwrite(db, damage)
    refused = run("restore", tmp_path / "copy.db", "--db", db)
    assert_refused(refused, "it exists; --force replaces it", code=ExitCode.CANNOT_CREATE)
    assert run("restore", tmp_path / "copy.db", "--db", db, "--force").returncode == 0
    assert held(db) == expected


async def test_what_clients_know_of_a_database_that_was_restored(server: ServerProcess, tmp_path: Path) -> None:
    """Rows that were lost are never taken for those written since, which have their ids."""
    async with RemoteStore(server.address) as store, RemoteStore(server.address) as other:
        session = TurntreeSession("s", store=store)
        await session.add_items([{"role": "user", "content": "kept"}, {"role": "user", "content": "kept too"}])
        await session.create_branch_from_turn(2, "fork")
        await session.switch_to_branch("main")
        assert run("backup", tmp_path / "copy.db", "--db", server.db).returncode == 0
        await session.add_items([{"role": "user", "content": "lost"}])
        lost = await store.get_items("s")
        server.stop()
        assert run("restore", tmp_path / "copy.db", "--db", server.db, "--force").returncode == 0
        server.start_again()
        await other.add_items("s", [user("new")])
        assert contents(await session.get_items()) == ["kept", "kept too", "new"]
        assert contents(await session.get_conversation_turns()) == ["kept", "kept too", "new"]
        assert (await store.get_items("s", cursor=lost.cursor)).kind is DeltaKind.REPLACED
        with pytest.raises(Conflict):
            await store.add_items("s", [user("blind")], expected_cursor=lost.cursor)
    server.stop()


async def test_an_agent_of_a_session_that_was_cleared_and_then_restored(server: ServerProcess, tmp_path: Path) -> None:
    """Who knows that a session was cleared finds its branches again when it is put back to before that."""
    async with RemoteStore(server.address) as store:
        session = TurntreeSession("s", store=store)
        await session.add_items([{"role": "user", "content": "1"}, {"role": "user", "content": "2"}])
        await session.create_branch_from_turn(2, "fork")
        assert run("backup", tmp_path / "copy.db", "--db", server.db).returncode == 0
        await session.clear_session()
        server.stop()
        assert run("restore", tmp_path / "copy.db", "--db", server.db, "--force").returncode == 0
        server.start_again()
        await session.switch_to_branch("fork")
        await session.add_items([{"role": "user", "content": "on the fork"}])
        assert contents(await session.get_items()) == ["1", "on the fork"]
        assert contents(await session.get_items(branch_id="main")) == ["1", "2"]
    server.stop()


@pytest.mark.parametrize("command", OVER)
def test_a_file_that_a_server_has(command: str, server: ServerProcess, tmp_path: Path) -> None:
    """A file that a server has open is not replaced, also with --force."""
    make("turntree_schema_2", tmp_path / "copy.db")
    before = dump(server.db)
    refused = run(*OVER[command](server.db, tmp_path / "copy.db"))
    assert_refused(refused, "another turntree server serves it", code=ExitCode.DATABASE_IN_USE)
    assert dump(server.db) == before


@pytest.mark.parametrize("command", OVER)
async def test_a_file_that_another_program_has(command: str, db: Path, tmp_path: Path) -> None:
    """A file that an embedded store, or any program through SQLite, has open is not replaced."""
    make("turntree_schema_2", tmp_path / "copy.db")
    async with await turntree.connect(f"sqlite:///{db}") as store:
        before = await items_of(store, "s")
        refused = run(*OVER[command](db, tmp_path / "copy.db"))
        assert_refused(refused, "another program has it open", code=ExitCode.DATABASE_IN_USE)
        assert await items_of(store, "s") == before


def test_a_restore_of_a_damaged_copy(db: Path, tmp_path: Path) -> None:
    """A copy that is damaged, or none, is refused, and the database stays as it is."""
    copy = tmp_path / "copy.db"
    make("turntree_schema_2", copy)
    execute(copy, "DELETE FROM message_structure WHERE id = 3")
    before = state(tmp_path)
    refused = run("restore", copy, "--db", db, "--force")
    assert_refused(refused, str(copy), "it is damaged", code=ExitCode.DATABASE_DAMAGED)
    missing = run("restore", tmp_path / "none.db", "--db", db, "--force")
    assert_refused(missing, "there is no such file", code=ExitCode.DATABASE_MISSING)
    assert state(tmp_path) == before


async def test_a_backup_beside_an_old_log(db: Path, tmp_path: Path) -> None:
    """A log that is left beside the name of the copy, with its database or alone, never becomes part of the copy."""
    copy = tmp_path / "copy.db"
    old = ServerProcess.start(copy)
    async with RemoteStore(old.address) as store:
        await store.add_items("s", [user("only in the old log")])
    old.kill()
    log = (tmp_path / "copy.db-wal").read_bytes()
    assert run("backup", copy, "--db", db, "--force").returncode == 0
    assert not {"copy.db-wal", "copy.db-shm"} & state(tmp_path).keys()
    assert dump(copy) == dump(db)
    copy.unlink()
    (tmp_path / "copy.db-wal").write_bytes(log)
    assert run("backup", copy, "--db", db).returncode == 0
    assert "copy.db-wal" not in state(tmp_path)
    assert dump(copy) == dump(db)


def test_a_backup_over_itself(db: Path, tmp_path: Path) -> None:
    """A database is not replaced by a copy of itself, by whatever name it is called."""
    (tmp_path / "alias.db").hardlink_to(db)
    itself = run("backup", tmp_path / "alias.db", "--db", db, "--force")
    assert_refused(itself, "it is the database itself", code=ExitCode.CANNOT_CREATE)


def test_a_restored_file_is_its_owners(db: Path, tmp_path: Path) -> None:
    """A database that is replaced keeps its owner and its mode, so that whoever served it can serve it again."""
    copy = tmp_path / "copy.db"
    assert run("backup", copy, "--db", db).returncode == 0
    copy.chmod(0o644)
    db.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(db, 65534, 65533)
    before = db.stat()
    assert run("restore", copy, "--db", db, "--force").returncode == 0
    after = db.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


def test_a_file_system_without_hard_links(db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file may have one name only, a copy gets its name all the same, and still replaces nothing unasked."""

    def refuse(*paths: str) -> None:
        if (tmp_path / "late.db.appears").exists():
            (tmp_path / "late.db").write_bytes(b"dear to somebody")
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    backup(str(db), str(tmp_path / "copy.db"))
    assert dump(tmp_path / "copy.db") == dump(db)
    (tmp_path / "late.db.appears").touch()
    with pytest.raises(CannotCreate, match="it was made meanwhile"):
        backup(str(db), str(tmp_path / "late.db"))
    assert (tmp_path / "late.db").read_bytes() == b"dear to somebody"
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_command_in_good_order(number: signal.Signals, db: Path, tmp_path: Path) -> None:
    """A backup that is told to end leaves nothing behind, and says in one line why it ended."""
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        before = state(tmp_path)
        other.execute("BEGIN EXCLUSIVE")  # so that the backup waits
        command: list[str | Path] = [COMMAND, "backup", tmp_path / "copy.db", "--db", db]
        was = signal.signal(number, signal.SIG_DFL)  # what the tests ignore would be ignored by the command too
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        finally:
            signal.signal(number, was)
        with process:
            while not list(tmp_path.glob("copy.db.*.part")):
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(number)
            said = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, *said) == (128 + number, "", f"turntree: ended by {number.name}\n")
    assert state(tmp_path) == before


# Why a file could not be read or written


def run_without_power(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a user whom the modes of files bind."""
    command = [*command_without_power(), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)


def test_a_backup_of_what_is_no_sound_database(db: Path, tmp_path: Path) -> None:
    """A database that was cut short and a file that is none are refused by `backup` as `serve` and `verify` do."""
    os.truncate(db, db.stat().st_size // 2)
    (tmp_path / "diary.db").write_bytes(b"Dear diary, " * 99)
    before = state(tmp_path)
    cut = run("backup", tmp_path / "copy.db", "--db", db)
    assert_refused(cut, f"cannot open {db}: it is damaged (", code=ExitCode.DATABASE_DAMAGED)
    foreign = run("backup", tmp_path / "copy.db", "--db", tmp_path / "diary.db")
    assert_refused(foreign, "it is not a SQLite database", code=ExitCode.DATABASE_FOREIGN)
    assert state(tmp_path) == before


@pytest.mark.parametrize("size_bytes", [0, 4096])
def test_an_empty_file_is_no_copy(size_bytes: int, db: Path, tmp_path: Path) -> None:
    """A file without a table, as a full disk may leave of a copy, is not called sound, nor restored, nor copied."""
    empty = tmp_path / "empty.db"
    empty.touch()
    if size_bytes:
        execute(empty, "PRAGMA journal_mode = WAL")
    assert empty.stat().st_size == size_bytes
    before = state(tmp_path)
    for command in (
        ("verify", empty),
        ("restore", empty, "--db", db, "--force"),
        ("backup", tmp_path / "copy.db", "--db", empty),
    ):
        refused = run(*command)
        assert_refused(refused, f"cannot open {empty}: it is empty", code=ExitCode.DATABASE_DAMAGED)
    assert state(tmp_path) == before
    ServerProcess.start(empty).stop()
    assert run("verify", empty).returncode == 0


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    """A folder in the place of a file is named as what it is."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for command in (
        ("verify", folder),
        ("backup", tmp_path / "copy.db", "--db", folder),
        ("restore", folder, "--db", tmp_path / "new.db"),
        ("serve", "--db", folder, *ANY_PORT),
    ):
        refused = run(*command)
        assert_refused(refused, f"cannot open {folder}: it is a folder", code=ExitCode.DATABASE_MISSING)
    assert os.listdir(tmp_path) == ["folder"]


def test_what_is_no_file_is_not_replaced(db: Path, tmp_path: Path) -> None:
    """A pipe or a device is neither read as a database nor replaced by one, also with --force."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused = run("backup", pipe, "--db", db, "--force")
    assert_refused(refused, f"cannot write {pipe}: it is not a file", code=ExitCode.CANNOT_CREATE)
    assert_refused(run("verify", pipe), f"cannot open {pipe}: it is not a file", code=ExitCode.DATABASE_MISSING)
    assert pipe.is_fifo()


def test_a_file_that_may_not_be_read(db: Path, tmp_path: Path) -> None:
    """A file that the system does not let us read is named, with the reason of the system."""
    db.chmod(0)
    for command in (("verify", db), ("backup", tmp_path / "copy.db", "--db", db), ("serve", "--db", db, *ANY_PORT)):
        assert_refused(run_without_power(*command), f"cannot open {db}: Permission denied")
    assert os.listdir(tmp_path) == [db.name]


def test_a_folder_that_may_not_be_written(db: Path, tmp_path: Path) -> None:
    """Where nothing may be made beside a file, the file is named with that reason."""
    copy = tmp_path / "copy.db"
    make("turntree_schema_2", copy)
    folder = tmp_path / "folder"
    folder.mkdir()
    closed = folder / "closed.db"
    db.rename(closed)
    folder.chmod(0o555)
    try:
        assert_refused(run_without_power("verify", closed), f"cannot open {closed}: nothing may be written beside it")
        refused = run_without_power("serve", "--db", closed, *ANY_PORT)
        assert_refused(refused, f"cannot open {closed}: ", "Permission denied", code=ExitCode.DATABASE_MISSING)
        for command in (("restore", copy, "--db", closed, "--force"), ("backup", folder / "new.db", "--db", copy)):
            refused = run_without_power(*command)
            assert_refused(refused, f"cannot write {folder}/", "Permission denied", code=ExitCode.CANNOT_CREATE)
        assert os.listdir(folder) == [closed.name]
    finally:
        folder.chmod(0o755)


def test_a_copy_that_may_not_be_written(tmp_path: Path) -> None:
    """A copy that was made safe from writing can be restored, and what comes of it can be served."""
    copy = tmp_path / "copy.db"
    make("turntree_schema_2", copy)
    copy.chmod(0o444)
    done = run_without_power("restore", copy, "--db", tmp_path / "new.db")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "new.db").stat().st_mode & 0o600 == 0o600
    assert copy.stat().st_mode & 0o777 == 0o444


def test_a_file_that_may_not_be_written(db: Path, tmp_path: Path) -> None:
    """A database that the system does not let us write is not replaced."""
    copy = tmp_path / "copy.db"
    make("turntree_schema_2", copy)
    db.chmod(0o444)
    before = state(tmp_path)
    refused = run_without_power("restore", copy, "--db", db, "--force")
    assert_refused(refused, f"cannot write {db}: Permission denied", code=ExitCode.CANNOT_CREATE)
    assert state(tmp_path) == before
    assert_refused(run_without_power("serve", "--db", db, *ANY_PORT), f"cannot open {db}: Permission denied")


def test_a_file_that_is_locked(db: Path) -> None:
    """A file that another program keeps from being read is named, with that reason."""
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        assert_refused(run("verify", db), f"cannot open {db}: ", "locked")


# Verify

BREAKS = {
    "items of sessions that do not exist": "DELETE FROM agent_sessions WHERE session_id = 't'",
    "places on branches without an item of their session": "DELETE FROM agent_messages WHERE id = 11",
    "items that no branch shows": "DELETE FROM message_structure WHERE id = 10",
    "items that stand on one branch twice": "UPDATE message_structure SET message_id = 1 WHERE id = 3",
    "two in one place": "UPDATE message_structure SET sequence_number = 2 WHERE id = 3",
    "turn numbers that are not the count": "UPDATE message_structure SET user_turn_number = 1 WHERE id = 3",
    "branch_turn": "UPDATE message_structure SET branch_turn_number = 9 WHERE id = 3",
    "usage of turns that do not exist": "UPDATE turn_usage SET user_turn_number = 5",
    "another type or tool": "UPDATE message_structure SET tool_name = 'other' WHERE tool_name IS NOT NULL",
    "another type": "UPDATE message_structure SET message_type = 'system' WHERE id = 10",
    "items that are not JSON": "UPDATE agent_messages SET message_data = '{' WHERE id = 3",
    "times that are none": "UPDATE agent_sessions SET updated_at = 'fork' WHERE session_id = 't'",
    "rows of": "UPDATE message_structure SET session_id = 'nobody' WHERE id = 11",
}


@pytest.mark.parametrize("rule", BREAKS)
def test_a_broken_rule_is_found(rule: str, db: Path) -> None:
    """Every rule of turntree's own rows that is broken is found, though SQLite finds nothing wrong."""
    assert run("verify", db).returncode == 0
    execute(db, BREAKS[rule])
    with closing(sqlite3.connect(db)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    before = state(db.parent)
    refused = run("verify", db)
    assert_refused(refused, f"cannot open {db}: it is damaged (", code=ExitCode.DATABASE_DAMAGED)
    assert state(db.parent) == before


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_of_every_schema_are_sound(schema: str, tmp_path: Path) -> None:
    """A file of an older schema or of the SDK is verified as it is, and not migrated."""
    db = tmp_path / "old.db"
    make(schema, db)
    before = state(tmp_path)
    done = run("verify", db)
    assert (done.returncode, done.stderr) == (0, "")
    assert state(tmp_path) == before


def test_an_index_that_lacks_a_row(db: Path) -> None:
    """What only a full check of SQLite finds, an index without one of its rows, is found."""
    execute(
        db,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = sql || ' WHERE id > 1' WHERE name = 'idx_structure_turn'",
    )
    execute(db, "REINDEX idx_structure_turn")
    execute(
        db,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = replace(sql, ' WHERE id > 1', '') WHERE name = 'idx_structure_turn'",
    )
    assert_refused(run("verify", db), "it is damaged (", code=ExitCode.DATABASE_DAMAGED)


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
        refused = run(*(serving if command == "serve" else OVER[command](name, tmp_path / "copy.db")))
        words = ("the file has 2 names (hard links)", "leave it one", "turntree backup")
        assert_refused(refused, *words, code=ExitCode.DATABASE_IN_USE)
        assert state(tmp_path) == before
    hard.unlink()
    ServerProcess.start(db).stop()


@pytest.mark.parametrize("command", ["backup", "verify", "restore"])
async def test_a_source_with_two_names(command: str, db: Path, tmp_path: Path) -> None:
    """A file whose log may be beside its other name is not read for the whole of it; a copy has no log, and is read."""
    copy, other = tmp_path / "copy.db", tmp_path / "other.db"
    backup(str(db), str(copy))
    for path in (db, copy):
        path.with_suffix(".hard").hardlink_to(path)
    commands: dict[str, Callable[[str, str], str]] = {
        "backup": backup,
        "verify": lambda path, _: verify(path),
        "restore": restore,
    }
    reads = commands[command]
    before = state(tmp_path)
    with pytest.raises(DatabaseInUse, match="the file has 2 names"):
        reads(str(db.with_suffix(".hard")), str(other))
    assert state(tmp_path) == before
    assert reads(str(copy), str(other))


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal", "-lock"])
def test_a_copy_in_the_place_of_a_log(end: str, db: Path, tmp_path: Path) -> None:
    """No copy takes a name that belongs to another database, such as that of its log, also with --force."""
    copy, name = tmp_path / "copy.db", Path(f"{db}{end}")
    backup(str(db), str(copy))
    name.write_bytes(b"of the database")
    before = state(tmp_path)
    for replace in (backup, restore):
        with pytest.raises(CannotCreate, match="the name belongs to"):
            replace(str(copy), str(name), force=True)
        assert state(tmp_path) == before


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


def test_every_exit_code_is_listed() -> None:
    """The page of exit codes lists exactly those there are."""
    rows = table(REFERENCE / "exit-codes.md", "code")
    assert {row["name"].strip("`"): int(row["code"]) for row in rows} == {code.name: code for code in ExitCode}
