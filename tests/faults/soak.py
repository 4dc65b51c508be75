"""A long mixed load on a real server: `TURNTREE_SOAK_MINUTES=30 python -m tests.faults.soak`.

Writers, readers and watchers that are cancelled all along. Fails when the server's memory, open files or threads, or
this process's tasks, still grow in the second half, or when the log of the database passes its bound.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turntree.errors import Conflict, NotFound
from turntree.model import AtHead, Usage
from turntree.remote import RemoteStore

from tests.faults.leaks import memory_bytes, open_files, threads
from tests.faults.report import tallied
from tests.faults.rounds import new_seed
from tests.support.items import assistant, user
from tests.support.reading import collected
from tests.support.server_process import ServerProcess

MIB = 1024 * 1024
SAMPLES = 60
SESSIONS = 50
CLIENTS = 4
WORKERS_OF_A_CLIENT = 4
WAL_BYTES_MAX = 64 * MIB
GROWTH_MAX = {"memory": 16 * MIB, "files": 4, "threads": 2, "tasks": 20}
"""How much each may grow over the second half, by the line through its samples."""


@dataclass(slots=True)
class Load:
    """What the clients have done so far."""

    calls: int = 0
    watches: int = 0


async def work(store: RemoteStore, rng: random.Random, load: Load) -> None:
    """Converse in random sessions, and empty them now and then, so that the database stays small."""
    while True:
        session_id = f"session {rng.randrange(SESSIONS)}"
        try:
            match rng.randrange(20):
                case 0:
                    await store.clear_session(session_id)
                case 1:
                    await store.create_branch(session_id, AtHead())
                case 2:
                    await store.delete_session(session_id)
                case 3:
                    await store.pop_item(session_id)
                case 4:
                    await store.record_usage(session_id, Usage(1, 2, 3, 5))
                case 5 | 6:
                    await collected(store.stream_turns(session_id))
                case 7 | 8 | 9:
                    delta = await store.get_items(session_id)
                    await store.add_items(session_id, [user("a condition")], expected_cursor=delta.cursor)
                case 10 | 11 | 12:
                    await watch_a_while(store, session_id, rng)
                    load.watches += 1
                case _:
                    await store.add_items(session_id, [user("q"), assistant("a" * rng.randrange(4000))])
        except (Conflict, NotFound):
            pass
        load.calls += 1


async def watch_a_while(store: RemoteStore, session_id: str, rng: random.Random) -> None:
    """Begin to watch, and be cancelled at a random moment."""
    watching = asyncio.create_task(collected(store.watch(session_id)))
    try:
        await asyncio.wait([watching], timeout=rng.random() / 20)
    finally:
        watching.cancel()
        await asyncio.wait([watching])


def growth(samples: Sequence[float]) -> float:
    """How much the second half of the samples grows, by the straight line through it."""
    half = samples[len(samples) // 2 :]
    line = statistics.linear_regression(range(len(half)), half)
    return line.slope * (len(half) - 1)


async def soak(duration_s: float, folder: Path, rng: random.Random) -> dict[str, list[float]]:
    """Load a server for so long, and return the samples that were taken of it."""
    server = ServerProcess.start(folder / "conversations.db")
    log = f"{server.db}-wal"
    samples: dict[str, list[float]] = {name: [] for name in (*GROWTH_MAX, "log")}
    stores = [RemoteStore(server.address) for _ in range(CLIENTS)]
    load = Load()
    try:
        async with asyncio.TaskGroup() as group:
            workers = [
                group.create_task(work(store, random.Random(rng.random()), load))
                for store in stores
                for _ in range(WORKERS_OF_A_CLIENT)
            ]
            for _ in range(SAMPLES):
                await asyncio.sleep(duration_s / SAMPLES)
                samples["memory"].append(memory_bytes(server.process.pid))
                samples["files"].append(len(open_files(server.process.pid)))
                samples["threads"].append(threads(server.process.pid))
                samples["tasks"].append(len(asyncio.all_tasks()))
                samples["log"].append(os.stat(log).st_size)
            for worker in workers:
                worker.cancel()
        for store in stores:
            await store.close()
        server.stop()
    finally:
        server.kill()
    print(f"{load.calls} calls, {load.watches} of them watches that were cancelled, in {duration_s:.0f} s")
    return samples


def judge(samples: dict[str, list[float]]) -> None:
    """Print the figures, and insist that each is within its bound."""
    failures = []
    for name, bound in GROWTH_MAX.items():
        grown = growth(samples[name])
        first, last = samples[name][0], samples[name][-1]
        print(f"{name}: from {first:.0f} to {last:.0f}, in the second half by {grown:+.1f}, at most {bound}")
        if grown > bound:
            failures.append(name)
    log = max(samples["log"])
    print(f"log: at most {log / MIB:.1f} MiB of {WAL_BYTES_MAX / MIB:.0f}")
    if log > WAL_BYTES_MAX:
        failures.append("log")
    assert not failures, f"out of bounds: {failures}"


def main() -> None:
    """Soak, print the figures, and fail when one of them is out of its bound."""
    minutes = float(os.environ.get("TURNTREE_SOAK_MINUTES", "30"))
    seed = new_seed()
    with tallied("soak under mixed load, in minutes", seed) as tally, tempfile.TemporaryDirectory() as folder:
        judge(asyncio.run(soak(60 * minutes, Path(folder), random.Random(seed))))
        tally.rounds = round(minutes)


if __name__ == "__main__":
    main()
