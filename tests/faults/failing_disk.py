"""A server whose disk fails at a chosen call, by way of `strace`, and the calls that it is given meanwhile."""

from __future__ import annotations

import asyncio
import select
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from turntree.remote import RemoteStore
from turntree.v1.session_pb2 import AddItemsRequest, AddItemsResponse
from turntree.v1.session_pb2_grpc import SessionServiceStub
from turntree_server.engine.verify import verify

from tests.support.reading import items_of
from tests.support.rpc import Refusal, read_refusal
from tests.support.server_process import COMMAND, ServerProcess
from tests.support.tools import require_tool
from tests.support.writers import batch

WITHIN_S = 60


def require_strace() -> None:
    """Go no further without the program that makes a disk fail."""
    require_tool("strace")


@dataclass(slots=True)
class FailingServer:
    """A server process under `strace`; it has no address if it refused to start."""

    db: Path
    process: subprocess.Popen[str]
    address: str | None

    @classmethod
    def start(
        cls, db: Path, fault: str, *, options: Sequence[str] = (), files: Sequence[Path] | None = None
    ) -> FailingServer:
        """Start a server on whose files a fault is injected, on database and log by default.

        Args:
            db: The database; the options may name a folder of databases, of which it is one.
            fault: `CALLS:error=NAME:when=N`.
            options: More options of the server.
            files: The files.
        """
        calls = fault.partition(":")[0]
        served = () if "--data-dir" in options else ("--db", db)
        process = subprocess.Popen(
            [
                *("strace", "-D", "-f", "--seccomp-bpf", "-qqq", "-o", db.with_suffix(".trace")),
                *(word for file in files or (db, Path(f"{db}-wal")) for word in ("-P", file)),
                *("-e", f"trace={calls}", "-e", f"inject={fault}"),
                *(COMMAND, "serve", *served, "--listen", "127.0.0.1:0", "--grace", "5", *options),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        announced, _, _ = select.select([process.stdout], [], [], WITHIN_S)
        assert announced
        words = process.stdout.readline().split()
        return cls(db, process, words[4] if words else None)

    def end(self, *, by_itself: bool) -> tuple[int, str]:
        """Wait for its end, asking for it if it is not to come by itself; returns the exit code and its stderr."""
        try:
            if not by_itself and self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            _, said = self.process.communicate(timeout=WITHIN_S)
        finally:
            self.kill()
        return self.process.returncode, said

    def kill(self) -> None:
        """End it, unless it has ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def injected(self) -> int:
        """How many calls were made to fail."""
        return self.db.with_suffix(".trace").read_text().count("(INJECTED)")


@dataclass(slots=True)
class Ledger:
    """The calls that were made, the answers, and the refusals."""

    made: list[str] = field(default_factory=list)
    answered: dict[str, AddItemsResponse] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)

    async def write(
        self, address: str, names: Sequence[str], count: int, *, attempts: int = 1, token: str | None = None
    ) -> None:
        """Make calls from several writers at once. A writer stops when it got no answer to all attempts at a call."""
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        async with grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
            add = partial(SessionServiceStub(channel).AddItems, timeout=WITHIN_S, metadata=metadata)
            await asyncio.gather(*(self._write(add, name, count, attempts) for name in names))

    async def _write(self, add: Callable[..., Any], name: str, count: int, attempts: int) -> None:
        for number in range(count):
            tag = f"call-{name}-{number}"
            self.made.append(tag)
            for _ in range(attempts):
                try:
                    self.answered[tag] = await add(_request(tag))
                    break
                except grpc.aio.AioRpcError as error:
                    self.refused.append(read_refusal(error))
            else:
                return

    async def assert_kept(self, db: Path) -> None:
        """On a sound disk answered calls are there, all others 0 or 1 times, and repeats change nothing."""
        server = ServerProcess.start(db)
        try:
            async with asyncio.timeout(WITHIN_S), RemoteStore(server.address) as store:
                counts = Counter(_tag_of(item) for item in await items_of(store, "s"))
                assert self.answered.keys() <= counts.keys() <= set(self.made)
                assert set(counts.values()) <= {3}, counts
                async with grpc.aio.insecure_channel(server.address) as channel:
                    stub = SessionServiceStub(channel)
                    for tag in self.made:
                        answer = await stub.AddItems(_request(tag))
                        assert answer == self.answered.get(tag, answer), tag
                counts = Counter(_tag_of(item) for item in await items_of(store, "s"))
                assert counts == dict.fromkeys(self.made, 3)
            server.stop()
        finally:
            server.kill()
        verify(str(db))


def _request(tag: str) -> AddItemsRequest:
    return AddItemsRequest(session_id="s", items=batch(tag), request_id=tag)


def _tag_of(item: bytes) -> str:
    return next(word for word in item.decode().split('"') if word.startswith("call-")).split()[0]
