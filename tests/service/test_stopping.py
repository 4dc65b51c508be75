"""How a server stops: also while it starts, while it reads, and while calls come in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from turntree.v1.pipeline_pb2 import PipelineCall, PipelineRequest, PipelineResponse
from turntree.v1.pipeline_pb2_grpc import PipelineServiceStub
from turntree.v1.session_pb2 import AddItemsRequest
from turntree_server.app import Server
from turntree_server.engine.server_lock import ServerLock
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.local_store import LocalStore
from turntree_server.operations.statement import Operation, Query
from turntree_server.settings import Settings

from tests.service.test_process import assert_refused, run
from tests.support.items import user
from tests.support.server_process import ServerProcess, launch, log_of

WITHIN_S = 30
GIVEN_UP_WITHIN_S = 8
OPENS_SLOWLY = (
    sys.executable,
    "-c",
    "import sys; from turntree_server import cli, failpoints; failpoints.DELAY_S = {}; sys.exit(cli.main())",
)
DATABASE_IN_USE = 75


@pytest.mark.parametrize(("seconds", "signals", "code"), [(2, 1, 0), (60, 2, -signal.SIGTERM)])
def test_a_signal_while_it_starts(seconds: int, signals: int, code: int, tmp_path: Path) -> None:
    """A server that is asked to stop while it opens its database never says that it answers; asked twice it ends."""
    db = tmp_path / "conversations.db"
    command = [part.format(seconds) for part in OPENS_SLOWLY]
    process = launch(db, command=command, environment={"TURNTREE_FAILPOINTS": "open.begin=delay"})
    try:
        while not db.with_name("conversations.db-lock").exists():
            assert process.poll() is None, log_of(db).read_text()
        for _ in range(signals):
            with contextlib.suppress(Exception):
                process.wait(0.5)
            process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=WITHIN_S)
        assert (process.returncode, output) == (code, "")
    finally:
        process.kill()
        process.wait()


LONG = (
    "SELECT COUNT(*) FROM (WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 200000000)"
    " SELECT x FROM n)"
)


@pytest.mark.parametrize("place", ["engine.inspect.migrations_done", "engine.sqlite.migrate"])
async def test_an_opening_that_is_given_up(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gives up while a database is looked through or migrated does not wait for the end of that."""
    db = tmp_path / "a.db"
    await (await SqliteEngine.open(db)).close()
    has_begun = threading.Event()

    def takes_long(connection: Any) -> None:
        has_begun.set()
        connection.execute(LONG).fetchall()

    with monkeypatch.context() as patched:
        patched.setattr(f"turntree_server.{place}", takes_long)
        opening = asyncio.create_task(SqliteEngine.open(db))
        assert await asyncio.to_thread(has_begun.wait, WITHIN_S)
        opening.cancel()
        given_up_at = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert time.monotonic() - given_up_at < GIVEN_UP_WITHIN_S
    await (await SqliteEngine.open(db)).close()


def test_a_server_does_not_end_its_look_at_a_file_first(tmp_path: Path) -> None:
    """A server that is told to stop while it looks for damage ends then, in good order, and not after that."""
    db = tmp_path / "conversations.db"
    ServerProcess.start(db).stop()
    slow = (
        "import sys; from turntree_server import cli; from turntree_server.engine import inspect;"
        f"inspect.migrations_done = lambda connection: connection.execute('{LONG}').fetchall(); sys.exit(cli.main())"
    )
    process = launch(db, command=[sys.executable, "-c", slow])
    try:
        while not db.with_name("conversations.db-lock").exists():
            assert process.poll() is None, log_of(db).read_text()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=GIVEN_UP_WITHIN_S)
        assert (process.returncode, output) == (0, "")
    finally:
        process.kill()
        process.wait()
    assert not db.with_name("conversations.db-lock").exists()
    assert "Traceback" not in log_of(db).read_text()


async def test_a_read_that_nobody_waits_for_ends(tmp_path: Path) -> None:
    """A read that was given up is not carried out to its end: it holds up no later read, and no shutdown."""

    def long() -> Operation[int]:
        rows = yield Query(
            "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 10000000000) SELECT COUNT(*) FROM n"
        )
        return len(rows)

    async with asyncio.timeout(WITHIN_S), LocalStore(await SqliteEngine.open(tmp_path / "a.db")) as store:
        await store.add_items("s", [user("1")])
        reads = [asyncio.create_task(store.engine.read(long)) for _ in range(4)]
        await asyncio.sleep(0.2)
        for read in reads:
            read.cancel()
        assert len((await store.get_items("s")).items) == 1


async def test_what_is_begun_while_it_stops_is_answered(tmp_path: Path) -> None:
    """Every write of a pipeline that was carried out while the server stopped was acknowledged."""
    db = tmp_path / "conversations.db"
    acknowledged = 0
    for number in range(5):
        server = await Server.start(Settings(db=str(db), port=0, grace_s=5))
        async with asyncio.timeout(WITHIN_S), grpc.aio.insecure_channel(server.address) as channel:
            stream = PipelineServiceStub(channel).Pipeline()
            stopping = None
            is_stopping = asyncio.Event()
            # A client that still sends when the end comes may lose answers that it has got, and asks for them again.
            sending = asyncio.create_task(_send_until(is_stopping, stream, number))
            with contextlib.suppress(grpc.aio.AioRpcError):
                async for response in stream:
                    acknowledged += len(response.replies)
                    stopping = stopping or asyncio.create_task(server.stop())
                    is_stopping.set()
            await asyncio.wait({sending})
            assert stopping is not None
            await stopping
    async with LocalStore(await SqliteEngine.open(db)) as store:
        assert len((await store.read_items("s")).items) == acknowledged


async def _send_until(
    is_over: asyncio.Event, stream: grpc.aio.StreamStreamCall[PipelineRequest, PipelineResponse], number: int
) -> None:
    for message in takewhile(lambda _: not is_over.is_set(), count()):
        calls = [
            PipelineCall(
                call_id=16 * message + call + 1,
                add_items=AddItemsRequest(
                    session_id="s", items=[user("1")], request_id=f"{number} {message} {call}", branch=None
                ),
            )
            for call in range(16)
        ]
        await stream.write(PipelineRequest(calls=calls))


def test_a_folder_has_one_server(tmp_path: Path) -> None:
    """A second server on a folder of databases does not start, and says why."""
    options = ["--data-dir", str(tmp_path / "data")]
    process = ServerProcess.start(tmp_path / "conversations.db", options=options)
    try:
        refused = run("serve", "--listen", "127.0.0.1:0", *options)
        assert_refused(refused, str(tmp_path / "data"), "another turntree server", code=DATABASE_IN_USE)
        process.restart()
        process.stop()
        assert not list((tmp_path / "data").iterdir())
    finally:
        process.kill()


def test_a_lock_that_somebody_removed(tmp_path: Path) -> None:
    """A server whose lock was removed by hand stops in order, and leaves the lock of the one that came after alone."""
    db = str(tmp_path / "a.db")
    first = ServerLock.take(db)
    os.unlink(f"{db}-lock")
    second = ServerLock.take(db)
    first.release()
    assert Path(f"{db}-lock").exists()
    second.release()
    assert not Path(f"{db}-lock").exists()


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    """A place where no file can be made is told in one line, with the system's reason."""
    (tmp_path / "file").write_text("")
    refused = run("serve", "--db", tmp_path / "file" / "a.db", "--listen", "127.0.0.1:0")
    assert_refused(refused, "a.db", "Not a directory", code=refused.returncode)
