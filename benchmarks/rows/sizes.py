"""Row 6: what a file costs that is already large."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack

from turntree.remote import RemoteStore

from benchmarks.contestants import Bench
from benchmarks.items import ITEMS_A_TURN, ItemWriter, payload
from benchmarks.large_files import write_file
from benchmarks.measure import interleaved, percentile, timed
from benchmarks.processes import turntree_server
from benchmarks.report import Report

_TURNS_A_SESSION = 25
_ITEMS_A_SESSION = _TURNS_A_SESSION * ITEMS_A_TURN
_TARGET = 1.3

LARGE = "large file"
EMPTY = "empty file"


async def large_file(bench: Bench, report: Report) -> None:
    """Read a session of 100 items and add to it: one picked at random from a large file, or the only one of a file."""
    session_ids = [f"session-{number}" for number in range(bench.either(1_000, 10_000))]
    item_count = len(session_ids) * _ITEMS_A_SESSION
    if not bench.full:
        report.note(f"row 6 uses {item_count:,} items in {len(session_ids):,} sessions; the full run 1,000,000")
    path = bench.folder / "row6-large.db"
    await write_file(path, session_ids, _TURNS_A_SESSION, ItemWriter("row 6"))
    random.Random("row 6").shuffle(session_ids)
    unread = iter(session_ids)
    writers = {name: ItemWriter(f"row 6, new, {name}") for name in (LARGE, EMPTY)}
    async with AsyncExitStack() as stack:
        stores = {}
        for name, file in ((LARGE, path), (EMPTY, bench.folder / "row6-empty.db")):
            _, address = stack.enter_context(turntree_server(file))
            stores[name] = await stack.enter_async_context(RemoteStore(address))

        async def both(name: str, _: int) -> tuple[float, float]:
            store, writer = stores[name], writers[name]
            if name == LARGE:
                session_id = next(unread)
            else:
                session_id = "the-only-one"
                await store.add_items(session_id, [payload(item) for item in writer.history(_ITEMS_A_SESSION)])
            items = [payload(item) for item in writer.turn()]
            read = await timed(store.read_items(session_id))
            added = await timed(store.add_items(session_id, items))
            if name == EMPTY:
                await store.delete_session(session_id)
            return added, read

        results = await interleaved({name: name for name in stores}, bench.either(150, 1_000), both)
    for position, work in enumerate(("add 4", "get all of 100")):
        latencies = {name: [pair[position] for pair in pairs] for name, pairs in results.items()}
        for name, samples in latencies.items():
            report.measured(6, work, name, samples)
        ratio = percentile(latencies[LARGE], 50) / percentile(latencies[EMPTY], 50)
        report.at_most(6, f"{work} in a file of {item_count:,} items: p50 to that in an empty one", ratio, _TARGET)
