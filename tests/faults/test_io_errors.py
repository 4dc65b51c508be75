"""The disk fails or is full: writes stop with a clear status, and nothing that was acknowledged is lost."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import grpc
import pytest
from turntree.errors import ErrorReason
from turntree_server.exit_codes import ExitCode

from tests.faults.failing_disk import FailingServer, Ledger, require_strace
from tests.faults.report import tallied
from tests.faults.rounds import TORTURE
from tests.support.rpc import Refusal

WRITES = "pwrite64,write,ftruncate"
SYNCS = "fsync,fdatasync"
FAILED = Refusal(grpc.StatusCode.UNAVAILABLE, ErrorReason.STORE_FAILED)
FULL = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, ErrorReason.STORE_FULL)
SAMPLE = {WRITES: (1, 3, 30, 120, 200, 300), SYNCS: (1, 2, 4, 6, 9, 12, 15)}


async def fail_once(folder: Path, calls: str, number: int) -> int:
    """Let one call fail while writers write, and hold the outcome against the promise; returns how many did fail."""
    ledger = Ledger()
    server = FailingServer.start(folder / f"{number}.db", f"{calls}:error=EIO:when={number}")
    if server.address is not None:
        await ledger.write(server.address, ["a", "b", "c"], 5)
    has_stopped = bool(ledger.refused)
    code, said = server.end(by_itself=has_stopped)
    assert "Traceback" not in said
    where = f"{calls} {number}: {ledger.refused} {said}"
    if server.address is None:
        assert code in (ExitCode.FAILED, ExitCode.DISK_FAILED), where
        assert said.splitlines()[-1].startswith("turntree: cannot open"), where
    elif has_stopped:
        assert code == ExitCode.DISK_FAILED, where
        assert said.splitlines()[-1].startswith("turntree: "), where
    else:
        assert code in (ExitCode.OK, ExitCode.DISK_FAILED), where
    for refusal in ledger.refused:  # gRPC itself cancels a call that comes while the server leaves
        assert refusal.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), where
    if has_stopped:
        assert FAILED in ledger.refused, where
    await ledger.assert_kept(server.db)
    return server.injected()


@pytest.mark.parametrize("calls", [WRITES, SYNCS])
async def test_an_io_error(calls: str, tmp_path: Path) -> None:
    """At whatever call the disk fails, writes stop, the server leaves, and a restart has all that was acknowledged."""
    require_strace()
    injected = []
    with tallied(f"a disk that fails once, at {calls.replace(',', ', ')}", 0) as tally:
        for number in count(1) if TORTURE else SAMPLE[calls]:
            injected += [await fail_once(tmp_path, calls, number)]
            tally.rounds += 1
            if TORTURE and not injected[-1]:  # the workload passed untouched
                break
    assert sum(injected) >= len(injected) // 2


async def be_full_once(folder: Path, first: int) -> tuple[int, int]:
    """Let six writes in a row find no room, and hold the outcome against the promise.

    Returns:
        How many did, and how many calls were refused.
    """
    ledger = Ledger()
    fault = f"pwrite64,write:error=ENOSPC:when={first}..{first + 5}"
    server = FailingServer.start(folder / f"{first}.db", fault)
    if server.address is not None:
        await ledger.write(server.address, ["a", "b", "c"], 5, attempts=10)
    code, said = server.end(by_itself=False)
    where = f"{first}: {ledger.refused} {said}"
    assert "Traceback" not in said, where
    if server.address is None:
        assert code in (ExitCode.FAILED, ExitCode.DISK_FAILED), where
        assert said.splitlines()[-1].startswith(f"turntree: cannot open {server.db}"), where
    else:
        assert code == ExitCode.OK, where
        assert ledger.refused == [FULL] * len(ledger.refused), where
        assert ledger.answered.keys() == set(ledger.made), where
    await ledger.assert_kept(server.db)
    return server.injected(), len(ledger.refused)


async def test_a_full_disk(tmp_path: Path) -> None:
    """A full disk refuses writes with STORE_FULL and without effect; with space again they go on, without a restart."""
    require_strace()
    refused = 0
    with tallied("a disk that is full for six writes", 0) as tally:
        for first in count(1) if TORTURE else (1, 150, 151, 152):
            injected, refusals = await be_full_once(tmp_path, first)
            refused += refusals
            tally.rounds += 1
            if TORTURE and not injected:  # the workload passed untouched
                break
    assert refused >= tally.rounds // 2
