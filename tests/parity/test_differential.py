"""TurntreeSession and the SDK's AdvancedSQLiteSession, called side by side, call after call.

TURNTREE_SEQUENCES sets how many sequences the two tests run together (default 300), TURNTREE_SEED the seed, which every
run prints.
A failure prints the shortest sequence of calls that hypothesis could find for it.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager

import hypothesis
import pytest
from hypothesis import HealthCheck, Verbosity
from hypothesis.stateful import run_state_machine_as_test

from tests.parity import worlds
from tests.parity.machine import ParityMachine
from tests.parity.worlds import World

SEQUENCES = math.ceil(int(os.environ.get("TURNTREE_SEQUENCES", "300")) / 2)
STEPS = 40

SETTINGS = hypothesis.settings(
    max_examples=SEQUENCES,
    stateful_step_count=STEPS,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    verbosity=Verbosity.normal,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def run_sequences(open_world: Callable[[], AbstractAsyncContextManager[World]]) -> World:
    """Run random sequences in a world; returns it with the counts of what was seen."""
    seed = int(os.environ.get("TURNTREE_SEED") or random.getrandbits(48))
    print(f"\nTURNTREE_SEED={seed} TURNTREE_SEQUENCES={2 * SEQUENCES}")
    began = time.monotonic()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        # One thread, so that a session's database connections are few and its calls keep their order.
        loop.set_default_executor(ThreadPoolExecutor(1))
        opened = open_world()
        world = loop.run_until_complete(opened.__aenter__())
        try:
            machine = hypothesis.seed(seed)(lambda: ParityMachine(world, loop))
            run_state_machine_as_test(machine, settings=SETTINGS)  # type: ignore[arg-type] # a function will do
        finally:
            loop.run_until_complete(opened.__aexit__(None, None, None))
    calls = sum(count for what, count in world.seen.items() if what != "sequences")
    print(f"{world.seen['sequences']} sequences, {calls} calls compared, {time.monotonic() - began:.0f} s")
    return world


@pytest.mark.long
def test_embedded() -> None:
    """Whatever is called in whatever order, an embedded TurntreeSession answers as the SDK's class does."""
    assert run_sequences(worlds.embedded).seen["sequences"] >= SEQUENCES


@pytest.mark.long
def test_served() -> None:
    """Whatever is called in whatever order, a TurntreeSession on a server answers as the SDK's class does."""
    assert run_sequences(worlds.served).seen["sequences"] >= SEQUENCES
