"""What a process holds: tasks, open files and sockets, memory."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_SETTLED_WITHIN_S = 10.0


def open_files(pid: int | None = None) -> list[str]:
    """What files and sockets a process has open, this one by default."""
    names = []
    for path in Path(f"/proc/{pid or os.getpid()}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed by now, as is the folder itself
            names.append(f"{path.name}: {path.readlink()}")
    return names


def memory_bytes(pid: int) -> int:
    """What a process has in memory (its resident set), in bytes."""
    return _status(pid, "VmRSS") * 1024


def threads(pid: int) -> int:
    """How many threads a process has."""
    return _status(pid, "Threads")


def _status(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Insist that what is done within leaves no task, file or socket behind in this process, a while after its end."""
    loop = asyncio.get_running_loop()
    tasks, files = asyncio.all_tasks(), open_files()
    yield
    deadline = loop.time() + _SETTLED_WITHIN_S
    while len(asyncio.all_tasks()) > len(tasks) or len(open_files()) > len(files):
        if loop.time() > deadline:
            raise AssertionError(f"left: {set(open_files()) - set(files)}, {asyncio.all_tasks() - tasks}")
        await asyncio.sleep(0.05)
        gc.collect()  # what waits for that is no leak
