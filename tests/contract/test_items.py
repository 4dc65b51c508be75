"""Items: what is written comes back, in order and byte for byte."""

from __future__ import annotations

import pytest
from turntree.model import BranchPointer, DeltaKind, ItemMetadata, ItemsWindow
from turntree.store import Store

from tests.support.clock import StillClock
from tests.support.items import (
    approval_request,
    approval_response,
    assistant,
    function_call,
    function_output,
    item,
    reasoning,
    system,
    turns,
    user,
)
from tests.support.reading import items_of

AS_WRITTEN = {
    "unicode": '{"role":"user","content":"héllo 🌳 \u2028 שלום"}'.encode(),
    "escaped unicode": rb'{"role":"user","content":"h\u00e9llo \ud83c\udf33"}',
    "lone surrogate": rb'{"role":"user","content":"half \ud83c of it"}',
    "lone surrogate as a type": rb'{"type":"\ud83c","content":""}',
    "lone surrogate as a tool": rb'{"type":"function_call","name":"\ud83c","call_id":"1","arguments":""}',
    "NUL": rb'{"type":"function_call","name":"a\u0000b","call_id":"1","arguments":"\u0000"}',
    "integers beyond 64 bits": b'{"type":"x","n":[18446744073709551616,-9223372036854775809,10000000000000000000000]}',
    "numbers": b'{"type":"x","n":[1.0,1e2,-0,0.1000,1E400,1.7976931348623157e309]}',
    "duplicate keys": b'{"role":"user","role":"assistant","a":1,"a":2}',
    "whitespace": b' \n{"role" :\t"user" ,\r\n "content":  "hi" } \n ',
    "slashes": rb'{"role":"user","content":"a\/b\\c\"d"}',
    "type that is no text": b'{"type":{"a":[1]},"role":7,"name":[null]}',
    "null": b"null",
    "text": b'"hello"',
    "number": b"3",
    "list": b'[{"role":"user"}]',
    "empty object": b"{}",
}


@pytest.mark.parametrize("written", AS_WRITTEN.values(), ids=AS_WRITTEN.keys())
async def test_byte_for_byte(store: Store, written: bytes) -> None:
    """Items are opaque: the caller's bytes come back as they are."""
    await store.add_items("s", [written])
    assert await items_of(store, "s") == [written]
    assert (await store.pop_item("s")).item == written


async def test_order(store: Store) -> None:
    """Items are appended in order, after all that is there."""
    written = [user(f"{number}") for number in range(50)]
    await store.add_items("s", written[:20])
    await store.add_items("s", written[20:21])
    await store.add_items("s", written[21:])
    assert await items_of(store, "s") == written


async def test_equal_items(store: Store) -> None:
    """Equal items are kept each for itself."""
    await store.add_items("s", [user("again"), user("again")])
    await store.add_items("s", [user("again")])
    assert await items_of(store, "s") == [user("again")] * 3


async def test_absent_session_is_empty(store: Store) -> None:
    """A branch or session that does not exist is empty, and reading it does not make it."""
    nothing = await store.get_items("nobody")
    assert (nothing.kind, nothing.items, nothing.more) == (DeltaKind.REPLACED, (), False)
    assert await items_of(store, "nobody", BranchPointer("nowhere")) == []
    assert (await store.list_sessions()).entries == ()


@pytest.mark.parametrize("session_id", ["ü 🌳", " padded ", "a/b?c#d%20", "x" * 256, "semi;colon'quote\"", "a\nb"])
async def test_any_session_id(store: Store, session_id: str) -> None:
    """A session id is any text that is not blank, and names one session only."""
    await store.add_items(session_id, [user("mine")])
    assert await items_of(store, session_id) == [user("mine")]
    assert [session.session_id for session in (await store.list_sessions()).entries] == [session_id]
    assert await items_of(store, session_id[:-1] + "_") == []


async def test_written(store: Store) -> None:
    """A write tells where it went: the branch, the cursor it left and the turn of the last item."""
    opening = await store.add_items("s", [system("be kind")])
    assert opening.turn == 0
    first = await store.add_items("s", [user("q1"), assistant("a1"), user("q2")])
    assert (first.turn, first.branch) == (2, BranchPointer("main", 0))
    second = await store.add_items("s", [assistant("a2")])
    assert second.turn == 2
    assert (await store.get_items("s", cursor=first.cursor)).items == (assistant("a2"),)
    assert (await store.get_items("s", cursor=second.cursor)).kind is DeltaKind.UNCHANGED


