"""Which database files this process has open, so that no second SQLite library opens one of them beside ours.

A process's file locks do not hold against itself. Two copies of SQLite in one process, ours and the one that comes with
Python, would therefore not see each other's locks, and destroy the file. Nor does a process that was forked have the
locks of the one it comes from, while its SQLite believes that it has.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path

from turntree.errors import ErrorReason, Unavailable

_FDS = Path("/proc/self/fd")

_lock = threading.Lock()
_opened: Counter[tuple[int, str]] = Counter()
"""How often, by process and file: one that was forked sees what was open in the one it comes from."""


def claim(path: str) -> None:
    """Note that our library opens a file.

    Raises:
        Unavailable: STORE_FAILED, when this process has it open already, and not through our library. This is known on
            systems that list a process's open files, as Linux does. Also when this process was forked from one that had
            it open.
    """
    with _lock:
        real_path = os.path.realpath(path)
        ours = (os.getpid(), real_path)
        if not _opened[ours] and any(opened == real_path for (_, opened), count in _opened.items() if count):
            raise Unavailable(
                ErrorReason.STORE_FAILED,
                f"{path} is open in the process that this one was forked from: open it only after the fork, or start"
                " the process with 'spawn'",
            )
        if not _opened[ours] and _is_open(real_path):
            raise Unavailable(
                ErrorReason.STORE_FAILED,
                f"{path} is open in this process through another SQLite library, as the Agents SDK's own sessions use:"
                " close it there first, or serve the file from a process of its own",
            )
        _opened[ours] += 1


def release(path: str) -> None:
    """Note that an engine on a file was closed, or could not be opened."""
    with _lock:
        ours = (os.getpid(), os.path.realpath(path))
        if _opened[ours] > 0:
            _opened[ours] -= 1


def _is_open(real_path: str) -> bool:
    if not _FDS.is_dir():
        return False
    for link in _FDS.iterdir():
        try:
            if os.readlink(link) == real_path:
                return True
        except OSError:  # closed meanwhile
            continue
    return False
