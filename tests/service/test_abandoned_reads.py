"""An embedded store outlives the event loops that leave its reads behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

from turntree.connect import connect
from turntree.store import Store

from tests.support.items import large

LOOPS = 20
READS = 4  # more than there are threads that read


def test_a_loop_that_closes_in_mid_read_stops_no_later_one(tmp_path: Path) -> None:
    """Reads that were cancelled as their event loop closed leave the store able to answer on the next loop."""

    async def leave(store: Store) -> None:
        reads = [asyncio.create_task(store.get_items("s")) for _ in range(READS)]
        await asyncio.sleep(0)
        assert not any(read.done() for read in reads)

    async def read(store: Store) -> int:
        deltas = await asyncio.wait_for(asyncio.gather(*(store.get_items("s") for _ in range(READS))), 10)
        return sum(len(delta.items) for delta in deltas)

    store = asyncio.run(connect(f"sqlite:///{tmp_path / 'conversations.db'}"))
    asyncio.run(store.add_items("s", [large(str(number), 64 * 1024) for number in range(8)]))
    for _ in range(LOOPS):
        asyncio.run(leave(store))
        assert asyncio.run(read(store)) == 8 * READS
    asyncio.run(store.close())
