"""Who is compared: turntree, the SDK's own sessions, and the bare wire under them all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import redis.asyncio
from agents.extensions.memory import AdvancedSQLiteSession, RedisSession, SQLAlchemySession
from agents.memory import SQLiteSession
from sqlalchemy.ext.asyncio import create_async_engine
from turntree.openai_agents import TurntreeSession

from benchmarks import databases
from benchmarks.echo import EchoClient
from benchmarks.items import Item, payload
from benchmarks.processes import python_server, turntree_server

T = TypeVar("T")

REMOTE = "turntree remote"
EMBEDDED = "turntree embedded"
SQLITE = "SQLiteSession"
ADVANCED = "AdvancedSQLiteSession"
REDIS = "RedisSession"
SQLALCHEMY = "SQLAlchemySession"
ECHO = "echo, unary"
ECHO_STREAM = "echo, open stream"
CONTESTANTS = (REMOTE, EMBEDDED, SQLITE, ADVANCED, REDIS, SQLALCHEMY)

_POOL_SIZE = 16
_SMALL_MESSAGE_BYTES = 100
_ITEMS_A_FILL = 1_000
_READS_AT_ONCE = 2 * min(32, (os.cpu_count() or 1) + 4)  # twice the threads that asyncio.to_thread has


class Session(Protocol):
    """What every session of the SDK can do, as far as it is measured here."""

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """All items."""

    async def add_items(self, items: list[Any]) -> None:
        """Append items."""


SessionFactory = Callable[[str, str], Session]


@dataclass(frozen=True, slots=True)
class Bench:
    """All that runs during a run.

    Attributes:
        full: Whether this is the long run.
        folder: Where databases are; on a real disk.
        sessions: How to open a session, by contestant, and by floor under them.
        echo: A client of the echo server.
        echo_address: The echo server.
        server_address: The main turntree server.
        server_pid: Its process.
        open_sessions: Those to be closed.
    """

    full: bool
    folder: Path
    sessions: dict[str, SessionFactory]
    echo: EchoClient
    echo_address: str
    server_address: str
    server_pid: int
    open_sessions: list[Session] = field(default_factory=list)

    def either(self, quick: T, full: T) -> T:
        """What this mode uses."""
        return full if self.full else quick

    def open(self, names: Sequence[str], session_id: str, file: str) -> dict[str, Session]:
        """The same session with each of these contestants; the SDK's SQLite sessions keep it in the file named.

        They slow down with what else their file holds, and turntree does not: it has all sessions in one file.
        """
        sessions = {name: self.sessions[name](session_id, file) for name in names}
        self.open_sessions.extend(sessions.values())
        return sessions

    async def close_sessions(self) -> None:
        """Close the sessions opened so far: the connections of many idle ones slow the SDK's down."""
        for session in self.open_sessions:
            closed = session.close() if isinstance(session, SQLiteSession | TurntreeSession) else None
            if closed is not None:
                await closed
        self.open_sessions.clear()


@asynccontextmanager
async def opened(folder: Path, full: bool) -> AsyncIterator[Bench]:
    """Start every server and give a way to open sessions on them; all ends with the context."""
    with ExitStack() as servers:
        server_pid, address = servers.enter_context(turntree_server(folder / "served.db"))
        _, echo_address = servers.enter_context(python_server(["-m", "benchmarks.echo"], folder / "echo"))
        redis_url = servers.enter_context(databases.redis(folder / "redis"))
        postgres_url = servers.enter_context(databases.postgres(folder / "postgres"))
        async with AsyncExitStack() as clients:
            echo = EchoClient(echo_address)
            clients.push_async_callback(echo.close)
            redis_client = redis.asyncio.from_url(redis_url)
            clients.push_async_callback(redis_client.aclose)
            engine = create_async_engine(postgres_url, pool_size=_POOL_SIZE, max_overflow=0)
            clients.push_async_callback(engine.dispose)

            def advanced(session_id: str, file: str) -> Session:
                path = folder / f"advanced-{file}.db"
                return AdvancedSQLiteSession(session_id=session_id, db_path=path, create_tables=True)

            sessions: dict[str, SessionFactory] = {
                REMOTE: lambda session_id, _: TurntreeSession(session_id, url=address),
                EMBEDDED: lambda session_id, _: TurntreeSession(session_id, url=f"sqlite:///{folder}/embedded.db"),
                SQLITE: lambda session_id, file: SQLiteSession(session_id, folder / f"sqlite-{file}.db"),
                ADVANCED: advanced,
                REDIS: lambda session_id, _: RedisSession(session_id, redis_client=redis_client),
                SQLALCHEMY: lambda session_id, _: SQLAlchemySession(session_id, engine=engine, create_tables=True),
                ECHO: lambda *_: EchoSession(echo.unary),
                ECHO_STREAM: lambda *_: EchoSession(echo.on_stream),
            }
            bench = Bench(full, folder, sessions, echo, echo_address, address, server_pid)
            clients.push_async_callback(bench.close_sessions)
            yield bench


class EchoSession:
    """The floor under a turn: a small message asks, the last items come back, new ones go, a small message comes."""

    def __init__(self, send: Callable[[bytes, int], Any]) -> None:
        self._send = send
        self._last_items_bytes = 0

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """Receive as many bytes as were added last."""
        await self._send(b" " * _SMALL_MESSAGE_BYTES, self._last_items_bytes)
        return []

    async def add_items(self, items: list[Any]) -> None:
        """Send the items' bytes."""
        body = b"".join(payload(item) for item in items)
        self._last_items_bytes = len(body)
        await self._send(body, _SMALL_MESSAGE_BYTES)


async def fill(sessions: dict[str, Session], items: list[Item]) -> None:
    """Write a history to the same session of each contestant, and let several threads read it.

    The SDK's SQLite sessions open a connection for each thread they happen to run on. That is done here, so that it is
    not measured.
    """
    for name, session in sessions.items():
        if name in (ECHO, ECHO_STREAM):
            continue
        for start in range(0, len(items), _ITEMS_A_FILL):
            await session.add_items(items[start : start + _ITEMS_A_FILL])
        await asyncio.gather(*(session.get_items(1) for _ in range(_READS_AT_ONCE)))
