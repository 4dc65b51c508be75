"""Rows 3 and 4: AddItems of four items by 64 callers at once, against the bare wire and against NORMAL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc.aio
from turntree.remote import RemoteStore
from turntree.request_ids import new_request_id
from turntree.v1 import session_pb2

from benchmarks.contestants import Bench
from benchmarks.items import ItemWriter, payload
from benchmarks.measure import Loop, arrivals, closed_loop, interleaved, median_ratio, open_loop
from benchmarks.processes import turntree_server
from benchmarks.report import Report

_CALLERS = 64
_METHOD = "/turntree.v1.SessionService/AddItems"

ECHO = "echo, unary"
UNARY_FULL = "AddItems unary, FULL"
UNARY_NORMAL = "AddItems unary, NORMAL"
PIPELINE_FULL = "RemoteStore, FULL"
PIPELINE_NORMAL = "RemoteStore, NORMAL"


@dataclass(frozen=True, slots=True)
class _Caller:
    """A way to make one call; `reply_bytes` is what AddItems answers with."""

    call: Callable[[str, bytes, list[bytes]], Awaitable[object]]


async def against_echo_and_normal(bench: Bench, report: Report) -> None:
    """Rows 3 and 4. A unary call is the same bytes through the same bare channel, to turntree and to the echo."""
    async with AsyncExitStack() as stack:
        _, full = stack.enter_context(turntree_server(bench.folder / "row3-full.db"))
        _, normal = stack.enter_context(turntree_server(bench.folder / "row3-normal.db", synchronous="NORMAL"))
        unary_full = await stack.enter_async_context(_bare_channel(full))
        unary_normal = await stack.enter_async_context(_bare_channel(normal))
        store_full = await stack.enter_async_context(RemoteStore(full))
        store_normal = await stack.enter_async_context(RemoteStore(normal))
        _, request, _ = _new_call("row-3", ItemWriter("row 3, probe"))
        reply_bytes = len(await unary_full(request))
        callers = {
            ECHO: _Caller(lambda _, request, items: bench.echo.unary(request, reply_bytes)),
            UNARY_FULL: _Caller(lambda _, request, items: unary_full(request)),
            UNARY_NORMAL: _Caller(lambda _, request, items: unary_normal(request)),
            PIPELINE_FULL: _Caller(lambda session_id, _, items: store_full.add_items(session_id, items)),
            PIPELINE_NORMAL: _Caller(lambda session_id, _, items: store_normal.add_items(session_id, items)),
        }
        rates = await _closed(bench, report, callers)
        await _on_schedule(bench, report, callers, rates[UNARY_FULL] / 2)


async def _closed(bench: Bench, report: Report, callers: dict[str, _Caller]) -> dict[str, float]:
    calls_each = bench.either(15, 40)
    rounds = bench.either(7, 15)

    async def loop(caller: _Caller, number: int) -> Loop:
        calls = _calls(f"row 3, {number}", _CALLERS * calls_each)
        return await closed_loop(
            _CALLERS, calls_each, lambda worker, call: caller.call(*calls[worker * calls_each + call])
        )

    loops = await interleaved(callers, rounds, loop)
    per_s = {name: [result.per_s for result in results] for name, results in loops.items()}
    for name, results in loops.items():
        latencies = [latency for result in results for latency in result.latencies]
        row = 3 if name in (ECHO, UNARY_FULL) else 4
        report.measured(row, "AddItems of 4, 64 at once", name, latencies, scale=_CALLERS, per_s=per_s[name])
    echo = median_ratio(per_s[UNARY_FULL], per_s[ECHO])
    report.at_least(3, "AddItems of 4, unary, 64 at once, FULL: calls/s to those of the echo", echo, 0.8)
    unary = median_ratio(per_s[UNARY_FULL], per_s[UNARY_NORMAL])
    report.at_least(4, "FULL to NORMAL, 64 at once, unary: calls/s", unary, 0.9)
    pipeline = median_ratio(per_s[PIPELINE_FULL], per_s[PIPELINE_NORMAL])
    report.at_least(4, "FULL to NORMAL, 64 at once, through RemoteStore: calls/s", pipeline, 0.9)
    return {name: sorted(rates)[len(rates) // 2] for name, rates in per_s.items()}


async def _on_schedule(bench: Bench, report: Report, callers: dict[str, _Caller], rate_per_s: float) -> None:
    """All at the same rate: half of what unary AddItems at FULL could do."""

    async def schedule(caller: _Caller, number: int) -> list[float]:
        times = arrivals(f"row 3, {number}", rate_per_s, bench.either(1, 3))
        calls = _calls(f"row 3, on schedule, {number}", len(times))
        return await open_loop(times, lambda arrival: caller.call(*calls[arrival]))

    results = await interleaved(callers, bench.either(2, 5), schedule)
    for name, schedules in results.items():
        latencies = [latency for schedule in schedules for latency in schedule]
        work = "AddItems of 4, on one schedule for all"
        report.measured(3 if name in (ECHO, UNARY_FULL) else 4, work, name, latencies, offered_per_s=round(rate_per_s))


@asynccontextmanager
async def _bare_channel(address: str) -> AsyncIterator[Callable[[bytes], Awaitable[bytes]]]:
    """AddItems with requests that are bytes already, so that the client's work is that of the echo's."""
    async with grpc.aio.insecure_channel(address) as channel:
        method: Any = channel.unary_unary(_METHOD)

        async def call(request: bytes) -> bytes:
            reply: bytes = await method(request)
            return reply

        yield call


def _calls(seed: str, count: int) -> list[tuple[str, bytes, list[bytes]]]:
    writer = ItemWriter(seed)
    return [_new_call(f"row-3-{number % _CALLERS}", writer) for number in range(count)]


def _new_call(session_id: str, writer: ItemWriter) -> tuple[str, bytes, list[bytes]]:
    items = [payload(item) for item in writer.turn()]
    request = session_pb2.AddItemsRequest(session_id=session_id, items=items, request_id=new_request_id())
    return session_id, request.SerializeToString(), items
