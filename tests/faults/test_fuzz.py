"""Whatever bytes come in: a sensible answer, no word about the server's insides, no trace of what was refused."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.faults.fuzz_targets import TARGETS, Target
from tests.faults.fuzzing import (
    CURSORS,
    PAGE_TOKENS,
    PIPELINE,
    any_request,
    names_with,
    with_another_cursor,
    with_another_page_token,
)
from tests.faults.oracle import oracle_of
from tests.faults.report import tallied
from tests.faults.reproducers import reproducers
from tests.faults.rounds import FUZZ_S, new_seed, rounds
from tests.service.bad_input import World
from tests.service.test_bad_input import running
from tests.support.rpc import RPCS

REQUESTS_OF_A_SERVER = rounds(60, 300)

Make = Callable[[str, World, random.Random], bytes]


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
async def test_the_corpus(target: Target, tmp_path: Path) -> None:
    """What was kept, an input for each way through the code that was once found, is answered as it should be."""
    inputs = target.read_corpus()
    assert inputs
    async with target.subject(tmp_path) as subject:
        for name, data in inputs:
            await subject.check(name, data)


@pytest.mark.parametrize("target", ["page_tokens", "settings", "credentials", "files"])
async def test_what_was_broken_once(target: str, tmp_path: Path) -> None:
    """Inputs that once brought a fault to light are answered as they should be."""
    inputs = list(reproducers(target))
    assert inputs
    async with TARGETS[target].subject(tmp_path) as subject:
        for name, data in inputs:
            await subject.check(name, data)


async def fuzz(what: str, make: Make, names: Sequence[str], folder: Path) -> None:
    """Send random requests, some to each of these RPCs on a server of its own, and go round until the time is over."""
    seed = new_seed()
    rng = random.Random(seed)
    end = time.monotonic() + rounds(0.0, FUZZ_S)
    with tallied(f"random requests: {what}", seed) as tally:
        while tally.rounds == 0 or time.monotonic() < end:
            for name in names:
                async with running(await asyncio.to_thread(_new_folder, folder)) as server:
                    with oracle_of(server) as oracle:
                        for _ in range(REQUESTS_OF_A_SERVER):
                            await oracle.check(name, make(name, server.world, rng))
                tally.rounds += REQUESTS_OF_A_SERVER


def _new_folder(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))


async def test_random_requests(tmp_path: Path) -> None:
    """Random requests to any RPC are answered or refused, and never bring the server to a fault."""
    await fuzz("any bytes to each RPC", any_request, tuple(RPCS), tmp_path)


async def test_random_messages_of_a_pipeline(tmp_path: Path) -> None:
    """Random messages on a pipeline are answered or refused, and never bring the server to a fault."""
    await fuzz("messages of a pipeline", any_request, [PIPELINE], tmp_path)


async def test_random_cursors(tmp_path: Path) -> None:
    """Cursors that no server made are taken for what they say or refused, and never bring the server to a fault."""
    await fuzz("cursors", with_another_cursor, names_with(CURSORS), tmp_path)


async def test_random_page_tokens(tmp_path: Path) -> None:
    """Page tokens that no server made are taken for what they say or refused, and never bring the server to a fault."""
    await fuzz("page tokens", with_another_page_token, names_with(PAGE_TOKENS), tmp_path)
