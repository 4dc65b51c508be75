"""A disk that is really full, and a database that may not grow: refusals that say so, reads, and writes again later."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from turntree.errors import ErrorReason, ResourceExhausted, Unavailable
from turntree.remote import RemoteStore
from turntree.store import Store
from turntree_server.app import Server
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.exit_codes import ExitCode
from turntree_server.local_store import LocalStore
from turntree_server.operations.statement import Operation, Query
from turntree_server.settings import Settings

from tests.faults.failing_disk import FailingServer, Ledger, require_strace
from tests.faults.loop_disk import run, small_disk
from tests.faults.test_io_errors import FULL
from tests.support.items import large
from tests.support.reading import items_of
from tests.support.server_process import COMMAND, ServerProcess

KIB = 1024
MIB = 1024 * KIB
WRITES_MAX = 400
"""More than any of the disks here has room for."""


async def fill(ledger: Ledger, address: str) -> None:
    """Write until each of three writers is refused, which must be for want of room."""
    await ledger.write(address, ["a", "b", "c"], WRITES_MAX)
    assert len(ledger.made) == len(ledger.answered) + 3
    assert ledger.refused == [FULL] * 3


async def still_reads(store: Store, ledger: Ledger) -> None:
    """Everything that was acknowledged can be read, and nothing of what was refused."""
    assert len(await items_of(store, "s")) == 3 * len(ledger.answered)


@pytest.mark.parametrize("room_bytes", [40 * KIB, 200 * KIB])
async def test_a_disk_without_room(room_bytes: int, tmp_path: Path) -> None:
    """With no room left writes are refused and reads go on; with room again writes go on, and nothing was lost."""
    with small_disk(tmp_path / "disk", 4 * MIB) as disk:
        server = ServerProcess.start(disk / "conversations.db")
        try:
            ledger = Ledger()
            await ledger.write(server.address, ["first"], 3)
            ballast = disk / "ballast"
            _fill_but(ballast, room_bytes)
            async with RemoteStore(server.address) as store:
                await fill(ledger, server.address)
                await still_reads(store, ledger)
                ballast.unlink()
                await ledger.write(server.address, ["later", "more"], 5)
                await still_reads(store, ledger)
            assert len(ledger.refused) == 3
            server.stop()
        finally:
            server.kill()
        await ledger.assert_kept(server.db)


def _fill_but(ballast: Path, room_bytes: int) -> None:
    """Fill the disk of a file, but for some room."""
    with ballast.open("wb", buffering=0) as file:
        with suppress(OSError):  # it is full
            while file.write(bytes(4 * KIB)):
                pass
        file.truncate(file.tell() - room_bytes)


def _may_have_pages(count: int) -> Operation[None]:
    """Bound the pages of the database, for the connection that writes."""
    yield Query(f"PRAGMA max_page_count = {count}")


async def test_a_database_that_may_not_grow(tmp_path: Path) -> None:
    """A database at its largest number of pages refuses writes as a full disk does, and takes them when it may grow."""
    engine = await SqliteEngine.open(tmp_path / "conversations.db")
    async with LocalStore(engine) as local:
        server = Server(Settings(port=0, grace_s=1), local)
        await server._listen()
        try:
            ledger = Ledger()
            await ledger.write(server.address, ["first"], 3)
            await engine.write(lambda: _may_have_pages(100), "")
            async with RemoteStore(server.address) as store:
                await fill(ledger, server.address)
                await still_reads(store, ledger)
                await engine.write(lambda: _may_have_pages(2**30), "")
                await ledger.write(server.address, ["later"], 5)
                await still_reads(store, ledger)
        finally:
            await server.stop()
    await ledger.assert_kept(tmp_path / "conversations.db")


async def test_room_that_a_large_write_does_not_fit_in(tmp_path: Path) -> None:
    """A write too large for the room that is left is refused without effect, and smaller ones go on."""
    with small_disk(tmp_path / "disk", 4 * MIB) as disk:
        server = ServerProcess.start(disk / "conversations.db")
        try:
            async with RemoteStore(server.address) as store:
                with pytest.raises(ResourceExhausted) as raised:
                    await store.add_items("large", [large("a", 4 * MIB)])
                assert raised.value.reason is ErrorReason.STORE_FULL
                assert await items_of(store, "large") == []
                await store.add_items("small", [large("a", 10 * KIB)])
                assert len(await items_of(store, "small")) == 1
            server.stop()
        finally:
            server.kill()


@pytest.mark.parametrize("was_killed", [True, False])
async def test_a_start_on_a_disk_without_room(was_killed: bool, tmp_path: Path) -> None:
    """A server that finds no room when it starts says so and ends; with room it starts, and nothing was lost."""
    with small_disk(tmp_path / "disk", 4 * MIB) as disk:
        ledger = Ledger()
        server = ServerProcess.start(disk / "conversations.db")
        try:
            await ledger.write(server.address, ["a"], 20)
            if was_killed:
                server.kill()
            else:
                server.stop()
        finally:
            server.kill()
        _fill_but(disk / "ballast", 0)
        ended = run(COMMAND, "serve", "--db", server.db, "--listen", "127.0.0.1:0")
        assert ended.returncode in (ExitCode.FAILED, ExitCode.DISK_FAILED), ended
        assert ended.stderr.splitlines()[-1].startswith(f"turntree: cannot open {server.db}"), ended
        assert "Traceback" not in ended.stderr
        (disk / "ballast").unlink()
        await ledger.assert_kept(server.db)


async def test_a_copy_without_room(tmp_path: Path) -> None:
    """A copy that does not fit on its disk is refused with the name of the copy and the reason, and is gone again."""
    db, copy = tmp_path / "conversations.db", tmp_path / "copy.db"
    server = ServerProcess.start(db)
    ledger = Ledger()
    await ledger.write(server.address, ["a"], 20)
    server.stop()
    assert run(COMMAND, "backup", copy, "--db", db).returncode == ExitCode.OK
    with small_disk(tmp_path / "disk", 128 * KIB) as disk:
        (disk / "conversations.db").touch()
        for command in (
            ("backup", disk / "copy.db", "--db", db),
            ("restore", copy, "--db", disk / "conversations.db", "--force"),
        ):
            ended = run(COMMAND, *command)
            assert ended.returncode == ExitCode.CANNOT_CREATE, ended
            assert ended.stderr.startswith(f"turntree: cannot write {disk}/"), ended
            assert ended.stderr.endswith(": database or disk is full\n"), ended
            assert [(file.name, file.stat().st_size) for file in disk.iterdir()] == [("conversations.db", 0)]
    await ledger.assert_kept(db)


async def test_no_room_for_the_index_of_the_log(tmp_path: Path) -> None:
    """Where the log is written and its index cannot grow, nobody knows what a restart will find: the server leaves."""
    require_strace()
    ledger = Ledger()
    db = tmp_path / "conversations.db"
    server = FailingServer.start(db, "pwrite64:error=ENOSPC:when=9", files=[Path(f"{db}-shm")])
    assert server.address is not None
    await ledger.write(server.address, ["a"], 5)
    async with RemoteStore(server.address, retry_for_s=1) as store:
        with pytest.raises(Unavailable):
            await store.add_items("large", [large(name, 10 * MIB) for name in ("a", "b")])
    code, said = server.end(by_itself=True)
    assert (code, server.injected()) == (ExitCode.DISK_FAILED, 1), said
    await ledger.assert_kept(db)
