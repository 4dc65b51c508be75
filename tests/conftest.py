"""What all tests share: the stores that the contract suite runs on, and an order for several processes.

Every test runs in an event loop of its own. A store is opened by an entry of `STORES`, so that another one is one more
entry; `DURABLE` names those that can be closed and opened again with all they held.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import Context
from functools import partial
from pathlib import Path
from typing import Any, TypeVarTuple

import pytest
from turntree.remote import RemoteStore
from turntree.store import Store
from turntree_server.app import Server
from turntree_server.engine.sqlite import IN_MEMORY, SqliteEngine
from turntree_server.local_store import Clock, LocalStore
from turntree_server.settings import Settings

from tests.support.clock import StillClock

Arguments = TypeVarTuple("Arguments")
OpenStore = Callable[[], AbstractAsyncContextManager[Store]]
Factory = Callable[[Path, Clock], AbstractAsyncContextManager[Store]]
LocalFactory = Callable[[Path, Clock], AbstractAsyncContextManager[LocalStore]]


@asynccontextmanager
async def in_memory(_: Path, clock: Clock) -> AsyncIterator[LocalStore]:
    """A database that lives as long as the store."""
    async with LocalStore(await SqliteEngine.open(IN_MEMORY), clock=clock) as store:
        yield store


@asynccontextmanager
async def in_file(folder: Path, clock: Clock) -> AsyncIterator[LocalStore]:
    """The database file of a folder."""
    async with LocalStore(await SqliteEngine.open(folder / "conversations.db"), clock=clock) as store:
        yield store


def served(local: LocalFactory) -> Factory:
    """The same store behind a real server."""

    @asynccontextmanager
    async def behind_a_server(folder: Path, clock: Clock) -> AsyncIterator[RemoteStore]:
        async with local(folder, clock) as store:
            server = Server(Settings(port=0, grace_s=5), store)
            await server._listen()
            try:
                async with RemoteStore(server.address) as remote:
                    yield remote
            finally:
                await server.stop()

    return behind_a_server


LOCAL: dict[str, LocalFactory] = {"memory": in_memory, "file": in_file}
STORES: dict[str, Factory] = {
    "memory": in_memory,
    "file": in_file,
    "memory-served": served(in_memory),
    "file-served": served(in_file),
}
DURABLE = ("file", "file-served")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long tests first, so that several processes that share the tests have work to the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_xdist_auto_num_workers() -> int:
    """How many processes share the tests: one more than there are cores, for the long ones wait most of their time."""
    return (os.cpu_count() or 1) + 1


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that may be told of something when it is closed.

    A server in the test's own process is stopped before gRPC has told its loop of the end of every call, and gRPC would
    have the loop of the next test raise an error.
    """

    def call_soon_threadsafe(
        self, callback: Callable[[*Arguments], object], *arguments: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        if self.is_closed():
            return asyncio.Handle(callback, arguments, self)
        return super().call_soon_threadsafe(callback, *arguments, context=context)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop that tests run in."""
    return "asyncio", {"loop_factory": _Loop}


@pytest.fixture
def clock() -> StillClock:
    """The clock of every store of the test."""
    return StillClock()


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock) -> AsyncIterator[Store]:
    """An empty store, of every kind."""
    async with STORES[request.param](tmp_path, clock) as opened:
        yield opened


@pytest.fixture(params=LOCAL)
async def local_store(request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock) -> AsyncIterator[LocalStore]:
    """An empty store beside its database, for what only such a store can do."""
    async with LOCAL[request.param](tmp_path, clock) as opened:
        yield opened


@pytest.fixture(params=DURABLE)
def open_store(request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock) -> OpenStore:
    """Opens one and the same database, again and again, also several times at once."""
    return partial(STORES[request.param], tmp_path, clock)
