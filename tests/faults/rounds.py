"""How long the tests of faults go on, and which random numbers they use: the one place that reads it."""

from __future__ import annotations

import os
import random
from typing import TypeVar

T = TypeVar("T", int, float)

TORTURE = os.environ.get("TURNTREE_FAULTS") == "torture"
"""Whether all rounds are asked for (`TURNTREE_FAULTS=torture`), and not only a sample of them."""

FUZZ_S = float(os.environ.get("TURNTREE_FUZZ_SECONDS", "600"))
"""How long random input of each kind is tried when all rounds are asked for, in seconds."""


def rounds(quick: T, torture: T) -> T:
    """How many rounds a test goes: the sample, or all of them."""
    return torture if TORTURE else quick


def new_seed() -> int:
    """The seed in TURNTREE_SEED, or a new one; printed, so that a test that fails shows it."""
    seed = int(os.environ.get("TURNTREE_SEED", random.randrange(2**32)))
    print(f"TURNTREE_SEED={seed}")
    return seed
