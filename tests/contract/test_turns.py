"""Turns: list and stream a conversation by them, and outline it."""

from __future__ import annotations

import pytest
from turntree.errors import ErrorReason, InvalidArgument
from turntree.limits import CHUNK_BYTES
from turntree.model import AfterTurn, AtHead, BranchPointer, ItemMetadata, Turn, TurnsDelta
from turntree.store import Store

from tests.support.clock import StillClock
from tests.support.items import assistant, function_call, function_output, large, system, turns, user
from tests.support.reading import collected, cursor_of, pages_of

LARGE_TURN = [user("q2"), *(large(f"a2 {part}", 400 * 1024) for part in range(7))]


def shown(streamed: list[Turn]) -> list[tuple[int, bytes | None, list[bytes]]]:
    """Number, user item and items of each turn."""
    assert all(len(turn.metadata) == len(turn.items) for turn in streamed)
    return [(turn.turn, turn.user_item, list(turn.items)) for turn in streamed]


def whole(*histories: list[bytes], first: int = 1) -> list[tuple[int, bytes | None, list[bytes]]]:
    """What `shown` is to be of turns with these items."""
    return [(number, history[0], history) for number, history in enumerate(histories, start=first)]


async def test_list(store: Store, clock: StillClock) -> None:
    """The turns of a branch are listed by their user items, oldest first."""
    before = clock.now
    await store.add_items("s", [system("be kind"), *turns(1)])
    after = clock.advance(minutes=1)
    await store.add_items("s", [assistant("more"), user("q2"), user("q3")])
    page = await store.list_turns("s")
    assert page.entries == (
        Turn(1, "main", before, user("q1")),
        Turn(2, "main", after, user("q2")),
        Turn(3, "main", after, user("q3")),
    )
    assert (page.branch, page.next_page_token) == (BranchPointer("main", 0), "")


async def test_list_of_a_branch(store: Store) -> None:
    """The turns of a branch are those it shows, shared ones too."""
    await store.add_items("s", turns(3))
    fork = (await store.create_branch("s", AfterTurn(1), new_branch_id="fork")).branch.pointer
    await store.add_items("s", [user("r2")], branch=fork)
    page = await store.list_turns("s", branch=fork)
    assert [(turn.turn, turn.branch_id, turn.user_item) for turn in page.entries] == [
        (1, "fork", user("q1")),
        (2, "fork", user("r2")),
    ]
    assert (await store.list_turns("nobody")).entries == ()


@pytest.mark.parametrize("page_size", range(1, 7))
async def test_list_pages(store: Store, page_size: int) -> None:
    """Page after page brings every turn once, in order, also when turns are added meanwhile."""
    await store.add_items("s", turns(4))
    first = await store.list_turns("s", page_size=page_size)
    await store.add_items("s", turns(1, first=5))
    pages = await pages_of(lambda token: store.list_turns("s", page_size=page_size, page_token=token))
    assert [turn.turn for page in pages for turn in page] == [1, 2, 3, 4, 5]
    assert [len(page) for page in pages[:-1]] == [page_size] * (len(pages) - 1)
    if page_size < 4:
        second = await store.list_turns("s", page_size=100, page_token=first.next_page_token)
        assert [turn.turn for turn in second.entries] == list(range(page_size + 1, 6))


async def test_list_of_large_turns(store: Store) -> None:
    """A page ends at about 1 MiB, whatever its size, and the next one goes on."""
    written = [user(f"{number} " + "x" * 400_000) for number in range(5)]
    await store.add_items("s", written)
    pages = await pages_of(lambda token: store.list_turns("s", page_token=token))
    assert [turn.user_item for page in pages for turn in page] == written
    assert [len(page) for page in pages] == [2, 2, 1]


async def test_page_tokens(store: Store) -> None:
    """A page token is refused by another branch, another call, and after the session was cleared."""
    await store.add_items("s", turns(3))
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    token = (await store.list_turns("s", page_size=1)).next_page_token
    for call in (
        store.list_turns("s", branch=fork, page_token=token),
        store.list_turns("t", page_token=token),
        store.get_conversation_by_turns("s", page_token=token),
        store.list_tool_usage("s", page_token=token),
        store.search_turns("s", "q", page_token=token),
        store.list_turn_usage("s", page_token=token),
    ):
        with pytest.raises(InvalidArgument) as refused:
            await call
        assert refused.value.reason is ErrorReason.PAGE_TOKEN_INVALID
    await store.clear_session("s")
    with pytest.raises(InvalidArgument):
        await store.list_turns("s", page_token=token)


