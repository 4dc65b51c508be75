"""Rows 5, 8 and 9: warm reads, turns that stream, and a long history read cold."""

from __future__ import annotations

import asyncio
import contextlib
from time import perf_counter

from turntree.model import DeltaKind, ItemsDelta
from turntree.remote import RemoteStore

from benchmarks.contestants import ECHO, REMOTE, Bench
from benchmarks.items import ITEMS_A_TURN, ItemWriter, payload
from benchmarks.large_files import write_file
from benchmarks.measure import interleaved, median, median_ratio, percentile, timed
from benchmarks.processes import resident_mb, turntree_server
from benchmarks.report import Report

_WARM_LENGTHS = (10, 10_000)
_TURNS = 10_000
_TURNS_MORE = 30_000
_COLD_BYTES = 100_000_000
_MEMORY_GROWTH_MB_MAX = 10.0
_MEMORY_POLL_S = 0.02
_PAUSE_S = 1.0
_WARM_UPS = 3
"""Each of the two reading connections keeps 16 MiB of the file, which is no part of a stream."""


async def warm_reads(bench: Bench, report: Report) -> None:
    """Row 5, without decoding: get_items of a caller who has all, and of one who lacks the last four items."""
    writer = ItemWriter("row 5")
    async with RemoteStore(bench.server_address) as store:
        cursors = {}
        for length in _WARM_LENGTHS:
            history = [payload(item) for item in writer.history(length)]
            cursors[length] = (await store.add_items(f"row-5-{length}", history)).cursor

        async def read(length: int, _: int) -> tuple[float, float]:
            """Two timed reads; what is added between them is taken away after them."""
            session_id, cursor = f"row-5-{length}", cursors[length]
            start = perf_counter()
            unchanged = await store.get_items(session_id, cursor=cursor)
            elapsed_unchanged = perf_counter() - start
            await store.add_items(session_id, [payload(item) for item in writer.turn()])
            start = perf_counter()
            appended = await store.get_items(session_id, cursor=cursor)
            elapsed_appended = perf_counter() - start
            _require(unchanged, DeltaKind.UNCHANGED, 0)
            _require(appended, DeltaKind.APPENDED, ITEMS_A_TURN)
            for _popped in range(ITEMS_A_TURN):
                cursors[length] = (await store.pop_item(session_id)).cursor
            return elapsed_unchanged, elapsed_appended

        lengths = {str(length): length for length in _WARM_LENGTHS}
        results = await interleaved(lengths, bench.either(100, 600), read, warm_up_rounds=5)
    for position, work in enumerate(("nothing is new", "four items are new")):
        latencies = {name: [pair[position] for pair in pairs] for name, pairs in results.items()}
        for name, samples in latencies.items():
            report.measured(5, f"warm get_items, {work}, history {name}", REMOTE, samples, scale=int(name))
        short, long = (percentile(latencies[str(length)], 50) for length in _WARM_LENGTHS)
        report.at_most(5, f"warm get_items, {work}: p50 at 10,000 to that at 10", long / short, 1.3)


async def stream_turns(bench: Bench, report: Report) -> None:
    """Row 8, on servers of their own, whose page caches are full before their memory counts."""
    lengths = {"many": _TURNS, "more": _TURNS_MORE}
    memory: dict[str, float] = {}
    for name, count in lengths.items():
        path = bench.folder / f"row8-{name}.db"
        await write_file(path, [name], count, ItemWriter(f"row 8, {name}"))
        with turntree_server(path) as (pid, address):
            async with RemoteStore(address) as store:
                if name == "many":
                    await _stream_speed(bench, report, store)
                memory[name] = max([await _peak_memory(pid, store, name, 0.0) for _ in range(_WARM_UPS)])
                memory[f"{name}, slowly"] = await _peak_memory(pid, store, name, _PAUSE_S)
    work = f"StreamTurns, {_TURNS_MORE:,} turns: server memory beyond that for {_TURNS:,}"
    report.at_most(8, work, memory["more"] - memory["many"], _MEMORY_GROWTH_MB_MAX, "MiB")
    slow_growth = memory["more, slowly"] - memory["many, slowly"]
    report.at_most(8, f"{work}, slow reader", slow_growth, _MEMORY_GROWTH_MB_MAX, "MiB")


