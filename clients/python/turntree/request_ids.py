"""Names for mutations: unique, and rising with time so that a database finds them side by side."""

from __future__ import annotations

import secrets
import time


def new_request_id() -> str:
    """A UUID of version 7: a time in milliseconds, then 74 random bits."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
