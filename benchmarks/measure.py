"""How things are timed: in turns, so that a busy moment of the machine falls on every contestant alike."""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def interleaved(
    contestants: Mapping[str, T], rounds: int, run: Callable[[T, int], Awaitable[R]], *, warm_up_rounds: int = 1
) -> dict[str, list[R]]:
    """Run each contestant once a round, beginning with another one each time; rounds below 0 are not counted."""
    names = list(contestants)
    results: dict[str, list[R]] = {name: [] for name in names}
    for number in range(-warm_up_rounds, rounds):
        settle()
        first = number % len(names)
        for name in names[first:] + names[:first]:
            result = await run(contestants[name], number)
            if number >= 0:
                results[name].append(result)
    return results


async def timed(call: Awaitable[object]) -> float:
    """How long a call takes, in seconds; what it returns is let go after the clock has stopped."""
    start = perf_counter()
    result = await call
    elapsed = perf_counter() - start
    del result
    return elapsed


async def closed_loop(workers: int, calls_each: int, call: Callable[[int, int], Awaitable[object]]) -> Loop:
    """Let workers call one after another, each as soon as its last call was answered: call(worker, number)."""
    latencies: list[float] = []

    async def work(worker: int) -> None:
        latencies.extend([await timed(call(worker, number)) for number in range(calls_each)])

    start = perf_counter()
    await asyncio.gather(*(work(worker) for worker in range(workers)))
    return Loop(latencies, workers * calls_each / (perf_counter() - start))


async def open_loop(arrivals: Sequence[float], call: Callable[[int], Awaitable[object]]) -> list[float]:
    """Call on a schedule, ready or not; a latency counts from the scheduled time, so that a stall shows in full."""
    latencies: list[float] = []
    start = perf_counter()

    async def arrive(number: int, scheduled: float) -> None:
        await call(number)
        latencies.append(perf_counter() - scheduled)

    tasks = []
    for number, arrival in enumerate(arrivals):
        ahead = start + arrival - perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
        tasks.append(asyncio.create_task(arrive(number, start + arrival)))
    await asyncio.gather(*tasks)
    return latencies


def arrivals(seed: str, rate_per_s: float, duration_s: float) -> list[float]:
    """Times at which independent callers arrive, in seconds from the start."""
    chance = random.Random(seed)
    times: list[float] = []
    now = chance.expovariate(rate_per_s)
    while now < duration_s:
        times.append(now)
        now += chance.expovariate(rate_per_s)
    return times


class Loop:
    """What a closed loop gave: the latencies in seconds, and calls per second."""

    def __init__(self, latencies: list[float], per_s: float) -> None:
        self.latencies = latencies
        self.per_s = per_s


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that so many percent do not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(samples: Sequence[float]) -> float:
    """The middle of the samples."""
    return statistics.median(samples)


def median_ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """The median of the ratios within each round, so that slow rounds do not count against one side only."""
    return median([one / other for one, other in zip(of, to, strict=True)])


def settle() -> None:
    """Collect garbage now, and take what lives on out of later collections, so that none pays for another's."""
    gc.collect()
    gc.freeze()
