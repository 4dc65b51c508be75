"""The SDK's class writes to a file while turntree serves it, from another process as SQLite's locks need it.

Within one process the two must not have a file open together: they bring two SQLite libraries, whose locks do not hold
against each other there (https://sqlite.org/howtocorrupt.html#_multiple_copies).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agents.extensions.memory import AdvancedSQLiteSession
from turntree import connect
from turntree.model import BranchPointer, DeltaKind
from turntree.openai_agents import TurntreeSession
from turntree.store import Store

from tests.parity.histories import SESSION_ID, assistant, embedded, open_sdk, pair_of, run_result, served, user
from tests.parity.pairs import every_answer

_NOTICED_WITHIN_S = 20

_WRITER = """
import asyncio, sys
from agents.extensions.memory import AdvancedSQLiteSession

async def write():
    session = AdvancedSQLiteSession(session_id=sys.argv[2], db_path=sys.argv[1], create_tables=True)
    print("ready", flush=True)
    for line in sys.stdin:
        for number in range(int(line)):
            await session.add_items([{"role": "user", "content": f"other {number}"}])
        print(len(await session.get_items()), flush=True)
    session.close()

asyncio.run(write())
"""


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """A server process on the file `conversations.db`."""
    async with served(tmp_path / "conversations.db") as address:
        yield address


@pytest.fixture
async def sdk(url: str, tmp_path: Path) -> AsyncIterator[AdvancedSQLiteSession]:
    """The SDK's session on that file."""
    session = open_sdk(tmp_path / "conversations.db")
    yield session
    session.close()


@pytest.fixture
async def turntree(url: str) -> AsyncIterator[TurntreeSession]:
    """The same session on the server."""
    async with TurntreeSession(SESSION_ID, url=url) as session:
        yield session


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """The server."""
    async with await connect(url) as opened:
        yield opened


async def test_no_stale_read(sdk: AdvancedSQLiteSession, turntree: TurntreeSession) -> None:
    """What one has written the other reads at once, whoever writes, call after call."""
    pair = pair_of(sdk, turntree)
    sides: tuple[Any, Any] = pair.sides
    for number in range(6):
        writer, reader = sides[number % 2], sides[1 - number % 2]
        await writer.add_items([user(f"Rome {number}"), assistant("yes")])
        await reader.store_run_usage(run_result(number))
        await every_answer(pair, ["Rome"])
    for number in range(4):
        popped = await sides[number % 2].pop_item()
        assert popped["role"] == ("user" if number % 2 else "assistant")
        await every_answer(pair, ["Rome"])
    for number in range(2):
        writer, reader = sides[number], sides[1 - number]
        await writer.create_branch_from_turn(2, f"of {number}")
        await reader.switch_to_branch(f"of {number}")
        await every_answer(pair, ["Rome"])
        with pytest.raises(ValueError, match="has already been used"):
            await reader.create_branch_from_turn(1, f"of {number}")
        await reader.delete_branch(f"of {number}", force=True)
        await writer.switch_to_branch("main")
        await every_answer(pair, ["Rome"])


@pytest.mark.parametrize("clearer", [0, 1], ids=["the SDK", "turntree"])
async def test_cleared_by_the_other(sdk: AdvancedSQLiteSession, turntree: TurntreeSession, clearer: int) -> None:
    """When one clears the session, the other's branch pointer is reset to `main` and its late usage is dropped."""
    sides: tuple[Any, Any] = (sdk, turntree)
    await sdk.add_items([user("one"), user("two")])
    for side in sides:
        await side.create_branch_from_turn(2)
    await sides[clearer].clear_session()
    await sides[clearer].add_items([user("anew")])
    other = sides[1 - clearer]
    await other.store_run_usage(run_result(9))
    assert await other.get_session_usage() is None
    await other.add_items([assistant("on main")])
    for side in sides:
        assert await side.get_items() == [user("anew"), assistant("on main")]
        assert [row["branch_id"] for row in await side.list_branches()] == ["main"]


