"""A database file that somebody removes or replaces while it is open: nothing is acknowledged that a restart loses."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import grpc.aio
import pytest
from turntree.errors import ErrorReason, Unavailable
from turntree.v1.session_pb2 import AddItemsRequest
from turntree.v1.session_pb2_grpc import SessionServiceStub
from turntree_server.engine.refusals import DatabaseRemoved
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.exit_codes import ExitCode
from turntree_server.local_store import LocalStore

from tests.service.test_process import assert_refused, run
from tests.support.items import user
from tests.support.server_process import ServerProcess, log_of

WITHIN_S = 10


def remove(end: str) -> Callable[[Path], None]:
    """Remove the file beside the database whose name has this end."""
    return lambda db: os.unlink(f"{db}{end}")


def replace(db: Path) -> None:
    """Put a copy in the place of a database, as a tool that knows nothing of its log does."""
    shutil.copy(db, db.with_name("copy.db"))
    db.with_name("copy.db").replace(db)


def move_folder(db: Path) -> None:
    """Give the folder of a database another name."""
    db.parent.rename(db.parent.with_name("moved"))


HAPPENINGS = {
    "removed": remove(""),
    "without its log": remove("-wal"),
    "without the index of its log": remove("-shm"),
    "replaced": replace,
    "moved with its folder": move_folder,
}


@pytest.mark.parametrize("happening", HAPPENINGS)
async def test_a_file_that_lost_its_name(happening: str, tmp_path: Path) -> None:
    """A write is acknowledged only if the file still has its name; after it lost it nothing is written any more."""
    db = tmp_path / "data" / "a.db"
    db.parent.mkdir()
    failures: list[Unavailable] = []
    async with asyncio.timeout(WITHIN_S), LocalStore(await SqliteEngine.open(db)) as store:
        store.engine.when_failed(failures.append)
        await store.add_items("s", [user("1")])
        HAPPENINGS[happening](db)
        for _ in range(2):
            with pytest.raises(Unavailable, match="removed or replaced") as refused:
                await store.add_items("s", [user("2")])
            assert refused.value.reason is ErrorReason.STORE_FAILED
    (failure,) = failures
    assert isinstance(failure.__cause__, DatabaseRemoved)


async def test_a_sweep_sees_it_too(tmp_path: Path) -> None:
    """A server that nobody writes to learns of it by the sweep that it makes now and then."""
    db = tmp_path / "a.db"
    async with asyncio.timeout(WITHIN_S), LocalStore(await SqliteEngine.open(db)) as store:
        await store.add_items("s", [user("1")])
        db.unlink()
        with pytest.raises(Unavailable, match="removed or replaced"):
            await store.forget_old_requests()


async def test_a_link_to_a_database(tmp_path: Path) -> None:
    """A database that is called by a symbolic link is written on for as long as its own files have their names."""
    (tmp_path / "data").mkdir()
    link, db = tmp_path / "link.db", tmp_path / "data" / "a.db"
    link.symlink_to(db)
    async with asyncio.timeout(WITHIN_S), LocalStore(await SqliteEngine.open(link)) as store:
        await store.add_items("s", [user("1")])
        os.unlink(f"{db}-wal")
        with pytest.raises(Unavailable, match="removed or replaced"):
            await store.add_items("s", [user("2")])


def test_a_log_without_its_database(tmp_path: Path) -> None:
    """A log whose database was taken away is not thrown away at the next start: it may hold what was acknowledged."""
    for end, content in {"-wal": b"acknowledged", "-shm": b""}.items():
        (tmp_path / f"a.db{end}").write_bytes(content)
    refused = run("serve", "--db", tmp_path / "a.db", "--listen", "127.0.0.1:0")
    assert_refused(refused, "its log a.db-wal", "put", code=ExitCode.DATABASE_MISSING)
    assert (tmp_path / "a.db-wal").read_bytes() == b"acknowledged"
    assert not (tmp_path / "a.db").exists()


async def test_a_server_ends_with_a_code_of_its_own(tmp_path: Path) -> None:
    """A server whose file was removed refuses the first write after that, says why in one line, and ends."""
    server = ServerProcess.start(tmp_path / "a.db")
    try:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = SessionServiceStub(channel)
            await stub.AddItems(AddItemsRequest(session_id="s", items=[user("1")], request_id="1"))
            server.db.unlink()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.AddItems(AddItemsRequest(session_id="s", items=[user("2")], request_id="2"))
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await asyncio.to_thread(server.process.wait, WITHIN_S) == ExitCode.DATABASE_REMOVED
    finally:
        server.kill()
    said = log_of(server.db).read_text()
    assert said.splitlines()[-1].startswith(f"turntree: {server.db} was removed or replaced"), said
    assert "Traceback" not in said
