"""How a server treats the memory of what it no longer uses."""

from __future__ import annotations

import ctypes
import gc

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 32 * 1024 * 1024
_SEPARATE_BYTES = 8 * 1024 * 1024
"""Larger than what a message of a stream takes on its way to the wire."""
_NEW_OBJECTS = 20_000
_YOUNG_ROUNDS = 20
_MIDDLE_ROUNDS = 50


def keep_freed_memory() -> None:
    """Keep up to 32 MiB of freed memory for the next message, instead of giving it back to the system at once.

    glibc gives back what is free at the end of its heap, and takes it again page by page: for each message of 1 MiB of
    a stream that costs more than making the message. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_MMAP_THRESHOLD, _SEPARATE_BYTES)


def look_for_garbage_seldom() -> None:
    """Let Python look for garbage in cycles after every 20,000 new objects, not 700, and never among its modules.

    Rows on their way to the wire are many new objects in no cycle: to look through those of a stream of turns takes a
    tenth of its time. Whatever is in no cycle is freed at once all the same.
    """
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _YOUNG_ROUNDS, _MIDDLE_ROUNDS)
