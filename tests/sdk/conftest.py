"""A server in another process, and sessions on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import agents
import pytest
from turntree.openai_agents import TurntreeSession

from tests.support.server_process import ServerProcess, serving

agents.set_tracing_disabled(True)

OpenSession = Callable[..., TurntreeSession]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The server that tests share; each has sessions of its own on it."""
    with serving(tmp_path_factory.mktemp("server")) as process:
        yield process


@pytest.fixture
def url(server: ServerProcess) -> str:
    """Where the server is."""
    return f"turntree://{server.address}"


@pytest.fixture
def session_id(request: pytest.FixtureRequest) -> str:
    """A session that no other test uses."""
    name: str = request.node.nodeid
    return name


@pytest.fixture
async def open_session(url: str, session_id: str) -> AsyncIterator[OpenSession]:
    """Opens one and the same session, again and again."""
    opened = []

    def open_one() -> TurntreeSession:
        opened.append(TurntreeSession(session_id, url=url))
        return opened[-1]

    yield open_one
    for session in opened:
        await session.close()


@pytest.fixture
def session(open_session: OpenSession) -> TurntreeSession:
    """A session of the test's own."""
    return open_session()


@pytest.fixture
def new_db(tmp_path: Path) -> Path:
    """Where a database may be made."""
    return tmp_path / "conversations.db"
