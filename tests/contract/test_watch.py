"""Watch: the state of a branch at once, then a delta for every change, without end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from turntree.errors import ErrorReason, InvalidArgument, Unavailable
from turntree.model import MAIN, AtHead, BranchPointer, DeltaKind, ItemsDelta, Usage
from turntree.store import Store
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.local_store import LocalStore

from tests.conftest import OpenStore, served
from tests.support.clock import StillClock
from tests.support.items import assistant, function_call, large, turns, user
from tests.support.reading import applied, cursor_of

PATIENCE_S = 10.0
UNCHANGED, APPENDED, REPLACED = DeltaKind.UNCHANGED, DeltaKind.APPENDED, DeltaKind.REPLACED

Next = Callable[[], Any]


@asynccontextmanager
async def watching(
    store: Store, branch: BranchPointer = MAIN, cursor: bytes | None = None, *, include_metadata: bool = False
) -> AsyncIterator[Next]:
    """A watch on the session `s`, as a function that waits for the next delta."""
    stream: Any = store.watch("s", branch=branch, cursor=cursor, include_metadata=include_metadata)
    async with aclosing(stream):
        yield lambda: asyncio.wait_for(anext(stream), PATIENCE_S)


async def until(next_delta: Next, expected: list[bytes], held: list[bytes]) -> ItemsDelta:
    """Apply deltas to what is held until it is what is expected; returns the last one."""
    while True:
        delta: ItemsDelta = await next_delta()
        held = applied([delta], to=held)
        if held == expected:
            return delta


async def test_state_at_once(store: Store) -> None:
    """A watch begins with the state of the branch, also if it is empty or absent."""
    async with watching(store) as next_delta:
        delta = await next_delta()
        assert (delta.kind, delta.items, delta.branch) == (REPLACED, (), BranchPointer("main", 0))
    await store.add_items("s", turns(1))
    async with watching(store) as next_delta:
        delta = await next_delta()
        assert (delta.kind, list(delta.items)) == (REPLACED, turns(1))


async def test_state_by_cursor(store: Store) -> None:
    """A watch with a cursor begins with what is new since then, or says that nothing is."""
    first = await store.add_items("s", turns(1))
    async with watching(store, cursor=first.cursor) as next_delta:
        assert (await next_delta()).kind is UNCHANGED
    second = await store.add_items("s", turns(1, first=2))
    async with watching(store, cursor=first.cursor) as next_delta:
        delta = await next_delta()
        assert (delta.kind, list(delta.items), delta.cursor) == (APPENDED, turns(1, first=2), second.cursor)
    await store.pop_item("s")
    async with watching(store, cursor=second.cursor) as next_delta:
        delta = await next_delta()
        assert (delta.kind, list(delta.items)) == (REPLACED, [*turns(1), user("q2")])


async def test_changes(store: Store) -> None:
    """Every change comes as a delta: what was appended, or all after something was taken away."""
    async with watching(store) as next_delta:
        await next_delta()
        written = await store.add_items("s", turns(1))
        delta = await next_delta()
        assert (delta.kind, list(delta.items), delta.cursor) == (APPENDED, turns(1), written.cursor)
        await store.pop_item("s")
        delta = await next_delta()
        assert (delta.kind, delta.items) == (REPLACED, (user("q1"),))
        await store.replace_items("s", 1, turns(1, first=2), expected_cursor=delta.cursor)
        delta = await next_delta()
        assert (delta.kind, list(delta.items)) == (REPLACED, turns(1, first=2))


async def test_nothing_but_changes(store: Store) -> None:
    """What leaves the branch as it was brings no delta: other branches, sessions, usage, labels, forks, refusals."""
    await store.add_items("s", turns(1))
    async with watching(store) as next_delta:
        await next_delta()
        fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
        await store.add_items("s", [user("elsewhere")], branch=fork)
        await store.delete_branch("s", "fork")
        await store.add_items("other", turns(1))
        await store.record_usage("s", Usage(requests=1))
        await store.update_session("s", labels={"team": "red"})
        with pytest.raises(InvalidArgument):
            await store.add_items("s", [b"not json"])
        await store.add_items("s", [user("here")])
        delta = await next_delta()
        assert (delta.kind, delta.items) == (APPENDED, (user("here"),))


async def test_branch(store: Store) -> None:
    """A watch follows the branch it was given and no other."""
    await store.add_items("s", turns(1))
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    async with watching(store, fork) as next_delta:
        assert list((await next_delta()).items) == turns(1)
        await store.add_items("s", [user("main")])
        await store.add_items("s", [user("fork")], branch=fork)
        delta = await next_delta()
        assert (delta.kind, delta.items, delta.branch) == (APPENDED, (user("fork"),), fork)


async def test_clear(store: Store) -> None:
    """When the session is cleared, a REPLACED delta says so, and the watch goes on at the new main."""
    await store.add_items("s", turns(1))
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    for branch in (MAIN, BranchPointer("fork"), fork):
        async with watching(store, branch) as next_delta:
            await next_delta()
            main = await store.clear_session("s")
            delta = await next_delta()
            if branch != fork:  # whose generation is over when its turn comes
                assert (delta.kind, delta.items) == (REPLACED, ())
            assert delta.branch == main
            await store.add_items("s", [user("anew")])
            delta = await next_delta()
            assert (delta.kind, delta.items, delta.branch) == (APPENDED, (user("anew"),), main)


async def test_metadata(store: Store) -> None:
    """With metadata every delta of a watch has it."""
    await store.add_items("s", turns(1))
    async with watching(store, include_metadata=True) as next_delta:
        assert [metadata.type for metadata in (await next_delta()).metadata] == ["user", "assistant"]
        await store.add_items("s", [function_call("1", "add")])
        (metadata,) = (await next_delta()).metadata
        assert (metadata.type, metadata.tool_name, metadata.turn) == ("function_call", "add", 1)


async def test_long_history(store: Store) -> None:
    """A long history and a large change come in parts, one right after the other."""
    history = [large(str(number), 400_000) for number in range(5)]
    await store.add_items("s", history[:3])
    async with watching(store) as next_delta:
        parts = [await next_delta(), await next_delta()]
        assert ([part.more for part in parts], applied(parts)) == ([True, False], history[:3])
        await store.add_items("s", history[3:])
        await until(next_delta, history, applied(parts))


async def test_resume(store: Store) -> None:
    """After a disconnect, a watch with the last cursor goes on where the first one stopped."""
    await store.add_items("s", turns(1))
    async with watching(store) as next_delta:
        last = await next_delta()
    await store.add_items("s", turns(1, first=2))
    async with watching(store, last.branch, last.cursor) as next_delta:
        delta = await next_delta()
        assert (delta.kind, list(delta.items)) == (APPENDED, turns(1, first=2))
    await store.clear_session("s")
    async with watching(store, last.branch, last.cursor) as next_delta:
        delta = await next_delta()
        assert (delta.kind, delta.items, delta.branch.generation) == (REPLACED, (), 1)


async def test_resume_after_a_restart(open_store: OpenStore) -> None:
    """A watch resumes by cursor also after the store was closed and opened again."""
    async with open_store() as store:
        cursor = (await store.add_items("s", turns(1))).cursor
    async with open_store() as store, watching(store, cursor=cursor) as next_delta:
        assert (await next_delta()).kind is UNCHANGED
        await store.add_items("s", [user("q2")])
        assert (await next_delta()).items == (user("q2"),)


async def test_many_watchers(store: Store) -> None:
    """Every watcher of a branch sees the same, however many there are and whichever leaves."""
    async with watching(store) as one, watching(store) as two:
        async with watching(store) as three:
            for next_delta in (one, two, three):
                await next_delta()
            await store.add_items("s", [user("q1")])
            assert [(await next_delta()).items for next_delta in (one, two, three)] == [(user("q1"),)] * 3
        await store.add_items("s", [assistant("a1")])
        assert [(await next_delta()).items for next_delta in (one, two)] == [(assistant("a1"),)] * 2


async def test_many_writes(store: Store) -> None:
    """Applied in order, the deltas of a watch that many writers feed come to the state of the branch."""
    async with watching(store) as next_delta:
        held = applied([await next_delta()])
        writes = [store.add_items("s", [user(f"{number}")]) for number in range(40)]
        await asyncio.gather(*writes, *(store.pop_item("s") for _ in range(5)))
        last = await store.add_items("s", [user("last")])
        while user("last") not in held:
            held = applied([await next_delta()], to=held)
        delta = await store.read_items("s")
        assert (held, delta.cursor) == (list(delta.items), last.cursor)


async def test_close(store: Store) -> None:
    """A watch ends with `Unavailable` when its store is closed, and none can begin after that."""
    stream: Any = store.watch("s")
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await store.get_items("s")
    await store.close()
    with pytest.raises(Unavailable) as ended:
        await asyncio.wait_for(waiting, PATIENCE_S)
    assert ended.value.reason is ErrorReason.SERVER_STOPPING
    with pytest.raises(Unavailable):
        await anext(aiter(store.watch("s")))


class WatchedStore(LocalStore):
    """A store that tells when a watch on it is over."""

    def __init__(self, engine: SqliteEngine, clock: StillClock) -> None:
        super().__init__(engine, clock=clock)
        self.watch_is_over = asyncio.Event()

    async def watch(self, *arguments: Any, **options: Any) -> AsyncGenerator[ItemsDelta, None]:
        try:
            async for delta in super().watch(*arguments, **options):
                yield delta
        finally:
            self.watch_is_over.set()


@pytest.mark.parametrize("leave", ["closing it", "being cancelled"])
async def test_leave(leave: str, clock: StillClock, tmp_path: Path) -> None:
    """A watch that its caller left is over on the server too."""
    watched = WatchedStore(await SqliteEngine.open(), clock)
    async with served(lambda *_: watched)(tmp_path, clock) as store:
        stream: Any = store.watch("s")
        await anext(stream)
        if leave == "closing it":
            await stream.aclose()
        else:
            waiting = asyncio.ensure_future(anext(stream))
            await store.get_items("s")
            waiting.cancel()
            await asyncio.wait([waiting])
        await asyncio.wait_for(watched.watch_is_over.wait(), PATIENCE_S)


async def test_another_store(open_store: OpenStore) -> None:
    """What another store writes to the same database comes too, and its cursors are good here."""
    async with open_store() as ours, open_store() as theirs, watching(ours) as next_delta:
        await next_delta()
        written = await theirs.add_items("s", turns(1))
        delta = await next_delta()
        assert (delta.kind, list(delta.items), delta.cursor) == (APPENDED, turns(1), written.cursor)
        await theirs.clear_session("s")
        assert (await next_delta()).kind is REPLACED


ANOTHER_PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=10)
with connection:
    message_id = connection.execute(
        "INSERT INTO agent_messages (session_id, message_data) VALUES ('s', ?)", (sys.argv[2],)
    ).lastrowid
    connection.execute(
        "INSERT INTO message_structure (session_id, message_id, message_type, sequence_number, user_turn_number,"
        " branch_turn_number) VALUES ('s', ?, 'user', 100, 2, 2)",
        (message_id,),
    )
connection.close()
"""


async def test_another_program(open_store: OpenStore, tmp_path: Path) -> None:
    """What another program writes to the database file comes too."""
    async with open_store() as store:
        await store.add_items("s", turns(1))
        async with watching(store) as next_delta:
            await next_delta()
            arguments = ("-c", ANOTHER_PROGRAM, str(tmp_path / "conversations.db"), user("q2").decode())
            program = await asyncio.create_subprocess_exec(sys.executable, *arguments)
            assert await program.wait() == 0
            delta = await next_delta()
            assert (delta.kind, delta.items) == (APPENDED, (user("q2"),))
            assert await cursor_of(store, "s") == delta.cursor
