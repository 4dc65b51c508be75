"""One session of each implementation, asked the same and compared."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.extensions.memory import AdvancedSQLiteSession
from turntree.openai_agents import TurntreeSession

from tests.parity.strategies import Call, Created

SessionLike = AdvancedSQLiteSession | TurntreeSession

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_AUTO_NAME = re.compile(r"(branch_from_turn_\d+)_\d{10}(_\d+)?")
_TIME_KEYS = ("timestamp", "created_at")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call came to: a value, or an error."""

    value: Any = None
    error: str = ""

    def __str__(self) -> str:
        return self.error or repr(self.value)


async def outcome(call: Awaitable[Any]) -> Outcome:
    """Wait for a call, and take its error as a result."""
    try:
        return Outcome(await call)
    except Exception as error:
        return Outcome(error=f"{type(error).__name__}: {error}")


@dataclass(slots=True)
class BranchNames:
    """The branches that were created: the names of each with the SDK and with turntree.

    They differ when the implementations made them up, because such names hold the second.
    """

    pairs: list[tuple[str, str]] = field(default_factory=list)

    def learn(self, sdk: str, turntree: str, *, made_up: bool) -> None:
        """Note the names of a new branch."""
        if made_up:
            matches = [_AUTO_NAME.fullmatch(name) for name in (sdk, turntree)]
            forked = [match and match[1] for match in matches]
            assert forked[0] == forked[1] is not None, (sdk, turntree)
        if (sdk, turntree) not in self.pairs:
            self.pairs.append((sdk, turntree))

    def resolved(self, argument: Any, side: int) -> Any:
        """An argument as one implementation (0: the SDK's, 1: turntree) knows it."""
        if not isinstance(argument, Created):
            return argument
        return self.pairs[argument.number % len(self.pairs)][side] if self.pairs else f"never {argument.number}"

    def shown(self, text: str, side: int) -> str:
        """A text in which the names that one implementation made up are replaced by numbers; the longest first."""
        made_up = [(pair[side], number) for number, pair in enumerate(self.pairs) if _AUTO_NAME.fullmatch(pair[side])]
        for name, number in sorted(made_up, key=lambda entry: -len(entry[0])):
            text = text.replace(name, f"<made up {number}>")
        return text

    def swapped(self) -> BranchNames:
        """The same, when each implementation has the other's file open."""
        return BranchNames([(turntree, sdk) for sdk, turntree in self.pairs])


def _comparable(method: str, value: Any) -> Any:
    """A return value without its times, whose form is checked instead."""
    if method == "list_branches":
        assert value == sorted(value, key=lambda row: row["created_at"]), "the oldest come first"
    if not (isinstance(value, list) and value and isinstance(value[0], dict) and set(_TIME_KEYS) & set(value[0])):
        return value
    if method not in ("list_branches", "get_conversation_turns", "find_turns_by_content"):
        return value
    for row in value:
        for key in _TIME_KEYS:
            assert key not in row or _TIMESTAMP.fullmatch(row[key]), row
    return [{name: entry for name, entry in row.items() if name not in _TIME_KEYS} for row in value]


def in_seconds_alike(rows: Sequence[Sequence[dict[str, Any]]]) -> bool:
    """Whether both implementations made their branches in the same seconds, so that their order can be compared."""
    ranks = []
    for side in rows:
        times = sorted({row["created_at"] for row in side})
        ranks.append({row["branch_id"]: times.index(row["created_at"]) for row in side})
    return ranks[0] == ranks[1]


class Disagreement(AssertionError):
    """The implementations came to different results."""