async def test_conditional_reads_notice(sdk: AdvancedSQLiteSession, store: Store) -> None:
    """A conditional read brings what the SDK appended, and all when it popped or cleared."""
    await sdk.add_items([user("one"), assistant("1")])
    first = await store.get_items(SESSION_ID)
    assert len(first.items) == 2
    assert (await store.get_items(SESSION_ID, cursor=first.cursor)).kind is DeltaKind.UNCHANGED
    await sdk.add_items([user("two")])
    second = await store.get_items(SESSION_ID, cursor=first.cursor)
    assert (second.kind, len(second.items)) == (DeltaKind.APPENDED, 1)
    await sdk.pop_item()
    assert (await store.get_items(SESSION_ID, cursor=first.cursor)).kind is DeltaKind.UNCHANGED
    assert (await store.get_items(SESSION_ID, cursor=second.cursor)).kind is DeltaKind.REPLACED
    await sdk.pop_item()
    await sdk.add_items([assistant("another 1")])
    third = await store.get_items(SESSION_ID, cursor=first.cursor)
    assert (third.kind, len(third.items)) == (DeltaKind.REPLACED, 2)
    await sdk.clear_session()
    fourth = await store.get_items(SESSION_ID, cursor=third.cursor)
    assert (fourth.kind, fourth.items, fourth.branch) == (DeltaKind.REPLACED, (), BranchPointer("main", 1))


async def test_watch_notices(sdk: AdvancedSQLiteSession, store: Store) -> None:
    """A watch brings what the SDK does to the file: appends, pops, and clears."""
    await sdk.add_items([user("one"), assistant("1")])
    watch = store.watch(SESSION_ID)

    async def next_kind() -> tuple[DeltaKind, int]:
        delta = await asyncio.wait_for(anext(watch), _NOTICED_WITHIN_S)
        return delta.kind, len(delta.items)

    assert await next_kind() == (DeltaKind.REPLACED, 2)
    await sdk.add_items([user("two")])
    assert await next_kind() == (DeltaKind.APPENDED, 1)
    await sdk.pop_item()
    assert await next_kind() == (DeltaKind.REPLACED, 2)
    await sdk.clear_session()
    assert await next_kind() == (DeltaKind.REPLACED, 0)


async def test_no_lost_write(sdk: AdvancedSQLiteSession, turntree: TurntreeSession) -> None:
    """Of items that both append at the same time none is lost, and those of each are in its order."""
    sides: tuple[Any, Any] = (sdk, turntree)
    count = 25
    await asyncio.gather(
        *(side.add_items([user(f"{number} {turn}")]) for turn in range(count) for number, side in enumerate(sides))
    )
    read = await sdk.get_items()
    assert read == await turntree.get_items()
    texts = [str(item["content"]) for item in read]  # type: ignore[typeddict-item]
    for number in range(2):
        assert [text for text in texts if text.startswith(f"{number} ")] == [
            f"{number} {turn}" for turn in range(count)
        ]
    turns = await turntree.get_conversation_turns()
    assert [row["turn"] for row in turns] == list(range(1, 2 * count + 1))
    await every_answer(pair_of(sdk, turntree), [])


async def test_the_sdk_in_another_process(tmp_path: Path) -> None:
    """An embedded turntree and an SDK in another process write to one file at once; neither misses what is there."""
    db = tmp_path / "conversations.db"
    async with embedded(db) as url, TurntreeSession(SESSION_ID, url=url) as session:
        await session.add_items([user("first")])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _WRITER, str(db), SESSION_ID),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        changes = session.watch()
        assert len((await anext(changes)).items) == 1
        process.stdin.write(b"20\n")
        for number in range(20):
            await session.add_items([user(f"ours {number}")])
        seen = int(await process.stdout.readline())
        assert seen >= 21
        read: list[Any] = await session.get_items()
        assert len(read) == 41
        watched: list[Any] = []
        while len(watched) < 40:
            change = await asyncio.wait_for(anext(changes), _NOTICED_WITHIN_S)
            assert change.kind is DeltaKind.APPENDED
            watched += change.items
        assert watched == read[1:]
        for whose in ("ours", "other"):
            texts = [item["content"] for item in read if item["content"].startswith(whose)]
            assert texts == [f"{whose} {number}" for number in range(20)]
        process.stdin.write(b"0\n")
        assert await process.stdout.readline() == b"41\n"
        process.stdin.close()
        assert await process.wait() == 0
