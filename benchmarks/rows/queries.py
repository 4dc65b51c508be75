"""Row 7: what AdvancedSQLiteSession can do besides reading and adding, on a branch of 10,000 items."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from benchmarks.contestants import ADVANCED, EMBEDDED, REMOTE, Bench, Session, fill
from benchmarks.items import ITEMS_A_TURN, ItemWriter
from benchmarks.measure import interleaved, percentile, timed
from benchmarks.report import Report

_ITEMS = 10_000
_TURNS = _ITEMS // ITEMS_A_TURN
_FORK_TARGET = 0.25
_QUERY_TARGET = 0.5

Query = Callable[[Any], Awaitable[object]]


async def against_advanced(bench: Bench, report: Report) -> None:
    """Row 7, by methods of both classes: queries after one more turn each time, and forks that are undone."""
    writer = ItemWriter("row 7")
    history = writer.history(_ITEMS)
    wanted = str(history[1_000 * ITEMS_A_TURN]["content"])[20:60]
    sessions = bench.open((REMOTE, EMBEDDED, ADVANCED), "row-7", "row-7")
    await fill(sessions, history)
    queries: dict[str, Query] = {
        "get_conversation_turns": lambda session: session.get_conversation_turns(),
        "get_conversation_by_turns": lambda session: session.get_conversation_by_turns(),
        "get_tool_usage": lambda session: session.get_tool_usage(),
        "find_turns_by_content": lambda session: session.find_turns_by_content(wanted),
    }
    rounds = bench.either(15, 60)
    for name, query in queries.items():
        await _require_equal(name, query, sessions)
        _judge(report, name, await _timed_as_it_grows(sessions, rounds, query, writer), _QUERY_TARGET)
    forks, lists = await _fork_and_list(bench, sessions)
    _judge(report, "create_branch_from_turn, the last one", forks, _FORK_TARGET)
    _judge(report, "list_branches, two of them", lists, _QUERY_TARGET)


async def _timed_as_it_grows(
    sessions: dict[str, Session], rounds: int, query: Query, writer: ItemWriter
) -> dict[str, list[float]]:
    """How long a query takes that was made before, when the conversation has had one more turn since."""
    turns = [writer.turn() for _ in range(rounds)]

    async def run(session: Session, number: int) -> float:
        await session.add_items(turns[number])
        return await timed(query(session))

    return await interleaved(sessions, rounds, run)


async def _fork_and_list(
    bench: Bench, sessions: dict[str, Session]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    async def fork(session: Any, number: int) -> tuple[float, float]:
        branch_id = f"fork-{number}"
        start = perf_counter()
        await session.create_branch_from_turn(_TURNS, branch_id)
        forked = perf_counter() - start
        listed = await timed(session.list_branches())
        await session.delete_branch(branch_id, force=True)
        return forked, listed

    results = await interleaved(sessions, bench.either(8, 30), fork)
    forks = {name: [pair[0] for pair in pairs] for name, pairs in results.items()}
    lists = {name: [pair[1] for pair in pairs] for name, pairs in results.items()}
    return forks, lists


def _judge(report: Report, work: str, latencies: dict[str, list[float]], target: float) -> None:
    for name, samples in latencies.items():
        report.measured(7, f"{work}, history {_ITEMS}", name, samples)
    ratio = percentile(latencies[REMOTE], 50) / percentile(latencies[ADVANCED], 50)
    report.at_most(7, f"{work}: p50 to that of {ADVANCED}", ratio, target)


async def _require_equal(name: str, query: Query, sessions: dict[str, Session]) -> None:
    """Both find the same; times are of the moment of writing and differ."""

    def timeless(answer: Any) -> Any:
        rows = answer if isinstance(answer, list) else []
        if rows and isinstance(rows[0], dict):
            return [{key: value for key, value in row.items() if key != "timestamp"} for row in rows]
        return answer

    expected = timeless(await query(sessions[ADVANCED]))
    if not expected or timeless(await query(sessions[REMOTE])) != expected:
        raise AssertionError(f"{name} finds other than {ADVANCED}'s")
