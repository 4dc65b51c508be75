"""Conditional lists: with the cursor of an answer before, a list of turns, items, tools or finds brings what is new."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from turntree.errors import ErrorReason, InvalidArgument
from turntree.model import AtHead, BranchPointer, DeltaKind, Page, ToolUsage
from turntree.store import Store, every

from tests.support.clock import StillClock
from tests.support.items import assistant, function_call, function_output, turns, user
from tests.support.reading import cursor_of

UNCHANGED, APPENDED, REPLACED = DeltaKind.UNCHANGED, DeltaKind.APPENDED, DeltaKind.REPLACED

List = Callable[..., Awaitable[Page[Any]]]

LISTS: dict[str, Callable[[Store], List]] = {
    "list_turns": lambda store: partial(store.list_turns, "s"),
    "search_turns": lambda store: partial(store.search_turns, "s", "q"),
    "get_conversation_by_turns": lambda store: partial(store.get_conversation_by_turns, "s"),
    "list_tool_usage": lambda store: partial(store.list_tool_usage, "s"),
}


@pytest.fixture(params=LISTS)
def ask(request: pytest.FixtureRequest, store: Store) -> List:
    """Each list of the session `s`, of each store."""
    return LISTS[request.param](store)


def turn_of(number: int) -> list[bytes]:
    """A turn that every list has an entry of."""
    return [user(f"q{number}"), function_call(str(number)), function_output(str(number)), assistant("a")]


def applied(known: tuple[Any, ...], page: Page[Any]) -> tuple[Any, ...]:
    """What a caller has once it applied an answer, all pages of it, as the protos say."""
    if page.kind is UNCHANGED:
        assert not page.entries
        return known
    if page.kind is REPLACED:
        return page.entries
    if page.entries and isinstance(page.entries[0], ToolUsage):
        known = tuple(entry for entry in known if entry.turn < page.entries[0].turn)
    return known + page.entries


async def test_without_a_cursor(store: Store, ask: List) -> None:
    """The first answer is REPLACED, also that of a session without items."""
    assert (await ask()).kind is REPLACED
    await store.add_items("s", turn_of(1))
    page = await ask()
    assert page.kind is REPLACED
    assert page.entries


async def test_unchanged(store: Store, ask: List) -> None:
    """While the branch is as it was the answer is UNCHANGED, without entries, and has the same cursor."""
    empty = await ask()
    assert (await ask(cursor=empty.cursor)).kind is UNCHANGED
    await store.add_items("s", turn_of(1))
    first = await ask()
    again = await ask(cursor=first.cursor)
    assert again == Page((), "", first.branch, first.cursor, UNCHANGED)


async def test_appended(store: Store, ask: List) -> None:
    """What was added comes alone, and every cursor of a beginning of the branch will do, that of a write too."""
    empty = await ask()
    written = await store.add_items("s", turn_of(1))
    first = await ask()
    await store.add_items("s", turn_of(2))
    whole = await ask()
    for cursor, known in ((empty.cursor, ()), (written.cursor, first.entries), (first.cursor, first.entries)):
        page = await ask(cursor=cursor)
        assert page.kind is APPENDED
        assert page.cursor == whole.cursor
        assert len(page.entries) == len(whole.entries) - len(known)
        assert applied(known, page) == whole.entries


async def test_added_to_the_last_turn(store: Store, ask: List) -> None:
    """A turn that goes on is told as it has become."""
    await store.add_items("s", [*turn_of(1), user("q2"), function_call("2")])
    first = await ask()
    await store.add_items("s", [function_output("2"), function_call("3"), function_call("4", "other")])
    page = await ask(cursor=first.cursor)
    assert page.kind is APPENDED
    assert applied(first.entries, page) == (await ask()).entries


async def test_replaced(store: Store, ask: List) -> None:
    """What the caller has and the branch has no longer is told anew, after a pop, a replacement and a clear."""
    await store.add_items("s", turn_of(1))
    first = await ask()
    await store.pop_item("s")
    popped = await ask(cursor=first.cursor)
    assert popped.kind is REPLACED
    await store.replace_items("s", 2, turn_of(2), expected_cursor=popped.cursor)
    replaced = await ask(cursor=popped.cursor)
    assert replaced.kind is REPLACED
    assert replaced.entries == (await ask()).entries
    await store.clear_session("s")
    cleared = await ask(cursor=replaced.cursor)
    assert (cleared.kind, cleared.entries) == (REPLACED, ())


async def test_of_another_branch_or_session(store: Store, ask: List) -> None:
    """A cursor of another branch or session tells nothing: the answer is REPLACED with all there is."""
    await store.add_items("s", turn_of(1))
    await store.add_items("other", turn_of(1))
    await store.create_branch("s", AtHead(), new_branch_id="fork")
    fork = await ask(branch=BranchPointer("fork"))
    for cursor in (await cursor_of(store, "other"), fork.cursor):
        page = await ask(cursor=cursor)
        assert (page.kind, page.entries) == (REPLACED, (await ask()).entries)


async def test_expired(store: Store, ask: List, clock: StillClock) -> None:
    """When a session expires, its lists are REPLACED by nothing, and UNCHANGED then."""
    await store.add_items("s", turn_of(1))
    await store.update_session("s", expiry=timedelta(seconds=1))
    first = await ask()
    clock.advance(seconds=2)
    expired = await ask(cursor=first.cursor)
    assert (expired.kind, expired.entries) == (REPLACED, ())
    assert (await ask(cursor=expired.cursor)).kind is UNCHANGED


@pytest.mark.parametrize("many", [0, 400])
async def test_page_by_page(store: Store, ask: List, many: int) -> None:
    """What is new comes in pages like everything, each page after the first APPENDED, however much it is."""
    await store.add_items("s", turn_of(1))
    first = await ask()
    await store.add_items("s", [item for number in range(2, 5 + many) for item in turn_of(number)])
    kinds = []

    async def fetch(token: str) -> Page[Any]:
        page = await ask(cursor=first.cursor, page_size=2 if not many else 300, page_token=token)
        kinds.append(page.kind)
        return page

    page = await every(fetch)
    assert len(kinds) > 1
    assert set(kinds) == {APPENDED}
    assert applied(first.entries, page) == (await every(lambda token: ask(page_token=token))).entries


async def test_any_sequence(store: Store, ask: List) -> None:
    """Whatever happens to a branch, a caller who applies what it is told has what a new caller gets."""
    rng = random.Random(7)
    known: tuple[Any, ...] = ()
    cursor: bytes | None = None
    seen = set()
    for number in range(60):
        match rng.randrange(8):
            case 0:
                await store.pop_item("s")
            case 1:
                here = await cursor_of(store, "s")
                await store.replace_items("s", 0, turn_of(number), expected_cursor=here)
            case 2:
                await store.create_branch("s", AtHead())
            case 3 if rng.random() < 0.3:
                await store.clear_session("s")
            case 4 | 5:
                await store.add_items("s", [function_call(str(number), rng.choice(["look", "find"]))])
            case _:
                await store.add_items("s", turn_of(number))
        if rng.random() < 0.7:
            page = await every(partial(_ask_after, ask, cursor))
            known = applied(known, page)
            cursor = page.cursor
            seen.add(page.kind)
            assert known == (await every(lambda token: ask(page_token=token))).entries
    assert seen == {UNCHANGED, APPENDED, REPLACED}


async def _ask_after(ask: List, cursor: bytes | None, token: str) -> Page[Any]:
    return await ask(cursor=cursor, page_token=token, page_size=7)


async def test_no_cursor_at_all(store: Store, ask: List) -> None:
    """Bytes that are no cursor are refused."""
    with pytest.raises(InvalidArgument) as refused:
        await ask(cursor=b"nonsense")
    assert refused.value.reason is ErrorReason.CURSOR_INVALID
    assert refused.value.facts["field"] == "cursor"


async def test_a_search_of_all_branches(store: Store) -> None:
    """A search of all branches has no cursor and takes none."""
    await store.add_items("s", turns(1))
    page = await store.search_turns("s", "q", all_branches=True)
    assert page.cursor == b""
    with pytest.raises(InvalidArgument) as refused:
        await store.search_turns("s", "q", all_branches=True, cursor=await cursor_of(store, "s"))
    assert refused.value.facts["field"] == "cursor"
    assert refused.value.facts["limit"] == "none where all branches are searched"
