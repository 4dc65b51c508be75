"""The SDK's Runner with its history on a server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from agents import Agent, Runner, RunState, function_tool
from agents.testing.model import ModelStep, ScriptedModel, assistant_message, function_call
from turntree.openai_agents import TurntreeSession

from tests.sdk.conftest import OpenSession
from tests.support.conversation import answering, heard, outline, usage

SUBPROCESS_S_MAX = 60


@function_tool
def look_up(word: str) -> str:
    """Tell what a word means."""
    return f"{word} means much"


@function_tool(needs_approval=True)
def remove(path: str) -> str:
    """Remove a file."""
    return f"{path} is gone"


@pytest.fixture
def default_loop() -> Iterator[None]:
    """An event loop for `run_sync`, which leaves the one it finds open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


async def test_run(session: TurntreeSession) -> None:
    """Each run is given what was said in the runs before it."""
    model = answering("a1", "a2", "a3")
    agent = Agent("Assistant", model=model)
    for question in ("q1", "q2", "q3"):
        await Runner.run(agent, question, session=session)
    assert [heard(model, call) for call in range(3)] == [
        ["q1"],
        ["q1", "a1", "q2"],
        ["q1", "a1", "q2", "a2", "q3"],
    ]
    assert outline(await session.get_items()) == ["q1", "a1", "q2", "a2", "q3", "a3"]


async def test_run_streamed(session: TurntreeSession) -> None:
    """A streamed run leaves the same history as one that is not streamed, and is given the same."""
    model = ScriptedModel(
        [
            [assistant_message("a1")],
            [function_call("look_up", {"word": "tree"}, call_id="c1")],
            [assistant_message("a2")],
        ]
    )
    agent = Agent("Assistant", model=model, tools=[look_up])
    for question in ("q1", "q2"):
        result = Runner.run_streamed(agent, question, session=session)
        types = {event.type async for event in result.stream_events()}
        assert "raw_response_event" in types
    assert heard(model) == ["q1", "a1", "q2", "function_call", "function_call_output"]
    assert outline(await session.get_items()) == [*heard(model), "a2"]


@pytest.mark.usefixtures("default_loop")
def test_run_sync(url: str, session_id: str) -> None:
    """Runs outside any event loop share one history."""
    session = TurntreeSession(session_id, url=url)
    model = answering("a1", "a2")
    agent = Agent("Assistant", model=model)
    assert [Runner.run_sync(agent, question, session=session).final_output for question in ("q1", "q2")] == ["a1", "a2"]
    assert heard(model) == ["q1", "a1", "q2"]
    asyncio.get_event_loop_policy().get_event_loop().run_until_complete(session.close())


def test_one_event_loop_after_another(url: str, session_id: str) -> None:
    """One session object is used from as many event loops as there are runs."""
    session = TurntreeSession(session_id, url=url)
    model = answering("a1", "a2", "a3")
    agent = Agent("Assistant", model=model)
    for question in ("q1", "q2", "q3"):
        asyncio.run(Runner.run(agent, question, session=session))
    assert outline(asyncio.run(session.get_items())) == ["q1", "a1", "q2", "a2", "q3", "a3"]
    asyncio.run(session.close())


async def test_tools(session: TurntreeSession) -> None:
    """Tool calls and their outputs are part of the turn that asked for them."""
    model = ScriptedModel(
        [
            [
                function_call("look_up", {"word": "turn"}, call_id="c1"),
                function_call("look_up", {"word": "tree"}, call_id="c2"),
            ],
            [assistant_message("a1")],
            [assistant_message("a2")],
        ]
    )
    agent = Agent("Assistant", model=model, tools=[look_up])
    await Runner.run(agent, "q1", session=session)
    await Runner.run(agent, "q2", session=session)
    calls = ["function_call", "function_call", "function_call_output", "function_call_output"]
    assert heard(model) == ["q1", *calls, "a1", "q2"]
    assert await session.get_tool_usage() == [("look_up", 2, 1)]
    outputs: list[Any] = [item for item in await session.get_items() if item.get("type") == "function_call_output"]
    assert [(item["call_id"], item["output"]) for item in outputs] == [
        ("c1", "turn means much"),
        ("c2", "tree means much"),
    ]
    assert [item["type"] for item in (await session.get_conversation_by_turns())[1]] == ["user", *calls, "assistant"]


async def test_handoff(session: TurntreeSession) -> None:
    """An agent that takes over is given what was said before, and both are part of one turn."""
    model = ScriptedModel(
        [
            [function_call("transfer_to_expert", {}, call_id="c1")],
            [assistant_message("I know")],
            [assistant_message("still here")],
        ]
    )
    expert = Agent("Expert", model=model)
    agent = Agent("Assistant", model=model, handoffs=[expert])
    result = await Runner.run(agent, "q1", session=session)
    assert result.last_agent is expert
    await Runner.run(result.last_agent, "q2", session=session)
    assert heard(model) == ["q1", "function_call", "function_call_output", "I know", "q2"]
    assert [turn["content"] for turn in await session.get_conversation_turns()] == ["q1", "q2"]


