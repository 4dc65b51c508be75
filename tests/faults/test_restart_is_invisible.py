"""A server that is killed and started again in the middle of a conversation is not seen by the Agents SDK's Runner."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import agents
import pytest
from agents import Agent, Runner, function_tool
from agents.testing.model import ModelStep, ScriptedModel, assistant_message, function_call
from turntree.openai_agents import TurntreeSession

from tests.faults.report import tallied
from tests.faults.rounds import new_seed, rounds
from tests.support.conversation import heard, outline, usage
from tests.support.server_process import ServerProcess

agents.set_tracing_disabled(True)

WITHIN_S = 60
TURNS = 4


class Outages:
    """Kills a server and starts it again, beside the conversation that it serves."""

    def __init__(self, server: ServerProcess, rng: random.Random) -> None:
        self.count = 0
        self._server = server
        self._rng = rng
        self._going: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Kill the server, perhaps in a moment; it comes back by itself, and is not killed twice at once."""
        if self._going is None or self._going.done():
            self._going = asyncio.create_task(self._kill_and_start(self._rng.uniform(0, 0.01)))

    async def _kill_and_start(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self.count += 1
        self._server.kill()
        await asyncio.to_thread(self._server.start_again)

    async def over(self) -> None:
        """Wait until the server is back."""
        if self._going is not None:
            await self._going


async def converse(session: TurntreeSession, outages: Outages) -> None:
    """Talk for some turns with tools, with an outage before, in and after each; then everything is there once."""
    called = 0

    @function_tool
    async def look_up(word: str) -> str:
        """Tell what a word means."""
        nonlocal called
        called += 1
        await outages.begin()
        return f"{word} means much"

    steps = []
    for turn in range(1, TURNS + 1):
        steps.append(ModelStep([function_call("look_up", {"word": "x"}, call_id=f"c{turn}")], usage=usage(10)))
        steps.append(ModelStep([assistant_message(f"a{turn}")], usage=usage(20)))
    model = ScriptedModel(steps)
    agent = Agent("Assistant", model=model, tools=[look_up])
    expected: list[str] = []
    for turn in range(1, TURNS + 1):
        await outages.begin()
        if turn % 2:
            result: Any = await Runner.run(agent, f"q{turn}", session=session)
        else:
            result = Runner.run_streamed(agent, f"q{turn}", session=session)
            async for _ in result.stream_events():
                pass
        await outages.begin()
        await session.store_run_usage(result)
        expected += [f"q{turn}", "function_call", "function_call_output", f"a{turn}"]
        assert heard(model) == expected[:-1]
        assert outline(await session.get_items()) == expected
    await outages.over()
    assert called == TURNS
    rows: Any = await session.get_turn_usage()
    assert [(row["user_turn_number"], row["requests"], row["input_tokens"]) for row in rows] == [
        (turn, 2, 30) for turn in range(1, TURNS + 1)
    ]


@pytest.mark.long
async def test_a_conversation_through_outages(tmp_path: Path) -> None:
    """With the server killed before, during and after turns, every run succeeds, and nothing is lost or there twice."""
    seed = new_seed()
    rng = random.Random(seed)
    server = await asyncio.to_thread(ServerProcess.start, tmp_path / "conversations.db")
    with tallied(f"a conversation of the Agents SDK, {TURNS} turns, the server killed throughout", seed) as tally:
        try:
            for number in range(rounds(1, 50)):
                async with asyncio.timeout(WITHIN_S):
                    outages = Outages(server, rng)
                    async with TurntreeSession(f"session {number}", url=server.address) as session:
                        await converse(session, outages)
                assert outages.count >= TURNS
                tally.rounds += 1
            server.stop()
        finally:
            server.kill()
