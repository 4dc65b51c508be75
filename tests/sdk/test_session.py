"""What `TurntreeSession` does where a branch holds little, or what no SDK wrote."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from agents.items import TResponseInputItem
from turntree.openai_agents import TurntreeSession
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.local_store import LocalStore

EXCHANGE: list[TResponseInputItem] = [
    {"role": "user", "content": "q"},
    {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "1", "output": "seen"},
    {"role": "assistant", "content": "a"},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "conversations.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[LocalStore]:
    """A store in a file."""
    async with LocalStore(await SqliteEngine.open(path)) as store:
        yield store


async def test_whole_exchanges_beside_what_is_not_json(store: LocalStore, path: Path) -> None:
    """A limit of whole exchanges never begins with the output of a tool, whatever other software wrote behind it."""
    session = TurntreeSession("s", store=store)
    await session.add_items([*EXCHANGE, {"role": "assistant", "content": "spoilt"}])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE agent_messages SET message_data = '{spoilt' WHERE message_data LIKE '%spoilt%'")
    assert await session.get_items(2) == EXCHANGE[2:]
    assert await session.get_items(2, whole_exchanges=True) == EXCHANGE[3:]
    assert await session.get_items(4, whole_exchanges=True) == EXCHANGE[1:]


async def test_streams_without_what_is_not_json(store: LocalStore, path: Path) -> None:
    """Streamed turns and watched changes leave out what is not JSON, as `get_items` does, and what describes it."""
    session = TurntreeSession("s", store=store)
    await session.add_items([EXCHANGE[0], {"role": "assistant", "content": "spoilt"}, *EXCHANGE[1:]])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE agent_messages SET message_data = '{spoilt' WHERE message_data LIKE '%spoilt%'")
    types = ["user", "function_call", "function_call_output", "assistant"]
    (turn,) = [turn async for turn in session.stream_turns()]
    assert (turn.items, turn.types, turn.tool_names) == (EXCHANGE, types, [None, "look", None, None])
    change = await anext(session.watch())
    assert (change.items, change.types, change.turns) == (EXCHANGE, types, [1] * 4)


@pytest.mark.parametrize("turn", ["a", None, 1.5])
async def test_a_turn_that_is_no_number(store: LocalStore, turn: Any) -> None:
    """Where the SDK's class raises ValueError for a turn that cannot be, so does this one, and names the field."""
    session = TurntreeSession("s", store=store)
    await session.add_items(EXCHANGE)
    with pytest.raises(ValueError, match="turn is"):
        await session.create_branch_from_turn(turn)
    if turn is not None:
        with pytest.raises(ValueError, match="turn is"):
            await session.get_turn_usage(turn)


async def test_a_branch_without_items_is_replaced(store: LocalStore) -> None:
    """Items take the place of none on a branch that holds none, as they are appended there."""
    session = TurntreeSession("s", store=store)
    await session.add_items(EXCHANGE)
    await session.create_branch_from_turn(1, "empty")
    assert await session.get_items() == []
    await session._atomic_replace_items(EXCHANGE[:1])
    assert await session.get_items() == EXCHANGE[:1]
    assert await session.get_items(branch_id="main") == EXCHANGE
