"""How SQLite carries out the statements of each call, as it plans them itself: by index, never table by table."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from turntree.limits import OUTLINE_PAGE_SIZE_MAX
from turntree.model import (
    AfterTurn,
    AtHead,
    BeforeContent,
    BeforeTurn,
    ItemsWindow,
    LetterCase,
    Usage,
)
from turntree.store import Store
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.engine.sqlite_driver import Connection, connect
from turntree_server.local_store import LocalStore
from turntree_server.operations.statement import Many, Operation, OperationFactory, Query

from tests.support.items import assistant, function_call, turns, user
from tests.support.reading import collected

T = TypeVar("T")

Call = Callable[[Store], Awaitable[object]]

LARGE_TABLES = (
    "agent_sessions",
    "agent_messages",
    "message_structure",
    "turn_usage",
    "turntree_requests",
    "turntree_item_natives",
)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
CALLS: dict[str, Call] = {
    "add_items": lambda store: store.add_items("s", turns(2), request_id="a"),
    "add_items again": lambda store: store.add_items("s", turns(3), request_id="seed"),
    "add_items to another session": lambda store: store.add_items("new", turns(1)),
    "pop_item": lambda store: store.pop_item("s"),
    "get_items": lambda store: store.get_items("s"),
    "get_items, what is new": lambda store: read_what_is_new(store),
    "get_items, newest": lambda store: store.get_items("s", window=ItemsWindow(2, 2, whole_exchanges=True)),
    "get_items, native": lambda store: store.get_items("s", native_dialect="d"),
    "pop_item, native": lambda store: store.pop_item("s", native_dialect="d"),
    "stream_turns, native": lambda store: collected(store.stream_turns("s", native_dialect="d")),
    "stream_items": lambda store: collected(store.stream_items("s")),
    "create_branch before a turn": lambda store: store.create_branch("s", BeforeTurn(2)),
    "create_branch after a turn": lambda store: store.create_branch("s", AfterTurn(2)),
    "create_branch at its head": lambda store: store.create_branch("s", AtHead(), new_branch_id="head"),
    "create_branch by content": lambda store: store.create_branch("s", BeforeContent("q")),
    "get_branch": lambda store: store.get_branch("s", "fork"),
    "list_branches": lambda store: every_page(partial(store.list_branches, "s", page_size=1)),
    "compare_branches": lambda store: store.compare_branches("s", "main", "fork"),
    "delete_branch": lambda store: store.delete_branch("s", "fork"),
    "list_turns": lambda store: every_page(partial(store.list_turns, "s", page_size=1)),
    "stream_turns": lambda store: collected(store.stream_turns("s")),
    "search_turns": lambda store: store.search_turns("s", "q"),
    "search_turns everywhere": lambda store: store.search_turns(
        "s", "q", all_branches=True, letter_case=LetterCase.UNICODE
    ),
    "get_conversation_by_turns": lambda store: every_page(partial(store.get_conversation_by_turns, "s", page_size=1)),
    "get_conversation_by_turns, at once": lambda store: store.get_conversation_by_turns(
        "s", page_size=OUTLINE_PAGE_SIZE_MAX
    ),
    "list_tool_usage": lambda store: store.list_tool_usage("s"),
    "lists, what is new": lambda store: list_what_is_new(store),
    "record_usage": lambda store: store.record_usage("s", Usage(1, 2, 3, 5)),
    "get_session_usage": lambda store: store.get_session_usage("s"),
    "get_session_usage of a branch": lambda store: store.get_session_usage("s", branch_id="main"),
    "list_turn_usage": lambda store: store.list_turn_usage("s"),
    "get_session": lambda store: store.get_session("s"),
    "list_sessions by label": lambda store: store.list_sessions(labels={"customer": "acme"}),
    "list_sessions by label and time": lambda store: store.list_sessions(
        labels={"customer": "acme"}, active_since=LONG_AGO
    ),
    "list_sessions by time": lambda store: store.list_sessions(active_since=LONG_AGO),
    "clear_session": lambda store: store.clear_session("s"),
    "delete_session": lambda store: store.delete_session("s"),
}


class RecordingEngine(SqliteEngine):
    """Notes every statement that an operation yields, with its parameters."""

    statements: dict[str, None]

    async def read(self, operation: OperationFactory[T], *, brief: bool = False) -> T:
        return await super().read(partial(self._recorded, operation), brief=brief)

    async def write(self, operation: OperationFactory[T], session_id: str, *, brief: bool = False) -> T:
        return await super().write(partial(self._recorded, operation), session_id, brief=brief)

    def _recorded(self, factory: OperationFactory[T]) -> Operation[T]:
        operation = factory()
        try:
            statement = next(operation)
            while True:
                if isinstance(statement, Query | Many):  # others read nothing
                    self.statements[statement.sql] = None
                statement = operation.send((yield statement))
        except StopIteration as done:
            result: T = done.value
            return result


async def read_what_is_new(store: Store) -> None:
    """Read the whole branch, and then only what came after it."""
    cursor = (await store.get_items("s")).cursor
    await store.add_items("s", turns(1))
    await store.get_items("s", cursor=cursor)


async def list_what_is_new(store: Store) -> None:
    """List the turns, items, tools and finds that came after what is there."""
    cursor = (await store.get_items("s")).cursor
    await store.add_items("s", turns(1))
    await store.list_turns("s", cursor=cursor)
    await store.search_turns("s", "q", cursor=cursor)
    await store.get_conversation_by_turns("s", cursor=cursor)
    await store.list_tool_usage("s", cursor=cursor)


async def every_page(fetch: Callable[..., Awaitable[object]]) -> None:
    """Read page after page."""
    token = ""
    while True:
        page = await fetch(page_token=token)
        token = getattr(page, "next_page_token", "")
        if not token:
            return


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[RecordingEngine]:
    """A database with a session of two branches, usage and a label."""
    engine = await RecordingEngine.open(tmp_path / "conversations.db")
    engine.statements = {}
    async with LocalStore(engine) as store:
        await store.add_items("s", turns(3), request_id="seed")
        await store.add_items("s", [user("q"), function_call("1"), assistant("a")])
        await store.record_usage("s", Usage(1, 1, 1, 2))
        await store.update_session("s", labels={"customer": "acme"})
        await store.create_branch("s", AtHead(), new_branch_id="fork")
        engine.statements.clear()
        yield engine


def scans(connection: Connection, sql: str) -> list[str]:
    """The steps of a statement's plan that read one of the large tables from one end to the other."""
    names = {*LARGE_TABLES, *re.findall(rf"\b(?:{'|'.join(LARGE_TABLES)})\s+(?:AS\s+)?(\w+)", sql)}
    plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * sql.count("?"))
    steps = [str(step[3]) for step in plan]
    return [step for step in steps if step.startswith("SCAN ") and step.split()[1] in names]


