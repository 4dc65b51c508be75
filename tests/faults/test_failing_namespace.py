"""Many namespaces, and the disk of one fails or is full: what becomes of that one, and of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from turntree_server.access.caller import Role
from turntree_server.exit_codes import ExitCode

from tests.faults.failing_disk import FailingServer, Ledger, require_strace
from tests.faults.test_io_errors import FAILED, FULL, SYNCS, WRITES
from tests.support.credentials import new_key

WITHIN_S = 60
SICK, WELL = "sick", "well"
LEAVING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
"""What a call may end with while its server leaves; gRPC itself cancels one that comes then."""


@dataclass(slots=True)
class Tenants:
    """A server of two namespaces, on the database of one of which a fault is injected, and a ledger for each."""

    folder: Path
    server: FailingServer
    tokens: Mapping[str, str]
    ledgers: Mapping[str, Ledger] = field(default_factory=lambda: {SICK: Ledger(), WELL: Ledger()})

    async def write(self, name: str, count: int, *, attempts: int = 1) -> None:
        """Let three writers of a namespace write, each until a call was refused."""
        assert self.server.address is not None
        ledger = self.ledgers[name]
        writers = [f"{letter}{len(ledger.made)}" for letter in "abc"]
        await ledger.write(self.server.address, writers, count, attempts=attempts, token=self.tokens[name])

    async def assert_kept(self) -> None:
        """Each namespace has what it acknowledged, and a repeat changes nothing."""
        for name, ledger in self.ledgers.items():
            await ledger.assert_kept(self.folder / f"{name}.db")


@contextmanager
def serving(folder: Path, fault: str) -> Iterator[Tenants]:
    """Serve two namespaces."""
    require_strace()
    keys = folder / "keys.json"
    tokens = {name: new_key(keys, name, Role.WRITER, name) for name in (SICK, WELL)}
    options = ["--data-dir", str(folder), "--keys-file", str(keys)]
    server = FailingServer.start(folder / f"{SICK}.db", fault, options=options)
    try:
        yield Tenants(folder, server, tokens)
    finally:
        server.kill()


@pytest.mark.parametrize("fault", [f"{SYNCS}:error=EIO:when=15", f"{WRITES}:error=EIO:when=150"])
async def test_the_disk_of_one_namespace_fails(fault: str, tmp_path: Path) -> None:
    """When the disk of a namespace fails the server leaves as with one database; none loses what it acknowledged."""
    with serving(tmp_path, fault) as tenants:
        await asyncio.gather(tenants.write(SICK, 20), tenants.write(WELL, 20))
        code, said = tenants.server.end(by_itself=True)
    assert (code, tenants.server.injected()) == (ExitCode.DISK_FAILED, 1), said
    assert said.splitlines()[-1].startswith(f"turntree: the disk of {tmp_path} failed"), said
    assert "Traceback" not in said
    assert FAILED in tenants.ledgers[SICK].refused
    for ledger in tenants.ledgers.values():
        assert ledger.answered
        assert all(refusal.code in LEAVING for refusal in ledger.refused), ledger.refused
    await tenants.assert_kept()


async def test_the_disk_of_one_namespace_is_full(tmp_path: Path) -> None:
    """While the disk of a namespace is full only its writes are refused; the others go on, and then it does too."""
    with serving(tmp_path, "pwrite64,write:error=ENOSPC:when=150..155") as tenants:
        await asyncio.gather(tenants.write(SICK, 10, attempts=10), tenants.write(WELL, 10))
        code, said = tenants.server.end(by_itself=False)
    assert (code, tenants.server.injected()) == (ExitCode.OK, 6), said
    assert tenants.ledgers[SICK].refused == [FULL] * len(tenants.ledgers[SICK].refused) != []
    assert tenants.ledgers[WELL].refused == []
    for ledger in tenants.ledgers.values():
        assert ledger.answered.keys() == set(ledger.made)
    await tenants.assert_kept()


@pytest.mark.parametrize("fault", [f"{SYNCS}:error=EIO:when=1", f"{WRITES}:error=EIO:when=3"])
async def test_a_namespace_whose_disk_fails_as_it_is_opened(fault: str, tmp_path: Path) -> None:
    """Nothing in it was acknowledged by this server: it is refused, and the others go on, without a restart."""
    with serving(tmp_path, fault) as tenants:  # strace counts by thread, and each attempt to open has one of its own
        async with asyncio.timeout(WITHIN_S):
            while tenants.server.injected() < 2:  # after a failed attempt there is none for a while
                await tenants.write(SICK, 1)
                await tenants.write(WELL, 2)
        code, said = tenants.server.end(by_itself=False)
    assert (code, tenants.server.injected()) == (ExitCode.OK, 2), said
    assert all(refusal == FAILED for refusal in tenants.ledgers[SICK].refused)
    assert not tenants.ledgers[SICK].answered
    assert tenants.ledgers[WELL].refused == []
    assert "Traceback" not in said
    await tenants.assert_kept()