@dataclass
class Pair:
    """One session of each implementation, on the same session id of their own files."""

    sdk: AdvancedSQLiteSession
    turntree: TurntreeSession
    names: BranchNames
    seen: Counter[str]

    @property
    def sides(self) -> tuple[SessionLike, SessionLike]:
        """Both sessions, the SDK's first."""
        return self.sdk, self.turntree

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call one method of both and compare; returns what came of the SDK's."""
        (result,) = await self.ask_each((method, arguments))
        return result

    async def ask_each(self, *calls: Call) -> list[Outcome]:
        """Call methods of both, each implementation's all at once, and compare every result."""
        results = [await asyncio.gather(*(outcome(self._called(side, *call)) for call in calls)) for side in range(2)]
        for call, sdk, turntree in zip(calls, *results, strict=True):
            self._compare(call, sdk, turntree)
        return results[0]

    async def ask_and_cancel(self, method: str, *arguments: Any) -> None:
        """Call one method of both and cancel the call as soon as it has begun."""
        for side in range(2):
            task: asyncio.Future[Any] = asyncio.ensure_future(self._called(side, method, arguments))
            await asyncio.sleep(0)
            task.cancel()
            ended = await asyncio.gather(task, return_exceptions=True)
            self._note(method, "cancelled")
            assert isinstance(ended[0], asyncio.CancelledError), (method, side, ended)

    def _called(self, side: int, method: str, arguments: tuple[Any, ...]) -> Awaitable[Any]:
        call: Callable[..., Awaitable[Any]] = getattr(self.sides[side], method)
        return call(*(self.names.resolved(argument, side) for argument in arguments))

    def _compare(self, call: Call, sdk: Outcome, turntree: Outcome) -> None:
        method, arguments = call
        self._note(method, sdk.error.partition(":")[0] or "returned")
        if method.startswith("create_branch") and not sdk.error and not turntree.error:
            self.names.learn(sdk.value, turntree.value, made_up=arguments[-1] is None)
        shown = [self.shown(method, result, side) for side, result in enumerate((sdk, turntree))]
        if method == "list_branches" and not (
            not self.names.pairs and in_seconds_alike((sdk.value or [], turntree.value or []))
        ):
            shown = [sorted(rows) for rows in shown]
        if shown[0] != shown[1]:
            raise Disagreement(
                f"{method}{arguments}\n  the SDK:  {shown[0]}\n  turntree: {shown[1]}".encode(
                    "utf-8", "backslashreplace"
                ).decode()
            )

    def shown(self, method: str, result: Outcome, side: int) -> list[str]:
        """The result of one side as texts, in which 1, 1.0 and True differ, and so does the order of keys."""
        value = _comparable(method, result.value)
        rows = value if isinstance(value, list) and not result.error else [Outcome(value, result.error)]
        return [self.names.shown(str(row), side) for row in rows]

    def _note(self, method: str, what: str) -> None:
        self.seen[f"{method} {what}"] += 1

    async def close(self) -> None:
        """Close both sessions."""
        self.sdk.close()
        await self.turntree.close()


async def every_answer(pair: Pair, searches: Sequence[str]) -> list[list[str]]:
    """Ask both all there is to ask about a session; returns the answers by branch, in which no current branch shows."""
    branches = await pair.ask("list_branches")
    created = {names[0]: Created(number) for number, names in enumerate(pair.names.pairs)}
    names = [created.get(row["branch_id"], row["branch_id"]) for row in branches.value]
    await pair.ask("get_items", 2)
    calls: list[Call] = [("get_session_usage", ())]
    for branch in (None, *sorted(names, key=str)):
        calls += [
            ("get_items", (None, branch)),
            ("get_conversation_turns", (branch,)),
            ("get_conversation_by_turns", (branch,)),
            ("get_tool_usage", (branch,)),
            ("get_turn_usage", (None, branch)),
            ("get_session_usage", (branch,)),
            *(("find_turns_by_content", (search, branch)) for search in searches),
        ]
    outcomes = await pair.ask_each(*calls)
    return [
        pair.shown(method, answer, 0)
        for (method, arguments), answer in zip(calls, outcomes, strict=True)
        if not arguments or arguments[-1] is not None
    ]