async def planned_scans(engine: RecordingEngine, call: Call, connection: Connection) -> list[str]:
    """The full scans in the plans of all statements of a call."""
    await call(LocalStore(engine))
    assert engine.statements, "the call yields statements"
    return [step for sql in engine.statements for step in scans(connection, sql)]


@pytest.fixture
def connection(engine: RecordingEngine) -> Connection:
    """A second connection to the database, to ask for plans."""
    return connect(engine.path)


@pytest.mark.parametrize("name", CALLS)
async def test_no_scan(engine: RecordingEngine, connection: Connection, name: str) -> None:
    """No call reads a large table from one end to the other: its work grows with its session, not with the database."""
    assert await planned_scans(engine, CALLS[name], connection) == []
    connection.close()


async def test_all_sessions(engine: RecordingEngine, connection: Connection) -> None:
    """A list of all sessions is read in the order of an index, so that it ends with the page and sorts nothing."""
    await LocalStore(engine).list_sessions()
    listing = next(sql for sql in engine.statements if "agent_sessions" in sql)
    assert scans(connection, listing) == ["SCAN a USING INDEX turntree_sessions_by_activity"]
    plan = connection.execute(f"EXPLAIN QUERY PLAN {listing}", (None,) * listing.count("?")).fetchall()
    assert not [step for *_, step in plan if "TEMP B-TREE" in step]
    connection.close()


async def test_no_index_is_another_one_again(engine: RecordingEngine, connection: Connection) -> None:
    """No index is the beginning of another of its table: it would slow every write and speed up nothing."""
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        indexes = connection.execute(
            """
            SELECT name, (SELECT group_concat(i.name) FROM pragma_index_info(l.name) i) || ','
            FROM pragma_index_list(?) l WHERE NOT partial
            """,
            (table,),
        ).fetchall()
        redundant = [(one, other) for one, of in indexes for other, to in indexes if one != other and to.startswith(of)]
        assert redundant == []
    connection.close()


async def test_scans_are_seen(engine: RecordingEngine, connection: Connection) -> None:
    """Without the indexes, the same look at the plans finds scans: it can fail."""
    indexes = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    for (index,) in indexes:
        connection.execute(f"DROP INDEX {index}")
    assert await planned_scans(engine, CALLS["list_turns"], connection) != []
    assert await planned_scans(engine, CALLS["add_items"], connection) != []
    connection.close()
