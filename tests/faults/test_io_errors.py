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
STEP = {WRITES: 7, SYNCS: 1}


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
        for number in count(1, STEP[calls]) if TORTURE else SAMPLE[calls]:
            injected += [await fail_once(tmp_path, calls, number)]
            tally.rounds += 1
            if TORTURE and not injected[-1]:  # the workload passed untouched
                break
    assert sum(injected) >= len(injected) // 2


@pytest.mark.parametrize("first", [150, 151, 152])
async def test_a_full_disk(first: int, tmp_path: Path) -> None:
    """A full disk refuses writes with STORE_FULL and without effect; with space again they go on, without a restart."""
    require_strace()
    ledger = Ledger()
    fault = f"pwrite64,write:error=ENOSPC:when={first}..{first + 5}"
    server = FailingServer.start(tmp_path / "conversations.db", fault)
    assert server.address is not None
    await ledger.write(server.address, ["a", "b", "c"], 5, attempts=10)
    code, said = server.end(by_itself=False)
    assert (code, "Traceback" in said) == (ExitCode.OK, False), said
    assert ledger.refused == [FULL] * len(ledger.refused) != []
    assert ledger.answered.keys() == set(ledger.made)
    assert server.injected() == 6
    await ledger.assert_kept(server.db)