async def test_metadata(store: Store, clock: StillClock) -> None:
    """With metadata, each item comes with its type, its tool, its turn and its time."""
    before = clock.now
    await store.add_items("s", [system("be kind"), user("q1"), function_call("1", "add")])
    after = clock.advance(minutes=1)
    await store.add_items("s", [function_output("1"), user("q2"), b"[]"])
    delta = await store.get_items("s", include_metadata=True)
    assert delta.metadata == (
        ItemMetadata("other", None, 0, before),
        ItemMetadata("user", None, 1, before),
        ItemMetadata("function_call", "add", 1, before),
        ItemMetadata("function_call_output", None, 1, after),
        ItemMetadata("user", None, 2, after),
        ItemMetadata("other", None, 2, after),
    )
    assert (await store.get_items("s")).metadata == ()


@pytest.mark.parametrize("limit", range(8))
async def test_limit(store: Store, limit: int) -> None:
    """A limit reads the newest items, oldest first; zero reads none, and beyond the history it reads all."""
    written = turns(3)
    await store.add_items("s", written)
    delta = await store.get_items("s", window=ItemsWindow(limit=limit))
    assert list(delta.items) == (written[-limit:] if limit else [])
    assert not delta.more


async def test_limit_of_items_and_turns(store: Store) -> None:
    """A limit of turns reads whole turns from their user items on; of two limits the narrower one counts."""
    written = [system("be kind"), *turns(3)]
    await store.add_items("s", written)

    async def read(limit_turns: int, limit: int | None = None) -> list[bytes]:
        return list((await store.get_items("s", window=ItemsWindow(limit, limit_turns))).items)

    assert await read(0) == []
    assert await read(1) == written[5:]
    assert await read(2) == written[3:]
    assert await read(3) == written[1:]
    assert await read(4) == written
    assert await read(2, limit=3) == written[4:]
    assert await read(1, limit=3) == written[5:]


EXCHANGES = {
    "one call": ([user("q"), function_call("1"), function_output("1"), assistant("a")], {1: 3, 2: 3, 3: 1, 4: 0}),
    "parallel calls": (
        [user("q"), function_call("1"), function_call("2"), function_output("2"), function_output("1"), assistant("a")],
        {1: 5, 2: 5, 3: 5, 4: 5, 5: 1, 6: 0},
    ),
    "reasoning before a call": (
        [user("q"), reasoning(), function_call("1"), function_output("1"), assistant("a")],
        {1: 4, 2: 4, 3: 4, 4: 1, 5: 0},
    ),
    "reasoning before an answer": ([user("q"), reasoning(), assistant("a"), user("r")], {1: 3, 2: 3, 3: 1, 4: 0}),
    "reasoning before a question": ([reasoning(), user("q"), assistant("a")], {1: 2, 2: 1, 3: 0}),
    "approval": (
        [user("q"), approval_request("1"), approval_response("1"), assistant("a")],
        {1: 3, 2: 3, 3: 1, 4: 0},
    ),
    "call that waits": ([user("q"), function_call("1")], {1: 1, 2: 0}),
    "output alone": ([user("q"), function_call("1"), function_output("1")], {1: 3, 2: 1}),
    "other kinds of call": (
        [item(type="shell_call", call_id="1"), item(type="shell_call_output", call_id="1"), assistant("a")],
        {1: 2, 2: 2, 3: 0},
    ),
}


@pytest.mark.parametrize(("written", "begins"), EXCHANGES.values(), ids=EXCHANGES.keys())
async def test_whole_exchanges(store: Store, written: list[bytes], begins: dict[int, int]) -> None:
    """A window of whole exchanges never begins between a call and its output, nor behind its reasoning."""
    await store.add_items("s", written)
    for limit, begin in begins.items():
        delta = await store.get_items("s", window=ItemsWindow(limit=limit, whole_exchanges=True))
        assert list(delta.items) == written[begin:], f"limit {limit}"


async def test_whole_exchanges_needs_a_limit_to_matter(store: Store) -> None:
    """Without a limit whole exchanges are the whole branch, even where an output has lost its call."""
    written = [function_output("lost"), user("q")]
    await store.add_items("s", written)
    assert list((await store.get_items("s", window=ItemsWindow(whole_exchanges=True))).items) == written
