"""A history in which everything happened once, and ways to open its file."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from agents.extensions.memory import AdvancedSQLiteSession
from agents.usage import Usage
from turntree.openai_agents import TurntreeSession

from tests.parity.pairs import BranchNames, Pair, SessionLike
from tests.parity.worlds import stopped_at_the_end
from tests.support.server_process import ServerProcess

SESSION_ID = "100% Zoë's"
OTHER_SESSION_ID = "another"

OpenUrl = Callable[[Path], AbstractAsyncContextManager[str]]


def user(content: Any) -> Any:
    """What a user said."""
    return {"role": "user", "content": content}


def assistant(text: str) -> Any:
    """What an assistant said."""
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def call(name: str) -> Any:
    """A call of a function tool."""
    return {"type": "function_call", "call_id": "call_1", "name": name, "arguments": "{}"}


def run_result(tokens: int) -> Any:
    """A run that used so many tokens of each kind."""
    usage = Usage(requests=1, input_tokens=tokens, output_tokens=tokens, total_tokens=2 * tokens)
    return SimpleNamespace(context_wrapper=SimpleNamespace(usage=usage))


async def write_history(session: SessionLike) -> None:
    """Clear, talk, use tools, record usage, fork, delete a branch, and pop; the session ends on branch `alt`."""
    await session.add_items([user("before it was cleared")])
    await session.clear_session()
    await session.add_items([user("Rome or Zürich?"), call("look_up"), assistant("Zürich 😀")])
    await session.store_run_usage(run_result(10))
    await session.add_items([user([{"type": "input_text", "text": "100% sure"}]), assistant("yes")])
    await session.store_run_usage(run_result(20))
    await session.create_branch_from_turn(2, "gone")
    await session.add_items([user("soon gone")])
    await session.delete_branch("gone", force=True)
    await session.create_branch_from_content("100%", "alt")
    shell_call: Any = {"type": "shell_call", "call_id": "call_2"}
    await session.add_items([user("and Rome?"), call("search"), shell_call, assistant("no")])
    await session.store_run_usage(run_result(30))
    await session.pop_item()


def open_sdk(path: Path, session_id: str = SESSION_ID, *, create_tables: bool = True) -> AdvancedSQLiteSession:
    """The SDK's session on a file."""
    return AdvancedSQLiteSession(session_id=session_id, db_path=path, create_tables=create_tables)


def pair_of(sdk: AdvancedSQLiteSession, turntree: TurntreeSession) -> Pair:
    """Both, to be asked the same."""
    return Pair(sdk, turntree, BranchNames(), Counter())


def copied(path: Path) -> Path:
    """A copy of a database file that nobody has open."""
    assert not path.with_name(f"{path.name}-wal").exists(), "a file that is open is not whole"
    return Path(shutil.copy(path, path.with_suffix(".copy.db")))


@asynccontextmanager
async def embedded(path: Path) -> AsyncIterator[str]:
    """Where turntree opens a file in this process."""
    yield f"sqlite:///{path}"


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[str]:
    """Where a server process has a file open."""
    with stopped_at_the_end(ServerProcess.start(path)) as server:
        yield server.address