@pytest.mark.parametrize("approved", [True, False])
async def test_human_in_the_loop(open_session: OpenSession, approved: bool) -> None:
    """A run that waits for consent is resumed from its JSON with another session object, and nothing is there twice."""
    model = ScriptedModel(
        [
            [assistant_message("a1")],
            [function_call("remove", {"path": "/tmp/x"}, call_id="c1")],
            [assistant_message("a2")],
            [assistant_message("a3")],
        ]
    )
    agent = Agent("Assistant", model=model, tools=[remove])
    first = open_session()
    await Runner.run(agent, "q1", session=first)
    interrupted = await Runner.run(agent, "q2", session=first)
    assert [interruption.name for interruption in interrupted.interruptions] == ["remove"]
    kept = interrupted.to_state().to_string()
    await first.close()

    state = await RunState.from_string(agent, kept)
    (interruption,) = state.get_interruptions()
    if approved:
        state.approve(interruption)
    else:
        state.reject(interruption)
    second = open_session()
    resumed = await Runner.run(agent, state, session=second)
    await second.store_run_usage(resumed)
    assert resumed.final_output == "a2"
    await Runner.run(agent, "q3", session=second)
    whole = ["q1", "a1", "q2", "function_call", "function_call_output", "a2", "q3", "a3"]
    assert outline(await second.get_items()) == whole
    assert heard(model) == whole[:-1]
    output: Any = (await second.get_items())[4]
    assert (output["output"] == "/tmp/x is gone") is approved
    usage_of_turns = await second.get_turn_usage()
    assert [turn["user_turn_number"] for turn in usage_of_turns] == [2]


async def test_usage_of_each_turn(session: TurntreeSession) -> None:
    """The usage of each run belongs to the turn it was recorded for, and adds up in the session's."""
    model = ScriptedModel(
        [
            ModelStep([assistant_message("a1")], usage=usage(10)),
            ModelStep([function_call("look_up", {"word": "x"}, call_id="c1")], usage=usage(20)),
            ModelStep([assistant_message("a2")], usage=usage(30)),
        ]
    )
    agent = Agent("Assistant", model=model, tools=[look_up])
    for question in ("q1", "q2"):
        await session.store_run_usage(await Runner.run(agent, question, session=session))
    turns = await session.get_turn_usage()
    assert [(turn["user_turn_number"], turn["requests"], turn["input_tokens"]) for turn in turns] == [
        (1, 1, 10),
        (2, 2, 50),
    ]
    assert await session.get_session_usage() == {
        "requests": 3,
        "input_tokens": 60,
        "output_tokens": 3,
        "total_tokens": 63,
        "total_turns": 2,
    }


async def test_branches_in_mid_conversation(session: TurntreeSession) -> None:
    """A run on a branch is given that branch and no other, and so is a run after a switch back."""
    model = answering("a1", "a2", "b2", "a3", "b3")
    agent = Agent("Assistant", model=model)

    async def ask(question: str) -> list[str]:
        await session.store_run_usage(await Runner.run(agent, question, session=session))
        return heard(model)

    await ask("q1")
    await ask("q2")
    await session.create_branch_from_turn(2, "other")
    assert await ask("r2") == ["q1", "a1", "r2"]
    await session.switch_to_branch("main")
    assert await ask("q3") == ["q1", "a1", "q2", "a2", "q3"]
    await session.switch_to_branch("other")
    assert await ask("r3") == ["q1", "a1", "r2", "b2", "r3"]
    assert outline(await session.get_items(branch_id="main")) == ["q1", "a1", "q2", "a2", "q3", "a3"]
    main_usage = await session.get_turn_usage(branch_id="main")
    other_usage = await session.get_turn_usage(branch_id="other")
    assert [turn["user_turn_number"] for turn in main_usage] == [1, 2, 3]
    assert [turn["user_turn_number"] for turn in other_usage] == [2, 3]


ADD_A_TURN = """
import asyncio, sys
from agents import Agent, Runner, set_tracing_disabled
from agents.testing.model import ScriptedModel, assistant_message
from turntree.openai_agents import TurntreeSession

async def main(url, session_id):
    set_tracing_disabled(True)
    model = ScriptedModel([[assistant_message("a2")]])
    await Runner.run(Agent("Assistant", model=model), "q2", session=TurntreeSession(session_id, url=url))
    print(len(model.calls[0].input))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_two_processes(url: str, session_id: str, session: TurntreeSession) -> None:
    """Two processes hold one conversation, and one that never closes its session ends in good order all the same."""
    model = answering("a1", "a3")
    agent = Agent("Assistant", model=model)
    await Runner.run(agent, "q1", session=session)
    other = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "error", "-c", ADD_A_TURN, url, session_id],
        capture_output=True,
        text=True,
        timeout=SUBPROCESS_S_MAX,
    )
    assert (other.returncode, other.stdout, other.stderr) == (0, "3\n", "")
    await Runner.run(agent, "q3", session=session)
    assert heard(model) == ["q1", "a1", "q2", "a2", "q3"]
