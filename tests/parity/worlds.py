"""Where the implementations are compared: a file of each, and turntree embedded or behind a server."""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.extensions.memory import AdvancedSQLiteSession
from turntree.openai_agents import TurntreeSession

from tests.parity.pairs import BranchNames, Pair
from tests.support.server_process import ServerProcess

_QUIET = logging.Logger("what both log is not compared", logging.CRITICAL)

_MEMORY = Path("/dev/shm")
"""Memory as a folder, where there is one: what a disk does is not compared here."""


@dataclass
class World:
    """A file that each implementation keeps for itself, and the URLs at which turntree has both files open."""

    sdk_path: Path
    turntree_path: Path
    sdk_url: str
    turntree_url: str
    seen: Counter[str] = field(default_factory=Counter)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def next_session_id(self) -> str:
        """A session id that was never used."""
        return f"100%_ü's {next(self._numbers)}"

    async def pair(self, session_id: str, names: BranchNames, settings: dict[str, Any] | None = None) -> Pair:
        """Open a session of both, each on its own file. turntree's learns its generation as the SDK's does at once."""
        sdk = AdvancedSQLiteSession(
            session_id=session_id,
            db_path=self.sdk_path,
            create_tables=True,
            session_settings=settings,
            logger=_QUIET,
        )
        turntree = TurntreeSession(session_id, url=self.turntree_url, session_settings=settings, logger=_QUIET)
        await turntree.get_items(0)
        return Pair(sdk, turntree, names, self.seen)

    async def crossed(self, session_id: str, names: BranchNames) -> Pair:
        """Open a session of both, each on the other's file, where the names of branches are the other's."""
        sdk = AdvancedSQLiteSession(
            session_id=session_id,
            db_path=self.turntree_path,
            create_tables=next(self._numbers) % 2 == 0,
            logger=_QUIET,
        )
        turntree = TurntreeSession(session_id, url=self.sdk_url, logger=_QUIET)
        return Pair(sdk, turntree, names.swapped(), self.seen)


@asynccontextmanager
async def embedded() -> AsyncIterator[World]:
    """Turntree in this process.

    A file must not be open in both implementations at once then: they bring two SQLite libraries, and the locks of
    one do not hold against the other within a process (https://sqlite.org/howtocorrupt.html#_multiple_copies).
    """
    with _folder() as folder:
        sdk_path, turntree_path = _paths(folder)
        yield World(sdk_path, turntree_path, f"sqlite:///{sdk_path}", f"sqlite:///{turntree_path}")


@asynccontextmanager
async def served() -> AsyncIterator[World]:
    """Turntree behind a server process for each file, which has it open all the time."""
    with _folder() as folder, ExitStack() as servers:
        paths = _paths(folder)
        sdk_url, turntree_url = [
            servers.enter_context(stopped_at_the_end(ServerProcess.start(path))).address for path in paths
        ]
        yield World(*paths, sdk_url, turntree_url)


@contextmanager
def stopped_at_the_end(server: ServerProcess) -> Iterator[ServerProcess]:
    """End a server in good order, or at once when a test failed."""
    try:
        yield server
    except BaseException:
        server.kill()
        raise
    server.stop()


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="turntree-parity-", dir=_MEMORY if _MEMORY.is_dir() else None)


def _paths(folder: str) -> tuple[Path, Path]:
    """The SDK's file, made by the SDK, and the place of turntree's."""
    sdk_path = Path(folder, "sdk.db")
    AdvancedSQLiteSession(session_id="first", db_path=sdk_path, create_tables=True).close()
    return sdk_path, Path(folder, "turntree.db")
