"""Small cases in which a session is easily unlike the SDK's, and the few in which it means to be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from agents.memory import OpenAIResponsesCompactionSession
from openai import AsyncOpenAI
from turntree.errors import InvalidArgument
from turntree.openai_agents import TurntreeSession

from tests.parity.histories import SESSION_ID, assistant, open_sdk, pair_of, run_result, user
from tests.parity.pairs import Pair, every_answer


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Both, on files of their own."""
    opened = pair_of(
        open_sdk(tmp_path / "sdk.db"), TurntreeSession(SESSION_ID, url=f"sqlite:///{tmp_path}/turntree.db")
    )
    await opened.ask("get_items")
    yield opened
    await opened.close()


@pytest.fixture
async def other(pair: Pair, tmp_path: Path) -> AsyncIterator[Pair]:
    """Other objects of the same session."""
    opened = pair_of(
        open_sdk(tmp_path / "sdk.db"), TurntreeSession(SESSION_ID, url=f"sqlite:///{tmp_path}/turntree.db")
    )
    await opened.ask("get_items")
    yield opened
    await opened.close()


async def test_what_is_wrong_is_said_in_order(pair: Pair) -> None:
    """Of a text that is nowhere and a blank name, the text is complained about; of a text that is there, the name."""
    await pair.ask("add_items", [user("Rome")])
    nowhere = await pair.ask("create_branch_from_content", "Paris", " ")
    assert nowhere.error == "ValueError: No user turns found containing 'Paris'"
    blank = await pair.ask("create_branch_from_content", "rome", "")
    assert blank.error == "ValueError: Branch name cannot be empty"


@pytest.mark.parametrize("turn", [-(2**40), -1, 0, 2])
async def test_turns_that_are_not(pair: Pair, turn: int) -> None:
    """A turn that cannot be is named in the error like one that is not."""
    await pair.ask("add_items", [assistant("before the first turn"), user("one")])
    refused = await pair.ask("create_branch_from_turn", turn)
    assert refused.error == f"ValueError: Turn {turn} does not contain a user message in branch 'main'"
    assert (await pair.ask("get_turn_usage", turn)).value == {}


async def test_empty_search(pair: Pair) -> None:
    """The empty text is in every content that has texts, also in one that is left out."""
    contents: list[Any] = ["", [], [{"type": "input_text", "text": ""}], [{"type": "input_image"}], ["no part"]]
    await pair.ask("add_items", [{"role": "user"}, *(user(content) for content in contents)])
    found = await pair.ask("find_turns_by_content", "")
    assert [row["turn"] for row in found.value] == [1, 2, 4, 5]


async def test_parts_that_are_none(pair: Pair) -> None:
    """Content with a part that is no object is not searched."""
    await pair.ask("add_items", [user([{"type": "input_text", "text": "Rome"}, "a string"])])
    assert (await pair.ask("find_turns_by_content", "Rome")).value == []


async def test_odd_usage(pair: Pair) -> None:
    """Details that cannot be JSON are left out, counts that are missing are 0, and no usage is no matter."""
    await pair.ask("add_items", [user("one")])
    await pair.ask("store_run_usage", SimpleNamespace(context_wrapper=SimpleNamespace(usage=None)))
    await pair.ask("store_run_usage", SimpleNamespace())
    assert (await pair.ask("get_turn_usage", 1)).value == {}
    usage = SimpleNamespace(requests=None, input_tokens=3, output_tokens=None, total_tokens=3)
    usage.input_tokens_details = SimpleNamespace(cannot_be=object())
    await pair.ask("store_run_usage", SimpleNamespace(context_wrapper=SimpleNamespace(usage=usage)))
    recorded = (await pair.ask("get_turn_usage", 1)).value
    assert (recorded["requests"], recorded["input_tokens"], recorded["input_tokens_details"]) == (0, 3, None)


async def test_items_that_cannot_be_json(pair: Pair) -> None:
    """A batch with an item that cannot be JSON is refused whole, with the error of `json.dumps`."""
    refused = await pair.ask("add_items", [user("one"), {"role": "user", "content": object()}])
    assert refused.error == "TypeError: Object of type object is not JSON serializable"
    assert (await pair.ask("get_items")).value == []


async def test_a_read_by_name_teaches_nothing(pair: Pair, other: Pair) -> None:
    """After somebody else's clear, a read of a named branch leaves the branch pointer, and any other read resets it."""
    await pair.ask("add_items", [user("one")])
    await pair.ask("create_branch_from_turn", 1, "alt")
    await other.ask("clear_session")
    await pair.ask("get_items", None, "main")
    still_there = await pair.ask("delete_branch", "alt")
    assert still_there.error.startswith("ValueError: Cannot delete current branch 'alt'")
    await pair.ask("get_items")
    gone = await pair.ask("delete_branch", "alt")
    assert gone.error == "ValueError: Branch 'alt' does not exist"


@pytest.mark.parametrize("search", [None, "nowhere"])
async def test_a_failed_fork_teaches(pair: Pair, other: Pair, search: str | None) -> None:
    """After somebody else's clear, a fork that fails resets the branch pointer all the same."""
    await pair.ask("add_items", [user("one")])
    await pair.ask("create_branch_from_turn", 1, "alt")
    await other.ask("clear_session")
    if search is None:
        await pair.ask("create_branch_from_turn", 1, None)
    else:
        await pair.ask("create_branch_from_content", search, None)
    gone = await pair.ask("delete_branch", "alt")
    assert gone.error == "ValueError: Branch 'alt' does not exist"


