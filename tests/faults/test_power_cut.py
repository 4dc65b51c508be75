"""The power goes in mid-run: the disk as it was in that moment has every acknowledged operation."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from turntree.remote import RemoteStore

from tests.faults.ledger import Broken, Ledger
from tests.faults.loop_disk import copy_as_it_is, discard, make_disk, mounted, require_disks
from tests.faults.report import tallied
from tests.faults.rounds import new_seed, rounds
from tests.support.server_process import ServerProcess

WITHIN_S = 60
ANSWERS_MAX = 400
ROUNDS_A_DISK = 10
SERVE = (Path(sys.executable).with_name("turntree"),)
SERVE_AT_NORMAL = (sys.executable, "-m", "benchmarks.normal_server")


async def cut(image: Path, at: Path, command: Sequence[str | Path], ledger: Ledger, rng: random.Random) -> Path:
    """Let writers write to a server on a disk, cut the power, and return the disk as it was then."""
    copy = image.with_name(f"{image.stem}+.img")
    with mounted(image, at):
        server = ServerProcess.start(at / "conversations.db", command=command)
        try:
            async with RemoteStore(server.address) as store, ledger.writing(store) as more_answers:
                await more_answers(rng.randint(1, ANSWERS_MAX))
                await asyncio.sleep(rng.uniform(0, 0.01))
                # Whoever stands still acknowledges nothing more: what the ledger has is from before the copy.
                server.process.send_signal(signal.SIGSTOP)
                await asyncio.to_thread(copy_as_it_is, image, copy)
                server.process.kill()
                await asyncio.to_thread(server.process.wait)
        finally:
            server.kill()
    discard(image)
    return copy


async def assert_kept(image: Path, at: Path, ledger: Ledger) -> None:
    """Turn the disk on, serve it, and insist that it has what the ledger says."""
    with mounted(image, at):
        server = ServerProcess.start(at / "conversations.db")
        try:
            async with RemoteStore(server.address) as store:
                await ledger.settle(store)
            server.stop()
        finally:
            server.kill()


@pytest.mark.long
async def test_power_cut(tmp_path: Path) -> None:
    """After a loss of power acknowledged operations are there once and in order, and repeats change nothing."""
    require_disks(tmp_path)
    seed = new_seed()
    rng = random.Random(seed)
    with tallied("power cut", seed) as tally:
        for _ in range(rounds(1, 20)):
            ledger = Ledger(rng)
            image = tmp_path / "disk.img"
            make_disk(image)
            for _ in range(ROUNDS_A_DISK):
                async with asyncio.timeout(WITHIN_S):
                    image = await cut(image, tmp_path / "mounted", SERVE, ledger, rng)
                    await assert_kept(image, tmp_path / "mounted", ledger)
                tally.rounds += 1
            discard(image)


async def test_power_cut_with_a_server_that_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """At `synchronous=NORMAL` acknowledged operations are lost: the test above can fail, and would."""
    require_disks(tmp_path)
    seed = new_seed()
    rng = random.Random(seed)
    with tallied("control: power cut at synchronous=NORMAL, where operations must be lost", seed) as tally:
        for _ in range(rounds(1, 20)):
            ledger = Ledger(rng)
            image = tmp_path / "disk.img"
            make_disk(image)
            async with asyncio.timeout(WITHIN_S):
                image = await cut(image, tmp_path / "mounted", SERVE_AT_NORMAL, ledger, rng)
                try:
                    await assert_kept(image, tmp_path / "mounted", ledger)
                except Broken:
                    pass
                else:
                    raise AssertionError("nothing was lost")
            tally.rounds += 1
            discard(image)
