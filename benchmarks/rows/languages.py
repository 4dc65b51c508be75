"""Row 11: turns through the clients of other languages, each beside a bare echo in its own language.

`clients/LANGUAGE/conformance/bench TURNTREE_URL ECHO_URL` has a client and a bare connection of its language's gRPC.
The first line that it reads is a JSON array of turns, of which the first 25 are the history of each of its 64 sessions.
Then each line is `SIDE CALLERS SECONDS`: so many of the sessions make turns for so long, at once and each one after
another. `turns` reads what is new since the turn before, which is four items, and adds four; `echo` is two calls of the
echo's `Back` with the bytes of both requests. The answer is a line of JSON, `{"elapsed_s": …, "latencies_ms": […]}`. A
program that is not built exits with 3.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.contestants import Bench
from benchmarks.items import ItemWriter
from benchmarks.measure import Loop, interleaved, median_ratio, percentile
from benchmarks.processes import running
from benchmarks.report import Report

_CLIENTS = Path(__file__).parents[2] / "clients"
LANGUAGES = sorted(path.parent.parent.name for path in _CLIENTS.glob("*/conformance/bench"))
SIDES = ("turns", "echo")
AT_ONCE = 64
_TURNS = 41
_SLICE_S = 0.25
_TARGET = 0.8
_NOT_BUILT = 3


async def beside_their_echo(bench: Bench, report: Report) -> None:
    """Row 11. The two sides take turns in each language."""
    rounds = bench.either(5, 60)
    for language in LANGUAGES:
        folder = bench.folder / f"row11-{language}"
        folder.mkdir()
        with program_of(language, bench.server_address, bench.echo_address, folder) as program:
            try:
                await _language(program, language, rounds, report)
            except NotBuilt:
                report.note(f"row 11: the client in {language} is not built")


async def _language(program: Program, language: str, rounds: int, report: Report) -> None:
    await program.send(turns())
    for callers in (1, AT_ONCE):

        async def measure(side: str, _: int, callers: int = callers) -> Loop:
            return await program.measure(side, callers, _SLICE_S)

        loops = await interleaved({side: side for side in SIDES}, rounds, measure)
        latencies = {side: [one for loop in loops[side] for one in loop.latencies] for side in SIDES}
        per_s = {side: [loop.per_s for loop in loops[side]] for side in SIDES}
        work = f"one turn through the {language} client, {callers} at once"
        for side in SIDES:
            report.measured(11, work, f"{language}, {side}", latencies[side], scale=callers, per_s=per_s[side])
        if callers == 1:
            ratio = percentile(latencies["echo"], 50) / percentile(latencies["turns"], 50)
            report.at_least(11, f"{work}: speed to that of its echo", ratio, _TARGET)
        else:
            ratio = median_ratio(per_s["turns"], per_s["echo"])
            report.at_least(11, f"{work}: turns/s to its echo's", ratio, _TARGET)


@contextmanager
def program_of(language: str, server_address: str, echo_address: str, folder: Path) -> Iterator[Program]:
    """Run the program of a language."""
    command: list[str | Path] = [_CLIENTS / language / "conformance" / "bench", server_address, echo_address]
    with running(command, folder, stdin=subprocess.PIPE) as process:
        yield Program(process, folder)


def turns() -> str:
    """The line of turns that each program is given."""
    writer = ItemWriter("row 11")
    return json.dumps([writer.turn() for _ in range(_TURNS)])


class NotBuilt(Exception):
    """The program was not built: the toolchain of its language is not here."""


class Program:
    """A running program of a language."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder

    async def send(self, line: str) -> None:
        """Write a line to it."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # why it ended shows when it is asked to measure
            print(line, file=self._process.stdin, flush=True)

    async def measure(self, side: str, callers: int, seconds: float) -> Loop:
        """Let so many sessions work for so long.

        Raises:
            NotBuilt: It is not built.
        """
        await self.send(f"{side} {callers} {seconds}")
        assert self._process.stdout is not None
        line = await asyncio.to_thread(self._process.stdout.readline)
        if not line:
            if await asyncio.to_thread(self._process.wait) == _NOT_BUILT:
                raise NotBuilt
            raise RuntimeError(f"a client's program ended: {(self._folder / 'log').read_text()}")
        answer = json.loads(line)
        latencies = [one / 1e3 for one in answer["latencies_ms"]]
        return Loop(latencies, len(latencies) / answer["elapsed_s"])
