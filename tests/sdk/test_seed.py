"""The examples of the page on AdvancedSQLiteSession, with the import and the constructor changed and nothing else.

Each also runs unchanged on the SDK's own class, so that what it is expected to print is what it always printed.
"""

from __future__ import annotations

import ast
import inspect
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, Runner, function_tool
from agents.extensions.memory import AdvancedSQLiteSession
from agents.models.multi_provider import MultiProvider
from agents.testing.model import ScriptedModel, assistant_message, function_call
from agents.usage import Usage
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails
from turntree.openai_agents import TurntreeSession

PAGE = (Path(__file__).parent / "seed" / "advanced_sqlite_session.txt").read_text()
EXAMPLES = dict(re.findall(r"^## ([^\n]+)\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))

CHANGES = (
    (
        "from agents.extensions.memory import AdvancedSQLiteSession",
        "from turntree.openai_agents import TurntreeSession",
    ),
    (r"AdvancedSQLiteSession\(", "TurntreeSession(\n    url=url,"),
    (r"\n    (db_path|create_tables)=.*", ""),
)

USAGE = Usage(
    requests=1,
    input_tokens=100,
    input_tokens_details=InputTokensDetails.model_validate({"cached_tokens": 40, "cache_write_tokens": 3}),
    output_tokens=20,
    output_tokens_details=OutputTokensDetails(reasoning_tokens=5),
    total_tokens=120,
)

Run = Callable[[str], Awaitable[list[str]]]


@function_tool
def get_weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


@pytest.fixture(params=["turntree", "sdk"])
def is_changed(request: pytest.FixtureRequest) -> bool:
    """Whether the example is changed to use turntree."""
    return bool(request.param == "turntree")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    """The model of every agent that names none."""
    scripted = ScriptedModel(default_usage=USAGE)
    monkeypatch.setattr(MultiProvider, "get_model", lambda self, name: scripted)
    return scripted


@pytest.fixture
async def names(
    is_changed: bool,
    url: str,
    session_id: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[dict[str, Any]]:
    """The names that an example sees: what examples before it on the page have made."""
    (tmp_path / "path" / "to").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    session: Any = (
        TurntreeSession(session_id, url=url)
        if is_changed
        else AdvancedSQLiteSession(session_id=session_id, create_tables=True)
    )
    made = {"url": url, "Runner": Runner, "agent": Agent("Assistant", tools=[get_weather]), "session": session}
    yield made
    for each in {session, made["session"]}:
        closed = each.close()
        if inspect.isawaitable(closed):
            await closed


@pytest.fixture
def run(is_changed: bool, names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs Python text of the page and returns the lines that it prints."""

    async def run_text(source: str) -> list[str]:
        if is_changed:
            for old, new in CHANGES:
                source = re.sub(old, new, source)
            assert "SQLite" not in source
        code = compile(source, "<seed>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        capsys.readouterr()
        awaitable = eval(code, names)
        if awaitable is not None:
            await awaitable
        return capsys.readouterr().out.splitlines()

    return run_text


async def talk(names: dict[str, Any], model: ScriptedModel, *questions: str) -> None:
    """A conversation before the example; to answer about the weather takes a tool."""
    for number, question in enumerate(questions):
        if "weather" in question:
            model.enqueue([function_call("get_weather", {"city": "Paris"}, call_id=f"call_{number}")])
        model.enqueue([assistant_message(f"answer {number + 1}")])
        result = await Runner.run(names["agent"], question, session=names["session"])
        await names["session"].store_run_usage(result)


def questions_sent(model: ScriptedModel, call: int) -> list[str]:
    """What the user said, as the model saw it at one of its calls."""
    sent: list[Any] = model.calls[call].input
    return [item["content"] for item in sent if item.get("role") == "user"]


def test_no_example_is_left_out() -> None:
    """Every Python example of the page is run here, and every change is made somewhere."""
    assert list(EXAMPLES) == [
        "Quick start",
        "Initialization",
        "Storing usage data",
        "Retrieving usage statistics",
        "Creating branches",
        "Branch management",
        "Branch workflow example",
        "Conversation analysis",
    ]
    assert len(EXAMPLES) == PAGE.count("```python")
    assert all(re.search(old, PAGE) for old, _ in CHANGES)


async def test_quick_start(run: Run, is_changed: bool, names: dict[str, Any], model: ScriptedModel) -> None:
    """The quick start remembers the first question at the second, and keeps the usage of both turns."""
    model.extend([[assistant_message("San Francisco")], [assistant_message("California")]])
    assert await run(EXAMPLES["Quick start"]) == ["San Francisco", "California"]
    assert (type(names["session"]) is TurntreeSession) is is_changed
    assert names["session"].session_id == "conversation_123"
    assert questions_sent(model, 1) == ["What city is the Golden Gate Bridge in?", "What state is it in?"]
    assert [turn["user_turn_number"] for turn in await names["session"].get_turn_usage()] == [1, 2]


async def test_initialization(run: Run, names: dict[str, Any]) -> None:
    """A session is made with nothing but its id, with a place to be kept, and with a logger of the caller's."""
    assert await run(EXAMPLES["Initialization"]) == []
    assert names["session"].session_id == "session_456"
    assert names["session"]._logger is logging.getLogger("my_app")
    assert await names["session"].get_items() == []


async def test_storing_usage_data(run: Run, names: dict[str, Any], model: ScriptedModel) -> None:
    """The usage of a run is kept with all its details."""
    model.enqueue([assistant_message("Hello to you")])
    await run(EXAMPLES["Storing usage data"])
    assert await names["session"].get_turn_usage(1) == {
        "requests": 1,
        "input_tokens": 100,
        "output_tokens": 20,
        "total_tokens": 120,
        "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 3, "cache_write_tokens_details": None},
        "output_tokens_details": {"reasoning_tokens": 5},
    }


async def test_retrieving_usage_statistics(run: Run, names: dict[str, Any], model: ScriptedModel) -> None:
    """Usage is told for the session, for a branch, for each turn and for one turn."""
    await talk(names, model, "hello", "what is the weather?")
    assert await run(EXAMPLES["Retrieving usage statistics"]) == [
        "Total requests: 3",
        "Total tokens: 360",
        "Input tokens: 300",
        "Output tokens: 60",
        "Total turns: 2",
        "Turn 1: 120 tokens",
        "  Input details: {'cache_write_tokens': 3, 'cached_tokens': 40, 'cache_write_tokens_details': None}",
        "  Output details: {'reasoning_tokens': 5}",
        "Turn 2: 240 tokens",
        "  Input details: {'cache_write_tokens': 6, 'cached_tokens': 80, 'cache_write_tokens_details': None}",
        "  Output details: {'reasoning_tokens': 10}",
    ]
    assert names["branch_usage"] == names["session_usage"]
    assert (names["turn_2_usage"]["requests"], names["turn_2_usage"]["total_tokens"]) == (2, 240)


async def test_creating_branches(run: Run, names: dict[str, Any], model: ScriptedModel) -> None:
    """A branch is made from a turn, with a name and without, and from a turn that is searched for.

    The example's parts are alternatives: each begins at the branch where the conversation was held.
    """
    await talk(names, model, "hello", "what is the weather?")
    listing, unnamed, named, searched = re.split(r"\n\n", EXAMPLES["Creating branches"].rstrip())
    assert await run(listing) == [
        "Turn 1: hello",
        "Can branch: True",
        "Turn 2: what is the weather?",
        "Can branch: True",
    ]
    (created,) = await run(unnamed)
    assert re.fullmatch(r"Created branch: branch_from_turn_2_\w+", created)
    assert [turn["content"] for turn in await names["session"].get_conversation_turns()] == ["hello"]
    with pytest.raises(ValueError, match="Turn 2"):
        await run(named)
    for part, branch_id in ((named, "alternative_path"), (searched, "weather_focus")):
        await names["session"].switch_to_branch("main")
        await run(part)
        assert names["branch_id"] == branch_id
        assert [turn["content"] for turn in await names["session"].get_conversation_turns()] == ["hello"]


async def test_branch_management(run: Run, names: dict[str, Any], model: ScriptedModel) -> None:
    """Branches are listed, switched between and deleted."""
    await talk(names, model, "hello", "what is the weather?")
    names["branch_id"] = await names["session"].create_branch_from_turn(2, "alternative_path")
    lines = await run(EXAMPLES["Branch management"])
    assert sorted(lines) == ["alternative_path: 1 turns, 2 messages (current)", "main: 2 turns, 6 messages"]
    remaining = await names["session"].list_branches()
    assert [(row["branch_id"], row["is_current"]) for row in remaining] == [("main", True)]


async def test_branch_workflow(run: Run, names: dict[str, Any], model: ScriptedModel) -> None:
    """Two branches go on from a common beginning, and neither sees what the other was asked."""
    model.extend([[assistant_message(f"answer {number}")] for number in range(4)])
    await run(EXAMPLES["Branch workflow example"])
    asked = ["What's the capital of France?", "What's the weather like there?", "How expensive is it to visit?"]
    assert questions_sent(model, 3) == asked
    assert questions_sent(model, 2) == [asked[0], "What are the main tourist attractions in Paris?"]
    turns = await names["session"].get_conversation_turns(branch_id="weather_focus")
    assert [turn["content"] for turn in turns] == questions_sent(model, 2)
    branches = await names["session"].list_branches()
    assert {row["branch_id"]: row["message_count"] for row in branches} == {"main": 6, "weather_focus": 4}
    assert (await names["session"].get_session_usage())["total_tokens"] == 4 * 120


async def test_conversation_analysis(run: Run, names: dict[str, Any], model: ScriptedModel) -> None:
    """A conversation is outlined by turns, its tools are counted, and its turns are found by what they say."""
    await talk(names, model, "hello", "what is the weather?")
    assert await run(EXAMPLES["Conversation analysis"]) == [
        "Turn 1: 2 items",
        "  - user",
        "  - assistant",
        "Turn 2: 4 items",
        "  - user",
        "  - function_call (tool: get_weather)",
        "  - function_call_output",
        "  - assistant",
        "get_weather: used 1 times in turn 2",
        "Turn 2: what is the weather?",
    ]