async def test_stream(store: Store, clock: StillClock) -> None:
    """A stream brings each turn with its user item, all its items and their metadata, oldest first."""
    opening = system("be kind")
    second = [user("q2"), function_call("1", "add"), function_output("1")]
    await store.add_items("s", [opening, *turns(1), *second])
    streamed = await collected(store.stream_turns("s"))
    assert shown(streamed) == [(0, None, [opening]), *whole(turns(1), second)]
    assert streamed[2].metadata[1] == ItemMetadata("function_call", "add", 2, clock.now)
    assert {(turn.branch_id, turn.create_time) for turn in streamed} == {("main", clock.now)}
    assert await collected(store.stream_turns("nobody")) == []


async def test_stream_of_a_large_turn(store: Store) -> None:
    """A turn larger than a part goes on in the next ones, and comes out whole."""
    await store.add_items("s", [*turns(1), *LARGE_TURN, *turns(1, first=3)])
    parts = await collected(store.stream_turn_deltas("s"))
    assert len(parts) > 2
    assert all(sum(len(item) for turn in part.turns for item in turn.items) <= CHUNK_BYTES for part in parts)
    assert [part.continued for part in parts] == [True] * (len(parts) - 1) + [False]
    assert shown(await collected(store.stream_turns("s"))) == whole(turns(1), LARGE_TURN, turns(1, first=3))


async def test_stream_of_many_turns(store: Store) -> None:
    """Parts may end between turns too."""
    histories = [[user(f"{number}" * CHUNK_BYTES)] for number in range(3)]
    await store.add_items("s", [item for history in histories for item in history])
    parts = await collected(store.stream_turn_deltas("s"))
    assert [part.continued for part in parts] == [False] * 3
    assert shown(await collected(store.stream_turns("s"))) == whole(*histories)


async def test_stream_begins_small(store: Store) -> None:
    """The first part of a stream is small, so that its reader has something to do long before all is read."""
    await store.add_items("s", turns(2_000))
    parts = await collected(store.stream_turn_deltas("s"))
    sizes = [sum(len(item) for turn in part.turns for item in turn.items) for part in parts]
    assert 0 < sizes[0] < CHUNK_BYTES / 64
    assert sum(sizes) > 4 * sizes[0]
    assert len(await collected(store.stream_turns("s"))) == 2_000


async def test_resume(store: Store) -> None:
    """With a cursor, a stream begins with the first turn that has an item beyond it, whole."""
    one = await store.add_items("s", turns(1))
    middle = await store.add_items("s", [user("q2")])
    two = await store.add_items("s", [assistant("a2")])
    three = await store.add_items("s", turns(1, first=3))

    async def from_cursor(cursor: bytes) -> list[tuple[int, bytes | None, list[bytes]]]:
        return shown(await collected(store.stream_turns("s", cursor=cursor)))

    rest = [turns(1, first=2), turns(1, first=3)]
    assert await from_cursor(one.cursor) == whole(*rest, first=2)
    assert await from_cursor(middle.cursor) == whole(*rest, first=2)
    assert await from_cursor(two.cursor) == whole(rest[1], first=3)
    assert await from_cursor(three.cursor) == []


async def test_resume_from_every_part(store: Store) -> None:
    """The cursor of every part resumes the stream after a disconnect, with whole turns."""
    await store.add_items("s", [*turns(1), *LARGE_TURN, *turns(1, first=3)])
    histories = whole(turns(1), LARGE_TURN, turns(1, first=3))
    for part in await collected(store.stream_turn_deltas("s")):
        resumed = shown(await collected(store.stream_turns("s", cursor=part.cursor)))
        assert resumed == (histories[1:] if part.continued else [])


async def test_restart(store: Store) -> None:
    """After a rewrite the turns begin again from the first, and the stream says so."""
    await store.add_items("s", turns(2))
    cursor = await cursor_of(store, "s")
    await store.replace_items("s", 1, [assistant("b2")], expected_cursor=cursor)
    (delta,) = await collected(store.stream_turn_deltas("s", cursor=cursor))
    assert delta.restarted
    assert shown(list(delta.turns)) == whole(turns(1), [user("q2"), assistant("b2")])
    (delta,) = await collected(store.stream_turn_deltas("s", cursor=delta.cursor))
    assert (delta.restarted, delta.turns) == (False, ())
    (delta,) = await collected(store.stream_turn_deltas("s"))
    assert not delta.restarted


