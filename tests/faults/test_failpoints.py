"""Each place in the server where it can die, fail or wait, one after another: what was acknowledged is there."""

from __future__ import annotations

import asyncio
import os
import random
import re
import select
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import turntree_server
from turntree import wire
from turntree.remote import RemoteStore
from turntree.v1 import session_pb2
from turntree_server.failpoints import NAMES, Action

from tests.faults.ledger import Ledger
from tests.faults.operations import SHARED
from tests.faults.report import Tally, tallied
from tests.faults.rounds import new_seed, rounds
from tests.support.reading import collected
from tests.support.server_process import ServerProcess, launch, log_of

WITHIN_S = 60
STARTS_WITHIN_S = 30
STOPS_WITHIN_S = 10
TIMEOUT_S = 2.0
"""How long a call waits for an answer that a failpoint may have swallowed."""
ANSWERS = 40
ONCE = ("open", "listen", "stop", "close", "migration", "unary", "stream")
"""Places that a server reaches a few times only; the others are hit at a random time."""


def test_each_place_is_in_the_code_once() -> None:
    """A place that is declared is in the code exactly once, behind the question whether failpoints are on."""
    found: Counter[str] = Counter()
    for path in Path(turntree_server.__file__).parent.rglob("*.py"):
        text = path.read_text()
        places = re.findall(r"if failpoints\.ON:\n +failpoints\.hit\(\"([a-z.]+)\"\)", text)
        assert len(places) == text.count("failpoints.hit("), path
        found.update(places)
    assert found == dict.fromkeys(NAMES, 1)


@pytest.mark.parametrize("setting", ["nowhere=kill", "open.begin", "open.begin=explode", "open.begin=kill@x"])
def test_a_setting_that_is_none(setting: str) -> None:
    """A setting that names no place or no action is refused with what it must be."""
    run = subprocess.run(
        [sys.executable, "-c", "import turntree_server.failpoints"],
        env={**os.environ, "TURNTREE_FAILPOINTS": setting},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert run.returncode == 1
    error = run.stderr.splitlines()[-1]
    assert f"TURNTREE_FAILPOINTS is '{setting}'" in error


async def struck(db: Path, setting: str, ledger: Ledger) -> None:
    """Run a server with failpoints, as far as it comes, under writers and readers, from its start to its end."""
    process = launch(db, environment={"TURNTREE_FAILPOINTS": setting})
    assert process.stdout is not None
    try:
        announced, _, _ = await asyncio.to_thread(select.select, [process.stdout], [], [], STARTS_WITHIN_S)
        line = process.stdout.readline() if announced else ""
        if line:
            await used(process, line.split()[4], ledger)
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, STOPS_WITHIN_S)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def used(process: subprocess.Popen[str], address: str, ledger: Ledger) -> None:
    """Make calls of every kind until there are enough answers, or the server is dead."""
    dead = asyncio.create_task(asyncio.to_thread(process.wait))
    async with RemoteStore(address, timeout_s=TIMEOUT_S) as store, ledger.writing(store) as more_answers:
        either: set[asyncio.Future[Any]] = {dead, more_answers(ANSWERS)}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=STOPS_WITHIN_S)
        if not dead.done():
            with suppress(Exception):  # whatever the failpoint made of it
                await store._connection().sessions.GetItems(
                    wire.request(session_pb2.GetItemsRequest, session_id=SHARED), timeout=TIMEOUT_S
                )
            with suppress(Exception):
                await asyncio.wait_for(collected(store.stream_items(SHARED)), TIMEOUT_S)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        await dead


async def play(folder: Path, settings: dict[str, str], tally: Tally, rng: random.Random) -> None:
    """Run a server with failpoints on a new database, then one without, and insist that the ledger holds."""
    db = folder / f"{tally.rounds}.db"
    ledger = Ledger(rng)
    setting = ",".join(f"{name}={what}" for name, what in settings.items())
    async with asyncio.timeout(WITHIN_S):
        await struck(db, setting, ledger)
        log = log_of(db).read_text()
        for name in settings:
            assert f"failpoint {name}: " in log, f"{name} was not reached: {log}"
        server = ServerProcess.start(db)
        try:
            async with RemoteStore(server.address) as store:
                await ledger.settle(store)
            server.stop()
        finally:
            server.kill()
    tally.rounds += 1


def at(name: str, rng: random.Random) -> str:
    """When a place is to be hit: the first time, or some time while the writers write."""
    return "" if name.startswith(ONCE) else f"@{rng.randint(1, ANSWERS // 8)}"


@pytest.mark.long
@pytest.mark.parametrize("action", [Action.KILL, Action.RAISE])
async def test_each_place(action: Action, tmp_path: Path) -> None:
    """A server that dies, or fails unexpectedly, at any place has what it acknowledged, and nothing twice or torn."""
    seed = new_seed()
    rng = random.Random(seed)
    with tallied(f"failpoints: {action} at each of {len(NAMES)} places", seed) as tally:
        for _ in range(rounds(1, 5)):
            for name in NAMES:
                print(name)
                await play(tmp_path, {name: f"{action}{at(name, rng)}"}, tally, rng)


async def test_delays(tmp_path: Path) -> None:
    """A server that is slow at every place keeps its promises."""
    seed = new_seed()
    rng = random.Random(seed)
    with tallied(f"failpoints: a delay at all of {len(NAMES)} places", seed) as tally:
        for _ in range(rounds(1, 5)):
            await play(tmp_path, {name: f"{Action.DELAY}{at(name, rng)}" for name in NAMES}, tally, rng)
