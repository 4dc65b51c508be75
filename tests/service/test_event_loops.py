"""A store outlives the event loops it is used on, and leaves nothing behind in them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from turntree.errors import Unavailable
from turntree.remote import RemoteStore

from tests.support.items import turns, user
from tests.support.server_process import serving

WITHIN_S = 30
LOOPS = 60
LEFT_LOOPS = 16
NICE = 19


def test_a_loop_that_closes_gets_no_late_events(tmp_path: Path) -> None:
    """A store used on one event loop after another, its streams left open or in mid-write, disturbs no later loop."""
    late: list[str] = []

    def note(_: asyncio.AbstractEventLoop, problem: dict[str, Any]) -> None:
        late.append(repr(problem.get("exception", problem["message"])))

    async def use(store: RemoteStore, number: int) -> None:
        asyncio.get_running_loop().set_exception_handler(note)
        await asyncio.gather(*(store.get_items(f"session {reader}") for reader in range(1 + number % 3)))
        if number % 3 == 2:
            cut = asyncio.create_task(store.add_items("cut", [user("x" * 3_000_000)]))
            await asyncio.sleep(0)
            assert not cut.done()

    with serving(tmp_path) as server:
        kept = RemoteStore(server.address)
        for number in range(LOOPS):
            asyncio.run(use(kept if number % 2 else RemoteStore(server.address), number))
    assert late == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_streams_that_are_left_before_a_loop_closes(tmp_path: Path) -> None:
    """A stream that was left when its event loop closes disturbs no later loop, however late gRPC's threads are."""
    late: list[str] = []

    async def leave(address: str) -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, problem: late.append(repr(problem.get("exception", problem["message"])))
        )
        async with RemoteStore(address) as store:
            let_grpc_come_last()
            async for _ in store.stream_turns("s"):
                break

    async def connect_only(address: str) -> RemoteStore:
        store = RemoteStore(address)
        await store.get_items("s")
        return store

    with serving(tmp_path) as server, busy_cores():
        asyncio.run(_fill(server.address))
        # While this loop has a connection gRPC goes on, and tells one loop what came too late for another.
        kept = asyncio.new_event_loop()
        store = kept.run_until_complete(connect_only(server.address))
        for _ in range(LEFT_LOOPS):
            asyncio.run(leave(server.address))
        kept.run_until_complete(store.close())
        kept.close()
    assert late == []


async def test_all_that_was_sent_is_over_before_a_client_is_closed(tmp_path: Path) -> None:
    """A client is not closed before gRPC has told it of what it sent last, also when that comes after the stream's end.

    gRPC tells of the two on threads of its own, in either order.
    """
    is_told: list[bool] = []

    class ToldLate:
        """A stream whose end is told before that its last message was sent."""

        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        async def done_writing(self) -> None:
            is_told.append(False)
            await self._stream.done_writing()
            await self._stream.code()
            await asyncio.sleep(0.05)
            is_told.append(True)

    with serving(tmp_path) as server:
        async with RemoteStore(server.address) as store:
            stub = store._connection().pipeline._stub
            begin = stub.Pipeline
            stub.Pipeline = lambda **named: ToldLate(begin(**named))  # type: ignore[assignment]
            await store.get_items("s")
    assert is_told == [False, True]


async def test_a_client_whose_last_message_is_never_sent_is_closed(tmp_path: Path) -> None:
    """A client is closed also when its connection was cut and gRPC never tells what became of what it sent."""
    is_writing = asyncio.Event()

    class NeverTold:
        """A stream of whose messages nothing is heard."""

        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        async def write(self, _: object) -> None:
            is_writing.set()
            await asyncio.Event().wait()

    with serving(tmp_path) as server:
        store = RemoteStore(server.address)
        stub = store._connection().pipeline._stub
        begin = stub.Pipeline
        stub.Pipeline = lambda **named: NeverTold(begin(**named))  # type: ignore[assignment]
        reading = asyncio.create_task(store.get_items("s"))
        await is_writing.wait()
        await store._connection().channel.close()
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(reading, return_exceptions=True)
            await store.close()
    assert isinstance(reading.exception(), Unavailable)


def let_grpc_come_last() -> None:
    """Let every thread but this one have less of the cores than any other."""
    for thread in map(int, os.listdir("/proc/self/task")):
        if thread != threading.get_native_id():
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, thread, NICE)


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    """Something else to do for every core."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


LEFT = """
import asyncio, sys
import turntree.remote

store = turntree.remote.RemoteStore(sys.argv[1])

async def main():
    async for part in getattr(store, sys.argv[2])("s"):
        break

asyncio.run(main())
"""


@pytest.mark.parametrize("stream", ["stream_items", "stream_turns", "stream_turn_deltas", "watch"])
def test_a_stream_that_is_left_ends_in_silence(stream: str, tmp_path: Path) -> None:
    """A program that leaves a stream in the middle, as its last act, ends without a word on stderr."""
    with serving(tmp_path) as server:
        asyncio.run(_fill(server.address))
        ran = subprocess.run(
            [sys.executable, "-c", LEFT, server.address, stream],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert ran.stderr == ""


async def _fill(address: str) -> None:
    async with RemoteStore(address) as store:
        await store.add_items("s", turns(3))
