"""Servers killed with SIGKILL at random moments: at work, and while they start, migrate and stop."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest
from pysqlite3 import dbapi2 as sqlite3
from turntree.remote import RemoteStore
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.engine.verify import verify
from turntree_server.local_store import LocalStore

from tests.faults.ledger import Ledger
from tests.faults.report import Tally, tallied
from tests.faults.rounds import new_seed, rounds
from tests.support.items import assistant, user
from tests.support.reading import items_of
from tests.support.server_process import COMMAND, ServerProcess, launch

WITHIN_S = 60
ROUNDS_A_DATABASE = 25
ANSWERS_MAX = 200
OPENS_WITHIN_S = 30
BACKUP_S = 0.6
"""About how long a backup takes."""
OPENING_S = 0.03
"""About how long a server takes from when it opens its database until it answers."""


async def killed_at_work(server: ServerProcess, ledger: Ledger, rng: random.Random) -> None:
    """Let the writers write, and kill the server under them."""
    async with RemoteStore(server.address) as store, ledger.writing(store) as more_answers:
        await more_answers(rng.randint(1, ANSWERS_MAX))
        await asyncio.sleep(rng.uniform(0, 0.01))
        server.process.kill()
        await asyncio.to_thread(server.process.wait)
    server.kill()


async def killed_in_shutdown(server: ServerProcess, ledger: Ledger, rng: random.Random) -> None:
    """Tell the server to stop while the writers write, and kill it while it does."""
    async with RemoteStore(server.address) as store, ledger.writing(store) as more_answers:
        await more_answers(rng.randint(1, ANSWERS_MAX))
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(rng.uniform(0, OPENING_S))
        server.process.kill()
        await asyncio.to_thread(server.process.wait)
    server.kill()


async def killed_during_a_backup(server: ServerProcess, ledger: Ledger, rng: random.Random) -> None:
    """Copy the database while the writers write, and kill the server, and perhaps the backup too, in the middle."""
    copy = server.db.with_name(f"copy-{rng.getrandbits(64):x}.db")
    async with RemoteStore(server.address) as store, ledger.writing(store) as more_answers:
        await more_answers(rng.randint(1, ANSWERS_MAX))
        with backing_up(server.db, copy) as backup:
            await asyncio.sleep(rng.uniform(0, BACKUP_S))
            server.process.kill()
            if is_killed := rng.random() < 0.5:
                backup.kill()
            code = await asyncio.to_thread(backup.wait)
    server.kill()
    assert code == 0 or (is_killed and code == -signal.SIGKILL)
    assert code != 0 or copy.exists()
    if copy.exists():
        verify(str(copy))


def backing_up(db: Path, copy: Path) -> subprocess.Popen[bytes]:
    """A backup at work."""
    return subprocess.Popen([COMMAND, "backup", copy, "--db", db], stdout=subprocess.DEVNULL)


async def killed_while_it_opens(db: Path, rng: random.Random) -> None:
    """Start a server, and kill it when it has opened the database and before it is done with that, more or less."""
    process = launch(db)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(OPENS_WITHIN_S):
            while not has_open(process.pid, db):
                assert process.poll() is None, "the server ended before it opened its database"
                await asyncio.sleep(0.001)
        await asyncio.sleep(rng.uniform(0, OPENING_S))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def has_open(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(link) == str(path):
                return True
        except OSError:  # closed meanwhile
            continue
    return False


Strike = Callable[[ServerProcess, Ledger, random.Random], Awaitable[None]]
"""Lets the writers write and leaves the server dead."""


async def play(db: Path, strike: Strike, count: int, rng: random.Random, tally: Tally) -> None:
    """So many times, strike a server, start it again, and insist that it has what the ledger says."""
    ledger = Ledger(rng)
    server = ServerProcess.start(db)
    try:
        for _ in range(count):
            async with asyncio.timeout(WITHIN_S):
                await strike(server, ledger, rng)
                server.start_again()
                async with RemoteStore(server.address) as store:
                    await ledger.settle(store)
            tally.rounds += 1
        server.stop()
    finally:
        server.kill()


@pytest.mark.long
async def test_killed_at_work(tmp_path: Path) -> None:
    """After kill -9 under load, acknowledged operations are there once and in order, and repeats change nothing."""
    seed = new_seed()
    rng = random.Random(seed)
    with tallied("kill under load", seed) as tally:
        for number in range(rounds(1, 40)):
            await play(tmp_path / f"{number}.db", killed_at_work, ROUNDS_A_DATABASE, rng, tally)


async def test_killed_while_it_recovers(tmp_path: Path) -> None:
    """A server that is killed again while it recovers from a kill loses nothing either."""

    async def strike(server: ServerProcess, ledger: Ledger, rng: random.Random) -> None:
        await killed_at_work(server, ledger, rng)
        await killed_while_it_opens(server.db, rng)

    seed = new_seed()
    with tallied("kill under load, and again during recovery", seed) as tally:
        await play(tmp_path / "conversations.db", strike, rounds(3, 50), random.Random(seed), tally)


async def test_killed_in_shutdown(tmp_path: Path) -> None:
    """A server that is killed while it shuts down has acknowledged nothing that is lost."""
    seed = new_seed()
    with tallied("kill during the shutdown after SIGTERM", seed) as tally:
        await play(tmp_path / "conversations.db", killed_in_shutdown, rounds(3, 50), random.Random(seed), tally)


async def test_killed_during_a_backup(tmp_path: Path) -> None:
    """A server that is killed while it is backed up loses nothing, and a copy is sound or is not there."""
    seed = new_seed()
    with tallied("kill during a backup", seed) as tally:
        await play(tmp_path / "conversations.db", killed_during_a_backup, rounds(3, 50), random.Random(seed), tally)


OLD_SESSIONS = 200
OLD_ITEMS = [user("asked long ago"), assistant("answered long ago")]


def make_old_database(db: Path) -> None:
    """A database as the Agents SDK leaves it, which the server has to migrate."""
    schema = files("turntree_server.engine").joinpath("migrations", "0001_agents_sdk.sql").read_text()
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.executescript(schema)
        for session in range(OLD_SESSIONS):
            connection.execute("INSERT INTO agent_sessions (session_id) VALUES (?)", (f"old-{session}",))
            for position, item in enumerate(OLD_ITEMS, 1):
                (message,) = connection.execute(
                    "INSERT INTO agent_messages (session_id, message_data) VALUES (?, ?) RETURNING id",
                    (f"old-{session}", item.decode()),
                ).fetchone()
                connection.execute(
                    "INSERT INTO message_structure (session_id, message_id, message_type, sequence_number,"
                    " user_turn_number, branch_turn_number) VALUES (?, ?, ?, ?, 1, 1)",
                    (f"old-{session}", message, "user" if position == 1 else "assistant", position),
                )


async def test_killed_while_it_migrates(tmp_path: Path) -> None:
    """A server that is killed while it migrates an old database goes on with that when it is started again."""
    seed = new_seed()
    rng = random.Random(seed)
    with tallied("kill during a migration", seed) as tally:
        for number in range(rounds(3, 50)):
            db = tmp_path / f"{number}.db"
            make_old_database(db)
            await killed_while_it_opens(db, rng)
            await killed_while_it_opens(db, rng)
            await play(db, killed_at_work, 1, rng, tally)
            async with LocalStore(await SqliteEngine.open(db)) as store:
                for session in range(0, OLD_SESSIONS, 37):
                    assert await items_of(store, f"old-{session}") == OLD_ITEMS
