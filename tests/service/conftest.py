"""What the tests of the server and its commands share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.database import fill
from tests.support.server_process import ServerProcess


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server in a process of its own, on a new database."""
    process = ServerProcess.start(tmp_path / "conversations.db")
    yield process
    process.kill()


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database that nobody has open, with a little of everything."""
    path = tmp_path / "conversations.db"
    asyncio.run(fill(path))
    return path
