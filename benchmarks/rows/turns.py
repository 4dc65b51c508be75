"""Rows 1 and 2: a turn, which reads the whole history and adds four items, alone and with 64 sessions at once."""

from __future__ import annotations

from time import perf_counter

from benchmarks.contestants import (
    ADVANCED,
    CONTESTANTS,
    ECHO,
    ECHO_STREAM,
    REDIS,
    REMOTE,
    SQLALCHEMY,
    Bench,
    Session,
    fill,
)
from benchmarks.items import ITEMS_A_TURN, Item, ItemWriter
from benchmarks.measure import Loop, arrivals, closed_loop, interleaved, median_ratio, open_loop, percentile
from benchmarks.report import Report

LENGTHS = (100, 1_000, 10_000)
CONCURRENCIES = (1, 4, 16, 64)
SESSIONS = 64

_ADVANCED_TARGETS = {100: 0.65, 1_000: 0.25, 10_000: 0.12}
_THROUGHPUT_TARGETS = {REDIS: 4.0, ADVANCED: 8.0, SQLALCHEMY: 12.0}
_GROWTH = 0.2  # how much a history grows while it is measured, around its nominal length


async def one_session(bench: Bench, report: Report) -> None:
    """Row 1. Each history begins a little short of its length and ends a little beyond it."""
    for length in LENGTHS:
        rounds = bench.either({100: 100, 1_000: 50, 10_000: 20}[length], {100: 500, 1_000: 300, 10_000: 150}[length])
        turns_each = max(1, int(_GROWTH * length / ITEMS_A_TURN))
        histories = await _filled_histories(bench, length, rounds, turns_each)
        turns = _turns(f"row 1, new, {length}", rounds)

        async def turn(name: str, number: int) -> float:
            session = histories[max(0, number) // turns_each][name]  # noqa: B023 - run before the next length
            if number % turns_each == 0:  # noqa: B023 - as above
                await session.get_items()
            return await _timed_turn(session, turns[number])  # noqa: B023 - as above

        contestants = {name: name for name in (*CONTESTANTS, ECHO, ECHO_STREAM)}
        latencies = await interleaved(contestants, rounds, turn)
        await _require_equal(histories[0])
        for name, samples in latencies.items():
            report.measured(1, f"one turn, history {length}", name, samples, scale=length)
        p50 = {name: percentile(samples, 50) for name, samples in latencies.items()}
        targets = {ADVANCED: _ADVANCED_TARGETS[length], REDIS: 0.5, SQLALCHEMY: 0.3}
        for peer, target in targets.items():
            report.at_most(1, f"one turn, history {length}: p50 to that of {peer}", p50[REMOTE] / p50[peer], target)


async def _filled_histories(bench: Bench, length: int, rounds: int, turns_each: int) -> list[dict[str, Session]]:
    """As many histories as it takes that none grows too far."""
    writer = ItemWriter(f"row 1, {length}")
    histories = []
    for number in range((rounds + turns_each - 1) // turns_each):
        history = bench.open((*CONTESTANTS, ECHO, ECHO_STREAM), f"row-1-{length}-{number}")
        await fill(history, writer.history(length - ITEMS_A_TURN * turns_each // 2))
        histories.append(history)
    return histories


async def many_sessions(bench: Bench, report: Report) -> None:
    """Row 2, closed loop at several concurrencies and histories; the longest history also on a schedule."""
    for length in (100, 1_000):
        calls_each = bench.either(2, 5)
        rounds = bench.either(3, 5)
        levels = CONCURRENCIES if length == 100 else (SESSIONS,)
        sessions = await _filled_sessions(bench, length)
        turns = iter(_turns(f"row 2, new, {length}", 2 * len(levels) * (rounds + 1) * SESSIONS * calls_each))
        rates: dict[str, float] = {}
        for level in levels:
            batch = [next(turns) for _ in range(level * calls_each)]

            async def loop(name: str, _: int) -> Loop:
                async def one(worker: int, number: int) -> float:
                    items = batch[worker * calls_each + number]  # noqa: B023 - run before the next level
                    return await _timed_turn(sessions[worker][name], items)  # noqa: B023 - as above

                return await closed_loop(level, calls_each, one)  # noqa: B023 - as above

            loops = await interleaved({name: name for name in (*CONTESTANTS, ECHO)}, rounds, loop)
            work = f"{level} sessions at once, history {length}"
            for name, results in loops.items():
                latencies = [latency for result in results for latency in result.latencies]
                per_s = [result.per_s for result in results]
                report.measured(2, work, name, latencies, scale=level, per_s=per_s)
                rates[name] = report.measurements[-1].per_s or 0.0
            if level == SESSIONS:
                remote = [result.per_s for result in loops[REMOTE]]
                for peer, target in _THROUGHPUT_TARGETS.items():
                    ratio = median_ratio(remote, [result.per_s for result in loops[peer]])
                    report.at_least(2, f"{work}: turns/s to those of {peer}", ratio, target)
        if length == 1_000:
            await _on_schedule(bench, report, sessions, rates)


async def _filled_sessions(bench: Bench, length: int) -> list[dict[str, Session]]:
    writer = ItemWriter(f"row 2, {length}")
    sessions = []
    for number in range(SESSIONS):
        session = bench.open((*CONTESTANTS, ECHO), f"row-2-{length}-{number}")
        await fill(session, writer.history(length))
        sessions.append(session)
    return sessions


async def _on_schedule(
    bench: Bench, report: Report, sessions: list[dict[str, Session]], rates: dict[str, float]
) -> None:
    """Every contestant at half of what it could do when each session waited for its last turn."""
    duration_s = bench.either(1, 4)

    async def schedule(name: str, number: int) -> list[float]:
        times = arrivals(f"row 2, {number}", rates[name] / 2, duration_s)
        turns = _turns(f"row 2, on schedule, {number}", max(1, len(times)))

        async def one(arrival: int) -> None:
            await _timed_turn(sessions[arrival % SESSIONS][name], turns[arrival])

        return await open_loop(times, one)

    results = await interleaved({name: name for name in CONTESTANTS}, bench.either(2, 5), schedule, warm_up_rounds=0)
    for name, schedules in results.items():
        latencies = [latency for schedule in schedules for latency in schedule]
        work = "turns on a schedule at half its rate, history 1000"
        report.measured(2, work, name, latencies, offered_per_s=round(rates[name] / 2, 1))


async def _timed_turn(session: Session, items: list[Item]) -> float:
    start = perf_counter()
    history = await session.get_items()
    await session.add_items(items)
    elapsed = perf_counter() - start
    del history
    return elapsed


async def _require_equal(history: dict[str, Session]) -> None:
    """Every contestant has kept the same."""
    expected = await history[ADVANCED].get_items()
    for name in CONTESTANTS:
        if await history[name].get_items() != expected:
            raise AssertionError(f"{name} returns other items than {ADVANCED}")


def _turns(seed: str, count: int) -> list[list[Item]]:
    writer = ItemWriter(seed)
    return [writer.turn() for _ in range(count)]
