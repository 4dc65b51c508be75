"""One database file for both: what either implementation wrote, the other serves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from agents.memory import SQLiteSession
from turntree.openai_agents import TurntreeSession
from turntree_server.engine.sqlite_driver import sqlite3

from tests.parity.histories import (
    OTHER_SESSION_ID,
    SESSION_ID,
    OpenUrl,
    assistant,
    call,
    copied,
    embedded,
    open_sdk,
    pair_of,
    run_result,
    served,
    user,
    write_history,
)
from tests.parity.pairs import Pair, every_answer

SEARCHES = ("Rome", "100%", "zürich", "ZÜRICH", "")

CORRUPT = ("{half", "", "nothing", '"half', "[1, 2", "\x00", "é")


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Where a database may be made."""
    return tmp_path / "conversations.db"


@pytest.fixture(params=[embedded, served], ids=["embedded", "served"])
def open_url(request: pytest.FixtureRequest) -> OpenUrl:
    """Opens turntree on a file, in this process and behind a server."""
    opened: OpenUrl = request.param
    return opened


async def go_on(pair: Pair) -> None:
    """Ask both all there is to ask, then use every kind of call, and ask again."""
    await every_answer(pair, SEARCHES)
    for name in ("gone", "alt", "main", "new"):
        await pair.ask("create_branch_from_turn", 2, name)
    await pair.ask("add_items", [user("more of Rome"), call("look_up")])
    await pair.ask("store_run_usage", run_result(40))
    await pair.ask("switch_to_branch", "alt")
    for _ in range(3):
        await pair.ask("pop_item")
    await every_answer(pair, SEARCHES)
    await pair.ask("delete_branch", "alt", True)
    await every_answer(pair, SEARCHES)
    await pair.ask("clear_session")
    await pair.ask("create_branch_from_turn", 1, "alt")
    await pair.ask("add_items", [user("anew")])
    await pair.ask("create_branch_from_turn", 1, "alt")
    await every_answer(pair, SEARCHES)


async def test_a_file_of_the_sdk(db: Path, open_url: OpenUrl) -> None:
    """A file that AdvancedSQLiteSession wrote is served as it stands, and goes on as it would with the SDK."""
    for session_id in (SESSION_ID, OTHER_SESSION_ID):
        sdk = open_sdk(db, session_id)
        await write_history(sdk)
        sdk.close()
    async with open_url(copied(db)) as url:
        for session_id in (SESSION_ID, OTHER_SESSION_ID):
            pair = pair_of(open_sdk(db, session_id, create_tables=False), TurntreeSession(session_id, url=url))
            await go_on(pair)
            await pair.close()


@pytest.mark.parametrize("create_tables", [False, True])
async def test_a_file_of_turntree(db: Path, open_url: OpenUrl, create_tables: bool) -> None:
    """A file that turntree wrote is opened by AdvancedSQLiteSession with the same answers, and goes on the same."""
    async with open_url(db) as url:
        for session_id in (SESSION_ID, OTHER_SESSION_ID):
            async with TurntreeSession(session_id, url=url) as session:
                await write_history(session)
    copy = copied(db)
    async with open_url(db) as url:
        for session_id in (SESSION_ID, OTHER_SESSION_ID):
            pair = pair_of(
                open_sdk(copy, session_id, create_tables=create_tables), TurntreeSession(session_id, url=url)
            )
            await go_on(pair)
            await pair.close()


async def test_both_write_the_same(tmp_path: Path, open_url: OpenUrl) -> None:
    """The same calls leave the same answers in the files of both, the generation and the reserved names too."""
    async with open_url(tmp_path / "turntree.db") as url:
        pair = pair_of(open_sdk(tmp_path / "sdk.db"), TurntreeSession(SESSION_ID, url=url))
        for session in pair.sides:
            await write_history(session)
        await every_answer(pair, SEARCHES)
        await pair.close()
    for query in (
        "SELECT * FROM session_clear_generations",
        "SELECT * FROM branch_reservations WHERE branch_id <> 'main' ORDER BY branch_id",
        "SELECT message_data FROM agent_messages ORDER BY id",
        "SELECT branch_id, message_type, user_turn_number, tool_name FROM message_structure ORDER BY sequence_number",
        "SELECT branch_turn_number, sequence_number FROM message_structure ORDER BY sequence_number",
        "SELECT branch_id, user_turn_number, total_tokens, input_tokens_details FROM turn_usage ORDER BY 1, 2",
    ):
        assert rows(tmp_path / "turntree.db", query) == rows(tmp_path / "sdk.db", query) != []