async def test_a_reused_turn_number(pair: Pair) -> None:
    """Usage that was in flight when its turn was popped is never given to the turn that reuses the number."""
    await pair.ask("add_items", [user("one")])
    await pair.ask_each(
        ("store_run_usage", (run_result(5),)), ("pop_item", ()), ("add_items", ([user("another one")],))
    )
    assert (await pair.ask("get_turn_usage")).value == []
    await every_answer(pair, ["one"])


# Where turntree means to be unlike the SDK


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
async def test_not_json_is_refused(pair: Pair, number: float) -> None:
    """NaN and Infinity, which are not JSON and which other languages cannot read, are refused with the item's place."""
    item: Any = {"type": "function_call_output", "call_id": "1", "output": number}
    with pytest.raises(InvalidArgument, match=r"items\[1\]"):
        await pair.turntree.add_items([user("one"), item])
    assert await pair.turntree.get_items() == []


@pytest.mark.parametrize("session_id", ["", " \t", "x" * 257, "\ud800"])
def test_session_ids_that_are_refused(session_id: str) -> None:
    """A session id that is blank, longer than 256 bytes or not Unicode is refused when the session is made."""
    with pytest.raises(InvalidArgument, match="session_id"):
        TurntreeSession(session_id)


@pytest.mark.parametrize("branch_id", ["x" * 257, "\ud800"])
async def test_branch_names_that_are_refused(pair: Pair, branch_id: str) -> None:
    """A new branch's name that is longer than 256 bytes or not Unicode is refused; read or left, it does not exist."""
    await pair.turntree.add_items([user("one")])
    with pytest.raises(ValueError, match="new_branch_id"):
        await pair.turntree.create_branch_from_turn(1, branch_id)
    assert await pair.turntree.get_items(branch_id=branch_id) == []
    for leave in (pair.turntree.switch_to_branch, pair.turntree.delete_branch):
        with pytest.raises(ValueError, match="does not exist"):
            await leave(branch_id)


async def test_texts_that_cannot_be_searched_for(pair: Pair) -> None:
    """A text to search for that is no Unicode, or longer than 64 KiB, is refused; the items may hold such text."""
    await pair.ask("add_items", [user("one \ud800")])
    for text in ("\ud800", "x" * 65_537):
        for search in (pair.turntree.find_turns_by_content, pair.turntree.create_branch_from_content):
            with pytest.raises(InvalidArgument, match="content"):
                await search(text)


@pytest.mark.parametrize("count", [-1, 1.5, 2**63])
async def test_usage_that_is_no_count(pair: Pair, count: float, caplog: pytest.LogCaptureFixture) -> None:
    """Usage with a count that is negative or no whole number in 64 bits is not recorded, and the log says so."""
    await pair.ask("add_items", [user("one")])
    usage = SimpleNamespace(requests=1, input_tokens=count, output_tokens=1, total_tokens=1)
    await pair.turntree.store_run_usage(SimpleNamespace(context_wrapper=SimpleNamespace(usage=usage)))  # type: ignore[arg-type]
    assert await pair.turntree.get_turn_usage(1) == {}
    assert "input_tokens" in caplog.text


async def test_content_that_no_text_can_be_in(pair: Pair) -> None:
    """Content that is neither text nor parts is passed over by a search, which the SDK's class gives up."""
    await pair.ask("add_items", [user("one"), user(None)])
    assert [row["turn"] for row in await pair.turntree.find_turns_by_content("n")] == [1]


@pytest.mark.parametrize(
    "part", [{"type": []}, {"type": {}}, {"type": "\ud800"}, {"type": "function_call", "name": "\ud800"}]
)
async def test_types_that_the_sdk_refuses(pair: Pair, part: Any) -> None:
    """An item whose type or tool the SDK's class cannot note is kept as it is."""
    await pair.turntree.add_items([user("one"), part])
    assert await pair.turntree.get_items() == [user("one"), part]


async def test_compaction_of_one_branch_only(pair: Pair) -> None:
    """A compaction replaces the items of the current branch; that of the SDK's class removes the other branches."""
    summary = assistant("all that was said")

    async def compact(**_: Any) -> Any:
        return SimpleNamespace(output=[summary], usage=None)

    client = cast(AsyncOpenAI, SimpleNamespace(responses=SimpleNamespace(compact=compact)))
    await pair.ask("add_items", [user("one"), user("two")])
    await pair.ask("create_branch_from_turn", 2, "other")
    await pair.ask("add_items", [user("three")])
    await pair.ask("switch_to_branch", "main")
    for session in pair.sides:
        wrapped = OpenAIResponsesCompactionSession(SESSION_ID, session, client=client, compaction_mode="input")
        await wrapped.run_compaction({"force": True})
    await pair.ask("get_items")
    kept = [sorted(row["branch_id"] for row in await session.list_branches()) for session in pair.sides]
    assert kept == [["main"], ["main", "other"]]
