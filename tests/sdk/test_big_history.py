"""Histories far larger than any message, and histories that grow while somebody looks on."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Iterable
from typing import Any

import pytest
from turntree.model import DeltaKind
from turntree.openai_agents import Change, TurntreeSession

from tests.sdk.conftest import OpenSession
from tests.support.conversation import assistant_item, outline, user_item

MIB = 1024 * 1024
HISTORY_BYTES = 100 * MIB
SEED = 20_260_101
WAIT_S_MAX = 30


def digest(items: Iterable[Any]) -> str:
    """A hash of items, of their order too."""
    hashed = hashlib.blake2b()
    for item in items:
        hashed.update(json.dumps(item).encode() + b"\n")
    return hashed.hexdigest()


def large_turns() -> list[list[Any]]:
    """Turns of 100 MiB together, in items from a few bytes to 1 MiB, some of them not in ASCII."""
    rng = random.Random(SEED)
    turns: list[list[Any]] = []
    size_bytes = 0
    while size_bytes < HISTORY_BYTES:
        number = len(turns) + 1
        texts = [rng.choice(("wide", "ä€", '\\u0000 "quoted"\n')) for _ in range(3)]
        answers = [assistant_item(text * (rng.randrange(MIB) // len(json.dumps(text)))) for text in texts]
        turns.append([user_item(f"question {number}"), *answers])
        size_bytes += sum(len(json.dumps(item)) for item in turns[-1])
    return turns


async def test_large_history(session: TurntreeSession) -> None:
    """A history of 100 MiB is written and read back as it was, whole and turn by turn."""
    turns = large_turns()
    written = [item for turn in turns for item in turn]
    assert max(len(json.dumps(item)) for item in written) <= MIB
    for turn in turns:
        await session.add_items(turn)
    assert digest(await session.get_items()) == digest(written), f"seed {SEED}"

    streamed = hashlib.blake2b()
    numbers = []
    async for turn_read in session.stream_turns():
        numbers.append(turn_read.turn)
        streamed.update(digest(turn_read.items).encode())
    assert numbers == list(range(1, len(turns) + 1))
    expected = hashlib.blake2b("".join(digest(turn) for turn in turns).encode())
    assert streamed.hexdigest() == expected.hexdigest(), f"seed {SEED}"

    assert digest(await session.get_items(5)) == digest(written[-5:])
    assert [row["turn"] for row in await session.get_conversation_turns()] == numbers


async def watch_into(session: TurntreeSession, changes: asyncio.Queue[Change]) -> None:
    """Put every change that a watch brings into a queue."""
    async for change in session.watch():
        changes.put_nowait(change)


async def test_watch_what_others_write(open_session: OpenSession, session: TurntreeSession) -> None:
    """A watch brings the branch as it is, and then every change that another session object makes to it."""
    other = open_session()
    changes: asyncio.Queue[Change] = asyncio.Queue()
    await other.add_items([user_item("q1")])
    watching = asyncio.create_task(watch_into(session, changes))

    async def next_change() -> Change:
        return await asyncio.wait_for(changes.get(), WAIT_S_MAX)

    change = await next_change()
    assert (change.kind, outline(change.items)) == (DeltaKind.REPLACED, ["q1"])

    await other.add_items([assistant_item("a1"), user_item("q2")])
    change = await next_change()
    assert (change.kind, outline(change.items)) == (DeltaKind.APPENDED, ["a1", "q2"])
    assert (change.types, change.turns, change.branch_id) == (["assistant", "user"], [1, 2], "main")

    await other.pop_item()
    change = await next_change()
    assert (change.kind, outline(change.items)) == (DeltaKind.REPLACED, ["q1", "a1"])

    await other.create_branch_from_head("other")
    await other.add_items([user_item("elsewhere")])
    await other.clear_session()
    change = await next_change()
    assert (change.kind, change.items, change.branch_id) == (DeltaKind.REPLACED, [], "main")

    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_watch_resumes_by_cursor(open_session: OpenSession, session: TurntreeSession) -> None:
    """A watch that is given the cursor of an earlier one begins with what is new since."""
    other = open_session()
    await other.add_items([user_item("q1")])
    first = session.watch()
    cursor = (await asyncio.wait_for(anext(first), WAIT_S_MAX)).cursor
    await first.aclose()
    await other.add_items([assistant_item("a1")])
    second = session.watch(cursor=cursor)
    change = await asyncio.wait_for(anext(second), WAIT_S_MAX)
    assert (change.kind, outline(change.items)) == (DeltaKind.APPENDED, ["a1"])
    await second.aclose()