async def test_a_plain_file(db: Path, open_url: OpenUrl) -> None:
    """What a plain SQLiteSession wrote is the branch `main`, its turns numbered as AdvancedSQLiteSession would."""
    items = [assistant("hello"), user("Rome?"), call("look_up"), user([{"type": "input_text", "text": "100%"}]), 7]
    advanced = open_sdk(db.with_name("advanced.db"))
    await advanced.add_items(items)
    for session_id, written in ((SESSION_ID, items), (OTHER_SESSION_ID, items[:1])):
        plain = SQLiteSession(session_id, db)
        await plain.add_items(written)
        plain.close()
    async with open_url(db) as url:
        pair = pair_of(advanced, TurntreeSession(SESSION_ID, url=url))
        assert [row["branch_id"] for row in await pair.turntree.list_branches()] == ["main"]
        assert [row["turn"] for row in await pair.turntree.get_conversation_turns()] == [1, 2]
        await go_on(pair)
        await pair.close()
        async with TurntreeSession(OTHER_SESSION_ID, url=url) as other:
            assert await other.get_items() == items[:1]


@pytest.mark.parametrize("corrupt", CORRUPT)
async def test_corrupt_rows(db: Path, corrupt: str, open_url: OpenUrl) -> None:
    """Rows that are not JSON are skipped as the SDK skips them: by reads, by turns and searches, and by pop."""
    sdk = open_sdk(db)
    for number in range(4):
        await sdk.add_items([user(f"Rome {number}"), assistant(f"answer {number}")])
        await sdk.store_run_usage(run_result(number))
    sdk.close()
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE agent_messages SET message_data = ? WHERE id IN (1, 4, 5, 7, 8)", (corrupt,))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    async with open_url(copied(db)) as url:
        pair = pair_of(open_sdk(db), TurntreeSession(SESSION_ID, url=url))
        for limit in (None, 0, 1, 2, 3, 4, 100, -1):
            await pair.ask("get_items", limit)
        await every_answer(pair, SEARCHES)
        await pair.ask("create_branch_from_turn", 4, "before a corrupt one")
        await pair.ask("create_branch_from_content", "Rome 2", "not found")
        await pair.ask("switch_to_branch", "main")
        for _ in range(5):
            await pair.ask("pop_item")
            await every_answer(pair, SEARCHES)
        await pair.close()


async def test_not_a_number(db: Path, open_url: OpenUrl) -> None:
    """NaN and Infinity, which the SDK writes though they are not JSON, come back from its files as they are."""
    items: list[Any] = [user("x"), {"type": "function_call_output", "call_id": "c", "output": [float("nan"), 1e999]}]
    sdk = open_sdk(db)
    await sdk.add_items(items)
    sdk.close()
    async with open_url(copied(db)) as url:
        pair = pair_of(open_sdk(db), TurntreeSession(SESSION_ID, url=url))
        await every_answer(pair, SEARCHES)
        assert repr((await pair.ask("pop_item")).value) == repr(items[1])
        await pair.close()


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows of a file that nobody has open."""
    connection = sqlite3.connect(path)
    found: list[tuple[Any, ...]] = connection.execute(query).fetchall()
    connection.close()
    return found


async def test_a_plain_session_begun_while_served(db: Path) -> None:
    """What a plain SQLiteSession of another process wrote to an open file comes before what turntree adds to it."""
    session_id = "plain"
    async with TurntreeSession("first", url=f"sqlite:///{db}") as first:
        await first.add_items([user("hi")])
        writes = (
            "import asyncio, sys; from agents.memory import SQLiteSession;"
            "asyncio.run(SQLiteSession(sys.argv[1], sys.argv[2]).add_items([{'role': 'user', 'content': 'one'}]))"
        )
        command = [sys.executable, "-c", writes, session_id, str(db)]
        await asyncio.to_thread(subprocess.run, command, check=True, timeout=60)
        async with TurntreeSession(session_id, url=f"sqlite:///{db}") as session:
            await session.add_items([user("two")])
            turns = await session.get_conversation_turns()
            assert [(turn["turn"], turn["content"]) for turn in turns] == [(1, "one"), (2, "two")]
