"""One search for inputs that break what takes them, guided by the coverage of turntree's code; see `guided.py`.

`python -m tests.faults.guided_search TARGET ...`: what follows is for libFuzzer.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["turntree", "turntree_server"]):
    from tests.faults.fuzz_targets import TARGETS, Subject, Target
    from tests.faults.fuzzing import any_request, changed_request
    from tests.faults.oracle import Oracle

INPUTS_OF_A_SUBJECT = 1_000
"""A server is replaced after so many, so that it does not fill up with what was let in."""


class Search:
    """Gives inputs to a subject, on an event loop of its own."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._stack = contextlib.AsyncExitStack()
        self._subject: Subject | None = None
        self._count = 0

    def one(self, packed: bytes) -> None:
        """Give it one input."""
        self._loop.run_until_complete(self._check(*self._target.unpack(packed)))

    async def _check(self, name: str, data: bytes) -> None:
        if self._subject is None or self._count % INPUTS_OF_A_SUBJECT == 0:
            await self._stack.aclose()
            folder = self._stack.enter_context(tempfile.TemporaryDirectory())
            self._subject = await self._stack.enter_async_context(self._target.subject(Path(folder)))
        self._count += 1
        await self._subject.check(name, data)

    def mutated(self, packed: bytes, size_max: int, seed: int) -> bytes:
        """A new input from one that is there: a changed message where inputs are messages, or changed bytes."""
        rng = random.Random(seed)
        if not isinstance(self._subject, Oracle) or rng.random() < 0.3:
            mutated: bytes = atheris.Mutate(packed, size_max)
            return mutated
        name, data = self._target.unpack(packed)
        if rng.random() < 0.2:
            name = rng.choice(self._target.names)
            data = any_request(name, self._subject.world, rng)
        return self._target.pack(name, changed_request(name, data, self._subject.world, rng))[:size_max]


def main(name: str, *arguments: str) -> None:
    """Search; the process ends with it."""
    search = Search(TARGETS[name])
    again = f"{sys.executable} -m tests.faults.guided_search {name}"  # libFuzzer runs this when it merges
    atheris.Setup([again, *arguments], search.one, custom_mutator=search.mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
