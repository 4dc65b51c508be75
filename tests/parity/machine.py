"""Random sequences of every public method, on both implementations side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.parity import strategies as draw
from tests.parity.pairs import BranchNames, Pair, every_answer
from tests.parity.worlds import World

who = st.sampled_from("AAABBC")
"""A and B are two objects of one session, as two processes have them; C is another session of the same file."""

_SETTINGS = {"B": {"limit": 3}}


class ParityMachine(RuleBasedStateMachine):
    """Asks both implementations the same at every step, and at the end all there is to ask, of both files."""

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.world = world
        self.loop = loop
        self.failed = False
        self.searches = [""]
        shared = BranchNames()
        self.names = {"A": shared, "B": shared, "C": BranchNames()}
        first, second = world.next_session_id(), world.next_session_id()
        self.session_ids = {"A": first, "B": first, "C": second}
        self.pairs: dict[str, Pair] = {name: self.run(self.opened(name)) for name in "ABC"}
        world.seen["sequences"] += 1

    def run(self, step: Coroutine[Any, Any, Any]) -> Any:
        """Take a step on the event loop."""
        try:
            return self.loop.run_until_complete(step)
        except BaseException:
            self.failed = True
            raise

    def ask(self, name: str, method: str, *arguments: Any) -> Any:
        """Ask both, and compare."""
        return self.run(self.pairs[name].ask(method, *arguments))

    async def opened(self, name: str) -> Pair:
        """New session objects of both."""
        return await self.world.pair(self.session_ids[name], self.names[name], _SETTINGS.get(name))

    @rule(name=who, items=draw.batches)
    def add_items(self, name: str, items: list[Any]) -> None:
        self.ask(name, "add_items", items)

    @rule(name=who, items=draw.turns)
    def add_turns(self, name: str, items: list[Any]) -> None:
        self.ask(name, "add_items", items)

    @rule(name=who, items=draw.tools)
    def use_tools(self, name: str, items: list[Any]) -> None:
        self.ask(name, "add_items", items)

    @rule(name=who, count=st.integers(1, 4))
    def pop_items(self, name: str, count: int) -> None:
        for _ in range(count):
            self.ask(name, "pop_item")

    @rule(name=who, result=draw.results())
    def store_run_usage(self, name: str, result: Any) -> None:
        self.ask(name, "store_run_usage", result)

    @rule(name=who, turn=draw.turn_numbers, branch=draw.new_names)
    def create_branch_from_turn(self, name: str, turn: int, branch: str | None) -> None:
        self.ask(name, "create_branch_from_turn", turn, branch)

    @rule(name=who, search=draw.searches, branch=draw.new_names)
    def create_branch_from_content(self, name: str, search: str, branch: str | None) -> None:
        self.ask(name, "create_branch_from_content", search, branch)

    @rule(name=who, items=draw.turns, branch=draw.new_names, result=draw.results())
    def add_turns_and_fork(self, name: str, items: list[Any], branch: str | None, result: Any) -> None:
        self.ask(name, "add_items", items)
        self.ask(name, "store_run_usage", result)
        self.ask(name, "create_branch_from_turn", 2, branch)

    @rule(name=who, branch=draw.branches)
    def switch_to_branch(self, name: str, branch: draw.Branch) -> None:
        self.ask(name, "switch_to_branch", branch)

    @rule(name=who, branch=draw.branches, force=st.booleans())
    def delete_branch(self, name: str, branch: draw.Branch, force: bool) -> None:
        self.ask(name, "delete_branch", branch, force)

    @rule(name=who, call=draw.reads)
    def read(self, name: str, call: draw.Call) -> None:
        self.ask(name, call[0], *call[1])

    @rule(name=who, search=draw.searches, branch=draw.branches_or_current)
    def find_turns_by_content(self, name: str, search: str, branch: draw.Branch) -> None:
        self.searches.append(search)
        self.ask(name, "find_turns_by_content", search, branch)

    @rule(name=who, others_name=who, fork=st.booleans(), items=draw.turns, calls=draw.late_calls)
    def clear_session(self, name: str, others_name: str, fork: bool, items: list[Any], calls: list[draw.Call]) -> None:
        """Clear a session while another object of it is on a branch, which may not know it when it goes on."""
        if fork:
            self.ask(name, "add_items", items)
            self.ask(name, "create_branch_from_turn", 2, None)
        self.ask(others_name, "clear_session")
        for method, arguments in calls:
            self.ask(name, method, *arguments)

    @rule(name=who, calls=st.lists(draw.ordered_calls, min_size=2, max_size=5))
    def calls_in_flight(self, name: str, calls: list[draw.Call]) -> None:
        self.run(self.pairs[name].ask_each(*calls))

    @rule(name=who, items=draw.batches, branch=draw.branches)
    def append_and_switch(self, name: str, items: list[Any], branch: draw.Branch) -> None:
        self.run(self.pairs[name].ask_each(("add_items", (items,)), ("switch_to_branch", (branch,))))

    @rule(
        name=who,
        call=st.one_of(
            draw.call("add_items", draw.turns), draw.call("store_run_usage", draw.results()), draw.call("pop_item")
        ),
    )
    def cancel(self, name: str, call: draw.Call) -> None:
        method, arguments = call
        if method != "store_run_usage" or arguments[0].context_wrapper.usage is not None:
            self.run(self.pairs[name].ask_and_cancel(method, *arguments))

    @rule(name=who)
    def reopen(self, name: str) -> None:
        self.run(self.pairs[name].close())
        self.pairs[name] = self.run(self.opened(name))

    def teardown(self) -> None:
        """Compare all answers of every object, then those of each implementation on the other's file."""
        searches = self.searches[-2:]
        answers = {}
        try:
            for name in () if self.failed else "ABC":
                answers[name] = self.run(every_answer(self.pairs[name], searches))
        finally:
            for pair in self.pairs.values():
                self.loop.run_until_complete(pair.close())
        for name in () if self.failed else "AC":
            assert self.run(self.answers_across(name, searches)) == answers[name]

    async def answers_across(self, name: str, searches: list[str]) -> list[list[str]]:
        """All answers about a session, of each implementation on the other's file."""
        pair = await self.world.crossed(self.session_ids[name], self.names[name])
        try:
            return await every_answer(pair, searches)
        finally:
            await pair.close()
