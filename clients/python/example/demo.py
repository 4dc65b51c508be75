"""What turntree is for, on one screen: `make demo`, or `python clients/python/example/demo.py [--model NAME]`.

A real server in another process keeps a conversation of an agent of the OpenAI Agents SDK. A second client follows it
live while it happens. It is branched, goes on in both branches, and its usage is told turn by turn.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agents import Agent, Runner, function_tool, set_tracing_disabled
from agents.testing.model import ModelStep, ScriptedModel, assistant_message, function_call
from agents.usage import Usage
from turntree.openai_agents import TurntreeSession

SESSION_ID = "weekend in Lisbon"
SERVE = ("serve", "--db", "conversations.db", "--listen", "127.0.0.1:0")
PRINTED_WITHIN_S = 20
SERVER_STOPS_WITHIN_S = 20


async def demo(model: str | None) -> None:
    """The whole story, from top to bottom."""
    with TemporaryDirectory() as folder, serving(Path(folder)) as (url, announcement):
        agent = Agent(
            "Concierge",
            instructions="You plan a weekend. Use the tools. Answer in one short sentence.",
            tools=[get_weather, find_hotel, book_hotel],
            model=model or scripted_model(),
        )
        print(f"$ turntree {' '.join(SERVE)}\n{announcement}")
        async with TurntreeSession(SESSION_ID, url=url) as session:

            async def ask(onlooker: Onlooker, question: str) -> None:
                result = await Runner.run(agent, question, session=session)
                await session.store_run_usage(result)
                await onlooker.has_seen(len(await session.get_items()))

            title("1. An agent talks; a second client follows the conversation live, item by item")
            async with Onlooker(url, "main") as onlooker:
                await ask(onlooker, "How will the weather be in Lisbon?")
                await ask(onlooker, "Find me a hotel by the river.")
                await ask(onlooker, "Book it for two nights.")

            title("2. What if? Branch before turn 3 and go another way; 'main' stays as it is")
            await session.create_branch_from_turn(3, "cheaper")
            async with Onlooker(url, "cheaper") as onlooker:
                await ask(onlooker, "Too expensive. Is there anything up the hill?")
                await ask(onlooker, "Book that for two nights.")

            title("3. Back on 'main', which knows nothing of it")
            await session.switch_to_branch("main")
            async with Onlooker(url, "main") as onlooker:
                await ask(onlooker, "How do I get there from the airport?")

            title("4. The branches, turn by turn")
            await print_tree(session)

            title("5. What each turn said, did and cost")
            await print_usage(session)


class Onlooker:
    """A second client of the session, which prints every item of a branch as soon as it is stored."""

    def __init__(self, url: str, branch_id: str) -> None:
        self._session = TurntreeSession(SESSION_ID, url=url)
        self._branch_id = branch_id
        self._seen_count = -1
        self._more = asyncio.Event()

    async def __aenter__(self) -> Onlooker:
        self._watching = asyncio.create_task(self._watch())
        await self.has_seen(0)
        return self

    async def _watch(self) -> None:
        began = time.monotonic()
        async for change in self._session.watch(self._branch_id):
            if self._seen_count < 0:  # the first change is what the branch holds already
                self._seen_count = 0
                if change.items:
                    print(f"          {self._branch_id:7}  turns 1 to {change.turns[-1]} are there already")
            else:
                for item, turn in zip(change.items, change.turns, strict=True):
                    elapsed = f"{time.monotonic() - began:6.2f} s"
                    print(f"{elapsed}  {self._branch_id:7}  turn {turn}  {one_line(item)}")
            self._seen_count += len(change.items)
            self._more.set()

    async def has_seen(self, count: int) -> None:
        """Wait until so many items were printed, or the watch failed."""
        async with asyncio.timeout(PRINTED_WITHIN_S):
            while self._seen_count < count:
                self._more.clear()
                more = asyncio.create_task(self._more.wait())
                await asyncio.wait({self._watching, more}, return_when=asyncio.FIRST_COMPLETED)
                if self._watching.done():
                    self._watching.result()

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        await asyncio.wait({self._watching})
        await self._session.close()


async def print_tree(session: TurntreeSession) -> None:
    """Draw where each branch leaves `main`."""
    for branch in await branches_main_first(session):
        branch_id, turn_count = branch["branch_id"], branch["user_turns"]
        shared = 0 if branch_id == "main" else (await session.compare_branches("main", branch_id)).common_turn
        line = "".join(f"──({turn})" for turn in range(shared + 1, turn_count + 1))
        print(f"  {branch_id:9}" + (" " * (5 * shared - 3) + "└─" if shared else "") + line)


async def print_usage(session: TurntreeSession) -> None:
    """A table of turns with their question, tools and tokens, as each branch has them; then the total."""
    print(f"  {'branch':9}{'turn':>4}  {'question':46}{'tools':14}{'requests':>8}{'tokens':>8}")
    for branch in await branches_main_first(session):
        branch_id = branch["branch_id"]
        usages: Any = await session.get_turn_usage(branch_id=branch_id)
        usage_by_turn = {usage["user_turn_number"]: usage for usage in usages}
        async for turn in session.stream_turns(branch_id):
            question = one_line(turn.items[0]).removeprefix("user").strip()
            tools = " ".join(name for name in turn.tool_names if name)
            usage = usage_by_turn.get(turn.turn)
            spent = f"{usage['requests']:>8}{usage['total_tokens']:>8}" if usage else f"{'(on main)':>16}"
            print(f"  {branch_id:9}{turn.turn:>4}  {question:46}{tools:14}{spent}")
    total = await session.get_session_usage()
    if total is not None:
        print(f"  {'all':9}{total['total_turns']:>4}{'':62}{total['requests']:>8}{total['total_tokens']:>8}")


async def branches_main_first(session: TurntreeSession) -> list[dict[str, Any]]:
    """The branches; those made within the same second come in no certain order otherwise."""
    return sorted(await session.list_branches(), key=lambda branch: branch["branch_id"] != "main")


def title(text: str) -> None:
    """Begin a part of the story."""
    print(f"\n{text}")


def one_line(item: Any) -> str:
    """An item of the history in a few words."""
    match item.get("type", "message"):
        case "function_call":
            kind, text = "call", f"{item['name']}({item['arguments']})"
        case "function_call_output":
            kind, text = "output", str(item["output"])
        case "message":
            content = item["content"]
            kind = item["role"]
            text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        case other:
            kind, text = other, ""
    text = " ".join(text.split())
    return f"{kind:9}  {text if len(text) <= 56 else text[:55] + '…'}"


# What the agent has: three tools, and a model that needs no key


@function_tool
async def get_weather(city: str) -> str:
    """Tell the weather of the weekend."""
    await asyncio.sleep(0.1)
    return f"{city}: sunny, 24 degrees"


@function_tool
async def find_hotel(place: str) -> str:
    """Find a hotel at a place of the town."""
    await asyncio.sleep(0.1)
    return "Casa do Tejo, 140 a night" if "river" in place else "Pensão do Monte, 60 a night"


@function_tool
async def book_hotel(hotel: str, nights: int) -> str:
    """Book a hotel."""
    await asyncio.sleep(0.1)
    return f"booked {hotel}, {nights} nights"


def scripted_model() -> ScriptedModel:
    """The SDK's model for tests: its answers stand here, and the tokens they would have cost."""

    def step(output: Any, input_tokens: int, output_tokens: int) -> ModelStep:
        usage = Usage(1, input_tokens, output_tokens=output_tokens, total_tokens=input_tokens + output_tokens)
        return ModelStep([output], usage=usage)

    def call(call_id: str, name: str, **arguments: Any) -> Any:
        return function_call(name, arguments, call_id=call_id)

    return ScriptedModel(
        [
            step(call("c1", "get_weather", city="Lisbon"), 212, 16),
            step(assistant_message("Sunny and 24 degrees: pack light."), 245, 11),
            step(call("c2", "find_hotel", place="by the river"), 271, 18),
            step(assistant_message("Casa do Tejo, for 140 a night."), 306, 14),
            step(call("c3", "book_hotel", hotel="Casa do Tejo", nights=2), 335, 22),
            step(assistant_message("Casa do Tejo is yours for two nights."), 371, 12),
            step(call("c4", "find_hotel", place="up the hill"), 339, 17),
            step(assistant_message("Pensão do Monte, for 60 a night."), 373, 15),
            step(call("c5", "book_hotel", hotel="Pensão do Monte", nights=2), 402, 23),
            step(assistant_message("Pensão do Monte is yours for two nights."), 439, 13),
            step(assistant_message("Take the red line, then walk along the river."), 401, 14),
        ]
    )


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, str]]:
    """A server on a new database: its URL, and the line in which it says that it answers."""
    command = [str(Path(sys.executable).with_name("turntree")), *SERVE]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)  # noqa: S603
    assert server.stdout is not None
    try:
        announcement = server.stdout.readline().strip()
        if not announcement:
            sys.exit(f"the server did not start: {(folder / 'server.log').read_text()}")
        yield f"turntree://{announcement.split()[4]}", announcement
    finally:
        server.terminate()
        server.communicate(timeout=SERVER_STOPS_WITHIN_S)


def main() -> None:
    """Read the command line, and run the demo."""
    parser = argparse.ArgumentParser(description="Show what turntree is for.")
    parser.add_argument("--model", help="a real model of OpenAI, by name; needs OPENAI_API_KEY (default: a script)")
    model = parser.parse_args().model
    if model and not os.environ.get("OPENAI_API_KEY"):
        parser.error(f"--model {model} needs a key: set OPENAI_API_KEY, or leave --model away for a script of answers")
    set_tracing_disabled(True)
    asyncio.run(demo(model))


if __name__ == "__main__":
    main()