async def _stream_speed(bench: Bench, report: Report, store: RemoteStore) -> None:
    trips: list[float] = []

    async def stream(_: str, __: int) -> tuple[float, float]:
        trips.extend([await timed(bench.echo.unary(b" " * 100)) for _ in range(20)])
        start = perf_counter()
        first = 0.0
        count = 0
        async for _turn in store.stream_turns("many"):
            first = first or perf_counter() - start
            count += 1
        if count != _TURNS:
            raise AssertionError(f"{count} turns came instead of {_TURNS}")
        return first, perf_counter() - start

    results = (await interleaved({REMOTE: REMOTE}, bench.either(7, 25), stream))[REMOTE]
    first = [pair[0] for pair in results]
    whole = [pair[1] for pair in results]
    per_s = [_TURNS / elapsed for elapsed in whole]
    report.measured(8, "echo round trip of 100 bytes", ECHO, trips)
    report.measured(8, f"StreamTurns, {_TURNS} turns: the first", REMOTE, first)
    report.measured(8, f"StreamTurns, {_TURNS} turns: all", REMOTE, whole, per_s=per_s)
    trip = percentile(trips, 50)
    report.at_most(8, "StreamTurns: first turn", percentile(first, 50) / trip, 5, "round trips")
    report.at_least(8, f"StreamTurns, {_TURNS:,} turns of 4 items", median(per_s), 20_000, "turns/s")


async def _peak_memory(pid: int, store: RemoteStore, session_id: str, pause_s: float) -> float:
    """The most memory a server has in use while it streams."""
    peak_mb = resident_mb(pid)

    async def poll() -> None:
        nonlocal peak_mb
        while True:
            peak_mb = max(peak_mb, resident_mb(pid))
            await asyncio.sleep(_MEMORY_POLL_S)

    poller = asyncio.create_task(poll())
    turns = 0
    async for _ in store.stream_turns(session_id):
        turns += 1
        if turns == 1 and pause_s:
            await asyncio.sleep(pause_s)
    peak_mb = max(peak_mb, resident_mb(pid))
    poller.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await poller
    return peak_mb


async def cold_read(bench: Bench, report: Report) -> None:
    """Row 9: a reader that has nothing, against a stream of as many bytes from the echo server."""
    path = bench.folder / "row9.db"
    writer = ItemWriter("row 9")
    turn_bytes = sum(len(payload(item)) for _ in range(200) for item in writer.turn()) / 200
    await write_file(path, ["long"], int(_COLD_BYTES / turn_bytes), writer)
    with turntree_server(path) as (_, address):
        async with RemoteStore(address) as store:
            whole = await store.read_items("long")
            size = sum(len(item) for item in whole.items)
            del whole

            async def read(name: str, _: int) -> float:
                return await timed(store.read_items("long") if name == REMOTE else bench.echo.download(size))

            results = await interleaved({name: name for name in (REMOTE, ECHO)}, bench.either(4, 12), read)
    for name, samples in results.items():
        rates = [size / 1e6 / elapsed for elapsed in samples]
        report.measured(9, f"{size / 1e6:.0f} MB, MB per second", name, samples, per_s=rates)
    ratio = median_ratio(results[ECHO], results[REMOTE])
    report.at_least(9, f"reading {size / 1e6:.0f} MB cold: speed to that of a bare stream", ratio, 0.5)


def _require(delta: ItemsDelta, kind: DeltaKind, items: int) -> None:
    if delta.kind is not kind or len(delta.items) != items:
        raise AssertionError(f"a warm read gave {delta.kind} with {len(delta.items)} items")
