"""Long histories: reads of any length come in parts of about 1 MiB, and the parts make the whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from turntree.limits import CHUNK_BYTES
from turntree.model import AtHead, DeltaKind, ItemsDelta, ItemsWindow
from turntree.store import Store
from turntree_server.local_store import LocalStore

from tests.support.items import large, user
from tests.support.reading import applied, collected, items_of

LONG = [large(str(number), 256 * 1024) for number in range(11)]


def size_bytes(delta: ItemsDelta) -> int:
    """How much a part holds."""
    return sum(map(len, delta.items))


async def test_parts(store: Store) -> None:
    """An answer ends at about 1 MiB with `more` set, and the same read with its cursor goes on."""
    await store.add_items("s", LONG)
    part = await store.get_items("s", include_metadata=True)
    assert (part.kind, part.items, part.more) == (DeltaKind.REPLACED, tuple(LONG[:4]), True)
    assert len(part.metadata) == 4
    part = await store.get_items("s", cursor=part.cursor)
    assert (part.kind, part.items, part.more) == (DeltaKind.APPENDED, tuple(LONG[4:8]), True)
    part = await store.get_items("s", cursor=part.cursor)
    assert (part.kind, part.items, part.more) == (DeltaKind.APPENDED, tuple(LONG[8:]), False)
    assert (await store.get_items("s", cursor=part.cursor)).kind is DeltaKind.UNCHANGED


async def test_item_larger_than_a_part(store: Store) -> None:
    """A single item larger than a part is a part of its own."""
    written = [user("before"), large("huge", 3 * CHUNK_BYTES), user("after")]
    await store.add_items("s", written)
    parts = await collected(store.stream_items("s"))
    assert [part.items for part in parts] == [(item,) for item in written]
    assert [part.more for part in parts] == [True, True, False]


async def test_read_whole(store: Store) -> None:
    """`read_items` reads a branch whole, whatever its size, from the beginning or from a cursor."""
    first = await store.add_items("s", LONG[:2])
    last = await store.add_items("s", LONG[2:])
    whole = await store.read_items("s")
    assert (whole.kind, list(whole.items), whole.cursor) == (DeltaKind.REPLACED, LONG, last.cursor)
    rest = await store.read_items("s", cursor=first.cursor)
    assert (rest.kind, list(rest.items), rest.cursor) == (DeltaKind.APPENDED, LONG[2:], last.cursor)
    window = await store.read_items("s", window=ItemsWindow(limit=9))
    assert list(window.items) == LONG[-9:]
    assert not whole.more
    assert not rest.more
    assert not window.more


async def test_stream(store: Store) -> None:
    """A stream brings a branch in parts of about 1 MiB, each with the cursor that resumes after it."""
    await store.add_items("s", LONG)
    parts = await collected(store.stream_items("s", include_metadata=True))
    assert applied(parts) == LONG
    assert all(size_bytes(part) <= CHUNK_BYTES for part in parts)
    assert all(len(part.metadata) == len(part.items) for part in parts)
    assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False]
    for part in parts:
        held = applied(parts[: parts.index(part) + 1])
        assert applied(await collected(store.stream_items("s", cursor=part.cursor)), to=held) == LONG


async def test_stream_of_little(store: Store) -> None:
    """A stream of what fits one part, of nothing, or of nothing new is one part."""
    (part,) = await collected(store.stream_items("s"))
    assert (part.kind, part.items, part.more) == (DeltaKind.REPLACED, (), False)
    written = await store.add_items("s", [user("q")])
    (part,) = await collected(store.stream_items("s"))
    assert (part.kind, part.items, part.cursor) == (DeltaKind.REPLACED, (user("q"),), written.cursor)
    (part,) = await collected(store.stream_items("s", cursor=written.cursor))
    assert (part.kind, part.items) == (DeltaKind.UNCHANGED, ())


async def test_stream_of_a_window(store: Store) -> None:
    """A stream of a window brings the window's items and no others."""
    await store.add_items("s", LONG)
    parts = await collected(store.stream_items("s", window=ItemsWindow(limit=9)))
    assert len(parts) > 2
    assert applied(parts) == LONG[-9:]


async def test_rewrite_in_mid_stream(store: Store) -> None:
    """A rewrite while a branch streams starts it over, so that what was applied is a state the branch was in."""
    written = await store.add_items("s", LONG)
    stream = store.stream_items("s")
    parts = [await anext(stream)]
    changed = await store.replace_items("s", len(LONG) - 1, [user("short")], expected_cursor=written.cursor)
    parts += [part async for part in stream]
    assert applied(parts) in (LONG, [LONG[0], user("short")])
    rest = await collected(store.stream_items("s", cursor=parts[0].cursor))
    assert rest[0].kind is DeltaKind.REPLACED
    assert (applied(rest), rest[-1].cursor) == ([LONG[0], user("short")], changed.cursor)


async def test_rewrite_in_mid_read(local_store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rewrite while `read_items` reads on makes the whole answer REPLACED."""
    first = await local_store.add_items("s", LONG[:1])
    last = await local_store.add_items("s", LONG[1:])
    stream_items = local_store.stream_items

    async def rewrite_and_stream(session_id: str, **options: Any) -> AsyncIterator[ItemsDelta]:
        await local_store.replace_items("s", len(LONG) - 2, [user("short")], expected_cursor=last.cursor)
        async for delta in stream_items(session_id, **options):
            yield delta

    monkeypatch.setattr(local_store, "stream_items", rewrite_and_stream)
    read = await local_store.read_items("s", cursor=first.cursor)
    assert (read.kind, list(read.items)) == (DeltaKind.REPLACED, [*LONG[:2], user("short")])


async def test_clear_in_mid_stream(store: Store) -> None:
    """A clear while a branch streams ends it at the empty main, or the stream was through before."""
    await store.add_items("s", LONG)
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    stream = store.stream_items("s", branch=fork)
    parts = [await anext(stream)]
    main = await store.clear_session("s")
    parts += [part async for part in stream]
    assert (applied(parts), parts[-1].branch) in (([], main), (LONG, fork))


async def test_append_in_mid_stream(store: Store) -> None:
    """What is appended while a branch streams is brought in order, or left to the next read."""
    await store.add_items("s", LONG)
    stream = store.stream_items("s")
    parts = [await anext(stream)]
    await store.add_items("s", [user("more")])
    parts += [part async for part in stream]
    assert applied(parts) in (LONG, [*LONG, user("more")])
    assert applied(await collected(store.stream_items("s", cursor=parts[-1].cursor)), to=applied(parts)) == [
        *LONG,
        user("more"),
    ]


async def test_many_items(store: Store) -> None:
    """Ten thousand items are one write and come back in order."""
    written = [user(f"{number}") for number in range(10_000)]
    await store.add_items("s", written)
    assert await items_of(store, "s") == written