def restarted_at(parts: list[TurnsDelta]) -> int:
    """The position of the part that began again, or 0."""
    return max(position for position, part in enumerate(parts) if part.restarted or position == 0)


async def test_rewrite_in_mid_stream(store: Store) -> None:
    """A stream that meets a rewrite begins again, so that the turns after the restart are a state of the branch."""
    history = [*turns(1), *LARGE_TURN]
    cursor = (await store.add_items("s", history)).cursor
    stream = store.stream_turn_deltas("s")
    parts = [await anext(stream)]
    await store.replace_items("s", len(history), turns(2, first=5), expected_cursor=cursor)
    parts += [part async for part in stream]
    after = parts[restarted_at(parts) :]
    items = [item for part in after for turn in part.turns for item in turn.items]
    assert items in (history, turns(2, first=5))


REWRITES = {
    "the end of the turn goes": (5, []),
    "another turn in its place": (5, turns(1, first=3)),
    "another end and another turn": (5, [assistant("end"), *turns(1, first=3)]),
    "a part of the end goes": (4, []),
    "another turn after a part of it": (4, turns(1, first=3)),
    "all but the user item goes": (7, []),
}


@pytest.mark.parametrize(("remove_count", "items"), REWRITES.values(), ids=REWRITES.keys())
async def test_rewrite_within_a_turn(store: Store, remove_count: int, items: list[bytes]) -> None:
    """A turn that is rewritten while it streams comes as it was or as it is, and never joined to the next one."""
    history = [*turns(1), *LARGE_TURN]
    cursor = (await store.add_items("s", history)).cursor
    stream = store.stream_turns("s")
    streamed = [await anext(stream)]
    await store.replace_items("s", remove_count, items, expected_cursor=cursor)
    streamed += [turn async for turn in stream]
    now = shown(await collected(store.stream_turns("s")))
    assert [item for _, _, turn in now for item in turn] == [*history[:-remove_count], *items]
    before = whole(turns(1), LARGE_TURN)
    assert shown(streamed) in (before, now, before[:1] + now)


async def test_rewrite_between_turns(store: Store) -> None:
    """A turn that gets another item after it was streamed whole does not go on as a turn without its beginning."""
    first = [user("q1"), large("a1", CHUNK_BYTES - len(user("q1")))]
    cursor = (await store.add_items("s", [*first, *turns(1, first=2)])).cursor
    stream = store.stream_turns("s")
    streamed = [await anext(stream)]
    await store.replace_items("s", 2, [assistant("more"), user("q3")], expected_cursor=cursor)
    streamed += [turn async for turn in stream]
    before, now = whole(first, turns(1, first=2)), whole([*first, assistant("more")], [user("q3")])
    assert shown(streamed) in (before, before[:1] + now)


async def test_outline(store: Store, clock: StillClock) -> None:
    """An outline tells the turn, type and tool of each item in order."""
    await store.add_items("s", [system("be kind"), user("q1"), function_call("1", "add"), function_output("1")])
    later = clock.advance(minutes=1)
    await store.add_items("s", turns(1, first=2))
    page = await store.get_conversation_by_turns("s")
    assert [(entry.turn, entry.type, entry.tool_name) for entry in page.entries] == [
        (0, "other", None),
        (1, "user", None),
        (1, "function_call", "add"),
        (1, "function_call_output", None),
        (2, "user", None),
        (2, "assistant", None),
    ]
    assert page.entries[-1].create_time == later
    pages = await pages_of(lambda token: store.get_conversation_by_turns("s", page_size=4, page_token=token))
    assert pages == [page.entries[:4], page.entries[4:]]


async def test_stale_pointer(store: Store) -> None:
    """A pointer from before a clear reads the turns of main, and every answer says so."""
    await store.add_items("s", turns(1))
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    main = await store.clear_session("s")
    await store.add_items("s", [user("anew")])
    page = await store.list_turns("s", branch=fork)
    assert ([turn.user_item for turn in page.entries], page.branch) == ([user("anew")], main)
    assert (await store.get_conversation_by_turns("s", branch=fork)).branch == main
    assert (await store.list_tool_usage("s", branch=fork)).branch == main
    assert (await store.search_turns("s", "anew", branch=fork)).branch == main
    (delta,) = await collected(store.stream_turn_deltas("s", branch=fork))
    assert delta.branch == main
