"""What the C library does with memory that was freed."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 32 * 1024 * 1024
_SEPARATE_BYTES = 8 * 1024 * 1024
"""Larger than what a message of a stream takes on its way to the wire."""


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
