"""Row 11: turns through the clients of other languages, each beside a bare echo in its own language."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

from benchmarks.contestants import Bench
from benchmarks.items import ItemWriter, payload
from benchmarks.processes import running
from benchmarks.report import Report

_PROGRAMS = sorted((Path(__file__).parents[2] / "clients").glob("*/conformance/bench"))
_BUILT = ("build", "conformance/target/lib")
"""What `make build` leaves in a client's folder, in one language or another."""

_TURNS = 41
_TARGET = 0.8
_STARTS_AND_ENDS_WITHIN_S = 60


async def beside_their_echo(bench: Bench, report: Report) -> None:
    """Row 11. Each program gets the same turns on its standard input, and prints what it measured."""
    writer = ItemWriter("row 11")
    turns = "".join("[" + ",".join(payload(item).decode() for item in writer.turn()) + "]\n" for _ in range(_TURNS))
    seconds = bench.either(8, 60)
    for program in _PROGRAMS:
        language = program.parent.parent.name
        if not any((program.parent.parent / folder).exists() for folder in _BUILT):
            report.note(f"row 11: the client in {language} is not built")
            continue
        folder = bench.folder / f"row11-{language}"
        folder.mkdir()
        command: list[str | Path] = [program, bench.server_address, bench.echo_address, str(seconds)]
        with running(command, folder, stdin=subprocess.PIPE) as process:
            limit_s = seconds + _STARTS_AND_ENDS_WITHIN_S
            printed, _ = await asyncio.to_thread(process.communicate, turns, limit_s)
        if process.returncode != 0:
            raise RuntimeError(f"{program}: {(folder / 'log').read_text()}")
        alone, at_once = (json.loads(printed)[name] for name in ("sequential", "at_once"))
        work = f"one turn through the {language} client"
        report.at_least(11, f"{work}: speed to that of its echo", alone["echo"] / alone["turns"], _TARGET)
        report.at_least(11, f"{work}, 64 at once: turns/s to its echo's", at_once["turns"] / at_once["echo"], _TARGET)
