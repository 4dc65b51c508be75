"""Backup, restore and verify, and the exit code of each."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import turntree
from pysqlite3 import dbapi2 as sqlite3
from turntree.errors import Conflict
from turntree.model import DeltaKind
from turntree.openai_agents import TurntreeSession
from turntree.remote import RemoteStore
from turntree_server.engine.backup import CannotCreate, backup, restore
from turntree_server.engine.migrate import all_migrations
from turntree_server.engine.refusals import DatabaseInUse
from turntree_server.engine.verify import verify
from turntree_server.exit_codes import ExitCode

from tests.docs.pages import REFERENCE, table
from tests.service.test_process import ANY_PORT, COMMAND, WITHIN_S, assert_refused, run
from tests.support.database import Dump, dump, execute, state
from tests.support.items import turns, user
from tests.support.reading import items_of
from tests.support.schemas import SCHEMAS, make
from tests.support.server_process import ServerProcess, command_without_power

OVER: dict[str, Callable[[Path, Path], tuple[str | Path, ...]]] = {
    "restore": lambda db, other: ("restore", other, "--db", db, "--force"),
    "backup": lambda db, other: ("backup", db, "--db", other, "--force"),
}
"""How each command replaces a file by a copy of another one."""


def overwrite(db: Path, damage: bytes) -> None:
    """Put something else in the place of a database, if it is to be damaged."""
    if damage:
        db.write_bytes(damage)


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


def test_every_exit_code_is_listed() -> None:
    """The page of exit codes lists exactly those there are."""
    rows = table(REFERENCE / "exit-codes.md", "code")
    assert {row["name"].strip("`"): int(row["code"]) for row in rows} == {code.name: code for code in ExitCode}
