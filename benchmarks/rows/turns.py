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
from benchmarks.measure import Loop, arrivals, closed_loop, interleaved, median, median_ratio, open_loop, percentile
from benchmarks.report import Report

LENGTHS = (100, 1_000, 10_000)
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
        await bench.close_sessions()


async def _filled_histories(bench: Bench, length: int, rounds: int, turns_each: int) -> list[dict[str, Session]]:
    """As many histories as it takes that none grows too far."""
    writer = ItemWriter(f"row 1, {length}")
    histories = []
    for number in range((rounds + turns_each - 1) // turns_each):
        name = f"row-1-{length}-{number}"
        history = bench.open((*CONTESTANTS, ECHO, ECHO_STREAM), name, name)
        await fill(history, writer.history(length - ITEMS_A_TURN * turns_each // 2))
        histories.append(history)
    return histories


async def many_sessions(bench: Bench, report: Report) -> None:
    """Row 2, closed loop at several concurrencies and histories; the longest history also on schedules."""
    for length, levels in {100: bench.either((1, 8, 64), (1, 4, 16, 64)), 1_000: (64,)}.items():
        for level in levels:
            await bench.close_sessions()
            sessions, rates = await _closed_loops(bench, report, length, level)
    half_of_redis = dict.fromkeys(rates, rates[REDIS] / 2)
    await _on_schedule(bench, report, sessions, half_of_redis, f"on a schedule, all at half of {REDIS}'s rate")
    half_of_own = {name: rate / 2 for name, rate in rates.items()}
    await _on_schedule(bench, report, sessions, half_of_own, "on a schedule, each at half of its own rate")


async def _closed_loops(
    bench: Bench, report: Report, length: int, level: int
) -> tuple[list[dict[str, Session]], dict[str, float]]:
    """So many workers at once on 64 sessions, with the sessions afterwards and the turns a second."""
    rounds = bench.either(3 if length == 100 else 2, 5)
    calls_each = max(bench.either(2, 5), bench.either(32, 64) // level)
    growth = ITEMS_A_TURN * (rounds + 1) * calls_each * level // SESSIONS
    sessions = await _filled_sessions(bench, length, level, growth)

    async def loop(name: str, number: int) -> Loop:
        turns = _turns(f"row 2, {length}, {level}, {number}", level * calls_each)

        async def one(worker: int, call: int) -> float:
            session = sessions[(worker + call * level) % SESSIONS][name]
            return await _timed_turn(session, turns[worker * calls_each + call])

        return await closed_loop(level, calls_each, one)

    loops = await interleaved({name: name for name in (*CONTESTANTS, ECHO)}, rounds, loop)
    per_s = {name: [result.per_s for result in results] for name, results in loops.items()}
    work = f"{level} at once, history {length}"
    for name, results in loops.items():
        latencies = [latency for result in results for latency in result.latencies]
        report.measured(2, work, name, latencies, scale=level, per_s=per_s[name])
    if level == SESSIONS:
        for peer, target in _THROUGHPUT_TARGETS.items():
            ratio = median_ratio(per_s[REMOTE], per_s[peer])
            report.at_least(2, f"{work}: turns/s to those of {peer}", ratio, target)
    return sessions, {name: median(rates) for name, rates in per_s.items()}


async def _filled_sessions(bench: Bench, length: int, level: int, growth: int) -> list[dict[str, Session]]:
    writer = ItemWriter(f"row 2, {length}, {level}")
    file = f"row-2-{length}-{level}"
    sessions = []
    for number in range(SESSIONS):
        session = bench.open((*CONTESTANTS, ECHO), f"{file}-{number}", file)
        await fill(session, writer.history(length - growth // 2))
        sessions.append(session)
    return sessions


async def _on_schedule(
    bench: Bench, report: Report, sessions: list[dict[str, Session]], rates: dict[str, float], work: str
) -> None:
    """Turns that arrive whether or not the last ones are done."""
    duration_s = bench.either(1, 4)

    async def schedule(name: str, number: int) -> list[float]:
        times = arrivals(f"row 2, {number}", rates[name], duration_s)
        turns = _turns(f"row 2, {work}, {number}", len(times))

        async def one(arrival: int) -> None:
            await _timed_turn(sessions[arrival % SESSIONS][name], turns[arrival])

        return await open_loop(times, one)

    results = await interleaved({name: name for name in CONTESTANTS}, bench.either(2, 5), schedule, warm_up_rounds=0)
    for name, schedules in results.items():
        latencies = [latency for schedule in schedules for latency in schedule]
        report.measured(2, work, name, latencies, offered_per_s=round(rates[name], 1))


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
