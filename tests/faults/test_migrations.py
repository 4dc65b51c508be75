"""Files of every schema there was open with all they hold, and a migration may be killed anywhere."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pysqlite3 import dbapi2 as sqlite3
from turntree.model import BranchPointer, Usage, UsageTotal
from turntree.store import Store
from turntree_server.engine.migrate import all_migrations
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.engine.verify import verify
from turntree_server.local_store import LocalStore

from tests.faults.report import tallied
from tests.support.database import dump
from tests.support.items import function_call, function_output, turns, user
from tests.support.reading import items_of
from tests.support.schemas import SCHEMAS, make

ROOT = Path(__file__).parents[2]
OTHER = BranchPointer("other")


async def texts_of(store: Store, session_id: str, branch: BranchPointer) -> list[tuple[int, str, str | None]]:
    """A branch in short."""
    outline = (await store.get_conversation_by_turns(session_id, branch=branch)).entries
    return [(entry.turn, entry.type, entry.tool_name) for entry in outline]


async def assert_sdk_advanced(store: Store) -> None:
    """What the SDK's AdvancedSQLiteSession wrote."""
    main = [(1, "user", None), (1, "assistant", None), (2, "user", None), (2, "function_call", "look_up")]
    assert await texts_of(store, "trip", BranchPointer()) == [
        *main,
        (2, "function_call_output", None),
        (2, "assistant", None),
    ]
    assert await texts_of(store, "trip", OTHER) == [*main[:3], (2, "assistant", None)]
    assert (await store.search_turns("trip", "déjà 🌳")).entries[0].turn == 2
    assert await store.get_session_usage("trip") == UsageTotal(2, 30, 7, 37, 1)


async def assert_sdk_plain(store: Store) -> None:
    """What the SDK's plain SQLiteSession wrote."""
    assert [kind for _, kind, _ in await texts_of(store, "plain", BranchPointer())] == ["user", "assistant"] * 2
    assert [turn.turn for turn in (await store.list_turns("plain")).entries] == [1, 2]


async def assert_schema_2(store: Store) -> None:
    """What turntree wrote with schema 2, down to the answers that it keeps for repeats."""
    assert await items_of(store, "trip") == turns(3)
    kept = [user("Café 🌳?"), function_call("c1"), function_output("c1")]
    assert await items_of(store, "trip", OTHER) == [*turns(2), *kept]
    assert await items_of(store, "cleared") == [user("again")]
    assert (await store.get_session("cleared")).generation == 1
    assert (await store.get_session("trip")).labels == {"user": "ada"}
    (usage,) = (await store.list_turn_usage("trip")).entries
    assert (usage.turn, usage.usage) == (3, Usage(2, 30, 7, 37, b'{"cached_tokens": 3}', None))
    assert (await store.get_branch("trip", "other")).fork_turn == 2


CONTENTS: dict[str, Any] = {
    "sdk_advanced_0.24": assert_sdk_advanced,
    "sdk_plain_0.24": assert_sdk_plain,
    "turntree_schema_2": assert_schema_2,
}


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_a_file_of_every_schema_opens(schema: str, tmp_path: Path) -> None:
    """A file of every schema there was opens with all it holds, is sound by every rule, and takes new writes."""
    db = tmp_path / "conversations.db"
    make(schema, db)
    verify(str(db))
    for _ in range(2):
        async with LocalStore(await SqliteEngine.open(db)) as store:
            await CONTENTS[schema](store)
    async with LocalStore(await SqliteEngine.open(db)) as store:
        (session, *_) = (await store.list_sessions()).entries
        await store.add_items(session.session_id, turns(1))
        assert (await items_of(store, session.session_id))[-2:] == turns(1)
    assert f"schema {all_migrations()[-1].number}," in verify(str(db))


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_a_migration_may_be_killed_at_every_statement(schema: str, tmp_path: Path) -> None:
    """Killed at any statement, a migration leaves a file that the next start brings to the same end."""
    helper = [sys.executable, "-m", "tests.faults.killed_migrations", schema, str(tmp_path)]
    ran = await asyncio.to_thread(
        subprocess.run, helper, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    count = int(ran.stdout)
    assert count > 10
    expected = None
    with tallied(f"migration of {schema} killed at every statement", 0) as tally:
        for number in range(count, 0, -1):
            db = tmp_path / f"{number}.db"
            async with LocalStore(await SqliteEngine.open(db)) as store:
                await CONTENTS[schema](store)
            held = dump(db)
            held["turntree_migrations"] = [row[:2] for row in held["turntree_migrations"]]
            held["turntree_database"] = [(len(row[0]),) for row in held["turntree_database"]]
            expected = expected or held
            assert held == expected, number
            verify(str(db))
            tally.rounds += 1


async def test_branches_without_reservations_are_reserved(tmp_path: Path) -> None:
    """The branch ids of a file from before there were reservations are not given to another branch."""
    db = tmp_path / "conversations.db"
    make("sdk_advanced_0.24", db)
    execute(db, "DELETE FROM branch_reservations")
    async with LocalStore(await SqliteEngine.open(db)):
        assert ("trip", "other") in dump(db)["branch_reservations"]


def execute(db: Path, sql: str) -> None:
    """Change a file that nobody has open."""
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        connection.execute(sql)
