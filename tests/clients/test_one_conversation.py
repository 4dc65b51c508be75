"""Agents in several languages take turns in one conversation, each with its own SDK, runner and process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, Runner, function_tool, set_tracing_disabled
from agents.testing.model import ScriptedModel, assistant_message, function_call
from agents.usage import Usage
from turntree.openai_agents import TurntreeSession

from tests.support.server_process import serving
from tests.support.toolchains import CLIENTS, require_toolchain

PROGRAMS = {path.parent.parent.name: path for path in sorted(CLIENTS.glob("*/conformance/continue"))}
PROGRAM_ENDS_WITHIN_S = 60

SESSION_ID = "a weekend in Lisbon é🌳"
TOKENS = 15
"""What each request of a model takes, in every language."""


@function_tool
def get_weather(city: str) -> str:
    """The weather."""
    return f"Sunny in {city} ☀"


async def ask(session: TurntreeSession, question: str, *steps: list[Any]) -> ScriptedModel:
    """Let a Python agent answer, and record what that took."""
    model = ScriptedModel(steps)
    model.set_default_usage(Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=TOKENS))
    agent = Agent("Concierge in Python", tools=[get_weather], model=model)
    await session.store_run_usage(await Runner.run(agent, question, session=session))
    return model


async def take_over(program: Path, url: str) -> dict[str, Any]:
    """Let the agent of another language go on, and return what it says that it saw."""
    process = await asyncio.create_subprocess_exec(program, url, SESSION_ID, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await asyncio.wait_for(process.communicate(), PROGRAM_ENDS_WITHIN_S)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0
    seen: dict[str, Any] = json.loads(output)
    return seen


def described(item: Any) -> str:
    """An item in a word or two: who said it, or which call it is of."""
    return str(item.get("role") or f"{item['type']} {item['call_id']}")


@pytest.mark.parametrize("languages", [list(PROGRAMS), list(reversed(PROGRAMS))], ids=" ".join)
async def test_one_conversation(tmp_path: Path, languages: list[str]) -> None:
    """What agents in several languages wrote, branched and spent, every one of them reads right; in either order."""
    assert languages, "there is no client in another language that takes over a conversation"
    for language in languages:
        require_toolchain(language)
    set_tracing_disabled(True)
    with serving(tmp_path) as server:
        async with TurntreeSession(SESSION_ID, url=server.address) as session:
            call = function_call("get_weather", {"city": "Lisbon"}, call_id="call of python")
            steps = ([call], [assistant_message("Sunny é🌳.")])
            await ask(session, "How will the weather be?", *steps)
            asked = ["How will the weather be?"]
            history = ["user", "function_call call of python", "function_call_output call of python", "assistant"]
            tools: list[tuple[str, int, int]] = [("get_weather", 1, 1)]

            for language in languages:
                before = list(history)
                seen = await take_over(PROGRAMS[language], server.address)
                asked.append("Find me a hotel.")
                history += ["user"] + [
                    f"{kind} call of {language}" for kind in ("function_call", "function_call_output")
                ]
                history += ["assistant"]
                tools.append(("find_hotel", 1, len(asked)))
                assert seen["found"] == len(before)
                assert seen["model_saw"] == [len(before) + 1, len(before) + 3, len(before) + 1]
                assert [tuple(count) for count in seen["tools"]] == tools
                assert seen["usage"] == [[turn, 2 * TOKENS] for turn in range(1, len(asked) + 1)]

                items: list[Any] = list(await session.get_items())
                assert [described(item) for item in items] == history
                assert text_of(items[-1]).endswith("🌳")
                other: list[Any] = list(await session.get_items(branch_id=language))
                assert [described(item) for item in other] == [*before, "user", "assistant"]
                assert other[: len(before)] == items[: len(before)]
                assert await session.get_turn_usage(len(asked), language) != {}

            model = await ask(session, "Thank you.", [assistant_message("You are welcome.")])
            assert model.last_call is not None
            assert len(model.last_call.input) == len(history) + 1
            asked.append("Thank you.")

            assert [row["full_content"] for row in await session.get_conversation_turns()] == asked
            assert await session.get_tool_usage() == tools
            usage: Any = await session.get_turn_usage()
            expected = [(turn, 2 * TOKENS) for turn in range(1, len(asked))] + [(len(asked), TOKENS)]
            assert [(row["user_turn_number"], row["total_tokens"]) for row in usage] == expected
            branches = {row["branch_id"]: row["user_turns"] for row in await session.list_branches()}
            assert branches == {"main": len(asked), **{name: at + 2 for at, name in enumerate(languages)}}
            total = await session.get_session_usage()
            assert total is not None
            assert total["total_tokens"] == (2 * len(languages) + 2 + len(languages) + 1) * TOKENS


def text_of(item: Any) -> str:
    """The text of a message."""
    content = item["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
