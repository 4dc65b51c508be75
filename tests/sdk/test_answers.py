"""Of long answers about a branch only what is new is fetched again, and none is given when it is no longer so."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from agents.items import TResponseInputItem
from turntree.errors import InvalidArgument
from turntree.model import ItemsWindow, Page, Turn
from turntree.openai_agents import TurntreeSession, answers
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.local_store import LocalStore

TURNS = 100

Question = Callable[[TurntreeSession], Awaitable[Any]]

QUESTIONS: dict[str, Question] = {
    "get_conversation_turns": lambda session: session.get_conversation_turns(),
    "find_turns_by_content": lambda session: session.find_turns_by_content("question"),
    "get_conversation_by_turns": lambda session: session.get_conversation_by_turns(),
    "get_tool_usage": lambda session: session.get_tool_usage(),
}


class CountingStore(LocalStore):
    """A store that counts the turns that it listed, and can be interrupted between two pages."""

    turns_listed = 0
    between_pages: Callable[[], Awaitable[None]] | None = None

    async def list_turns(self, session_id: str, **options: Any) -> Page[Turn]:
        """Read, and count the turns."""
        if options.get("page_token") and self.between_pages is not None:
            await self.between_pages()
        page = await super().list_turns(session_id, **options)
        self.turns_listed += len(page.entries)
        return page

    async def search_turns(self, session_id: str, content: str, **options: Any) -> Page[Turn]:
        """Search."""
        if options.get("page_token") and self.between_pages is not None:
            await self.between_pages()
        return await super().search_turns(session_id, content, **options)


@pytest.fixture
async def store() -> AsyncIterator[CountingStore]:
    """A store in memory."""
    async with CountingStore(await SqliteEngine.open()) as store:
        yield store


def turn(number: int) -> list[TResponseInputItem]:
    """A turn with a tool call."""
    return [
        {"role": "user", "content": f"question {number}"},
        {"type": "function_call", "call_id": f"c{number}", "name": "look", "arguments": "{}"},
    ]


async def filled(store: LocalStore, turns: int = TURNS) -> TurntreeSession:
    """A session with many turns."""
    session = TurntreeSession("s", store=store)
    await session.add_items([item for number in range(turns) for item in turn(number)])
    return session


@pytest.mark.parametrize("name", QUESTIONS)
async def test_an_answer_is_never_stale(store: CountingStore, name: str) -> None:
    """An answer that was given before is given again only while the branch is as it was, whoever changes it."""
    session = await filled(store)
    ask = QUESTIONS[name]
    first = await ask(session)
    assert await ask(session) == first
    other = TurntreeSession("s", store=store)
    await other.add_items(turn(TURNS))
    longer = await ask(session)
    assert len(longer) == len(first) + 1
    await other.pop_item()
    await other.pop_item()
    assert await ask(session) == first
    await other.clear_session()
    assert len(await ask(session)) == 0


async def test_only_what_is_new_is_fetched(store: CountingStore) -> None:
    """What an object of the process was told is fetched no more for any of them, however the branch grows."""
    session = await filled(store)
    for reader in (session, session, TurntreeSession("s", store=store)):
        assert len(await reader.get_conversation_turns()) == TURNS
    assert store.turns_listed == TURNS
    await session.add_items(turn(TURNS))
    assert len(await session.get_conversation_turns()) == TURNS + 1
    assert store.turns_listed == TURNS + 1


@pytest.mark.parametrize("name", QUESTIONS)
async def test_an_answer_that_grew(store: CountingStore, name: str) -> None:
    """What is told of a branch that grew, within a turn and by turns, is what a process is told that knew nothing."""
    session = await filled(store)
    await QUESTIONS[name](session)
    for number in (TURNS, TURNS + 1):
        await session.add_items(turn(number) + turn(number)[1:])
        grown = await QUESTIONS[name](session)
        await session.add_items(turn(number)[1:])
        grown_within = await QUESTIONS[name](session)
        answers._answers.clear()
        assert await QUESTIONS[name](session) == grown_within
        assert len(grown_within) == len(grown) == number + 1


@pytest.mark.parametrize("name", QUESTIONS)
async def test_callers_may_change_an_answer(store: CountingStore, name: str) -> None:
    """Every caller gets an answer of its own."""
    session = await filled(store)
    for _ in range(3):
        answer = await QUESTIONS[name](session)
        assert len(answer) == TURNS
        answer.clear()


async def test_branches_have_answers_of_their_own(store: CountingStore) -> None:
    """What was answered about one branch is never the answer about another."""
    session = await filled(store)
    assert len(await session.get_conversation_turns()) == TURNS
    await session.create_branch_from_turn(TURNS // 2, "half")
    assert len(await session.get_conversation_turns()) == TURNS // 2 - 1
    assert len(await session.get_conversation_turns("main")) == TURNS


async def test_searches_have_answers_of_their_own(store: CountingStore) -> None:
    """What was found for one text is never the answer for another."""
    session = await filled(store)
    assert len(await session.find_turns_by_content("question")) == TURNS
    assert len(await session.find_turns_by_content("question 7")) == 11


async def test_pages_of_different_states_are_not_kept(store: CountingStore) -> None:
    """A branch that grows between two pages and shrinks again leaves no answer that shows what it had meanwhile."""
    session = await filled(store, turns=1_100)
    other = TurntreeSession("s", store=store)
    store.between_pages = lambda: other.add_items(turn(1_100))
    assert len(await session.get_conversation_turns()) == 1_101
    store.between_pages = None
    await other.pop_item()
    await other.pop_item()
    assert len(await session.get_conversation_turns()) == 1_100


def contents(turns: list[dict[str, Any]]) -> list[str]:
    """What the user said in each turn."""
    return [turn["full_content"] for turn in turns]


@pytest.mark.parametrize("name", ["get_conversation_turns", "find_turns_by_content"])
async def test_a_branch_that_is_rewritten_between_pages(store: CountingStore, name: str) -> None:
    """An answer of many pages is of a state that the branch had, as one that is read in one transaction is."""
    session = await filled(store, turns=1_100)

    async def rewrite() -> None:
        store.between_pages = None
        here = await store.get_items("s", window=ItemsWindow(0))
        texts = [f"question {number}, asked again" for number in range(1_099)]
        items = [json.dumps({"role": "user", "content": text}).encode() for text in texts]
        await store.replace_items("s", 2_198, items, expected_cursor=here.cursor)

    store.between_pages = rewrite
    answered = contents(await QUESTIONS[name](session))
    assert answered == ["question 0", *(f"question {number}, asked again" for number in range(1_099))]
    assert contents(await QUESTIONS[name](TurntreeSession("s", store=store))) == answered


async def test_a_session_that_is_cleared_between_pages(store: CountingStore) -> None:
    """A session that goes away while its turns are read has none."""
    session = await filled(store, turns=1_100)

    async def clear() -> None:
        await store.clear_session("s")

    store.between_pages = clear
    assert await session.get_conversation_turns() == []


async def test_a_branch_that_is_rewritten_all_the_time(store: CountingStore) -> None:
    """A session that is cleared and filled between any two pages is asked for a few times and no more."""
    session = await filled(store, turns=1_100)

    async def begin_anew() -> None:
        await store.clear_session("s")
        await store.add_items("s", [b'{"role": "user", "content": "q"}'] * 1_100)

    store.between_pages = begin_anew
    with pytest.raises(InvalidArgument):
        await session.get_conversation_turns()
    assert store.turns_listed == 5 * 1_000


async def test_an_answer_too_deep_to_keep(store: CountingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nests deeper than can be kept is answered all the same, each time anew."""
    session = await filled(store)

    def refuse(_: object) -> bytes:
        raise ValueError("object too deeply nested to marshal")

    monkeypatch.setattr("marshal.dumps", refuse)
    for _ in range(2):
        assert len(await session.get_conversation_turns()) == TURNS
    assert store.turns_listed == 2 * TURNS
