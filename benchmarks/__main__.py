"""Runs the benchmarks: `python -m benchmarks`, or with `--full` the long run; `--rows` for some rows only."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

from benchmarks import databases, plots
from benchmarks.contestants import Bench, opened
from benchmarks.report import Report
from benchmarks.rows import languages, queries, reads, sizes, startup, turns, writes

RESULTS = Path(__file__).parent / "results"

ROWS: dict[str, Callable[[Bench, Report], Awaitable[None]]] = {
    "1": turns.one_session,
    "2": turns.many_sessions,
    "3": writes.against_echo_and_normal,
    "5": reads.warm_reads,
    "6": sizes.large_file,
    "7": queries.against_advanced,
    "8": reads.stream_turns,
    "9": reads.cold_read,
    "10": startup.start_and_idle,
    "11": languages.beside_their_echo,
}


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast turntree is beside its peers.")
    parser.add_argument("--full", action="store_true", help="the long run, with the large sizes")
    parser.add_argument("--rows", default=",".join(ROWS), help="which rows (row 4 is measured with 3): %(default)s")
    parser.add_argument("--name", help="what to call the results (default: quick or full)")
    arguments = parser.parse_args()
    mode = "full" if arguments.full else "quick"
    databases.install_missing()
    report = Report(mode)
    folder = _new_folder()
    try:
        asyncio.run(_run(folder, report, arguments.full, arguments.rows.split(",")))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print()
    for line in report.table():
        print(line)
    path = RESULTS / f"{arguments.name or mode}.json"
    report.write(path)
    plots.draw(report, path)


async def _run(folder: Path, report: Report, full: bool, rows: list[str]) -> None:
    this = asyncio.current_task()
    assert this is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    async with opened(folder, full) as bench:
        for row in rows:
            start = perf_counter()
            print(f"row {row}", flush=True)
            await ROWS[row](bench, report)
            await bench.close_sessions()
            print(f"  {perf_counter() - start:.0f} s", flush=True)


def _new_folder() -> Path:
    """A new folder on the disk of this repository: in the usual place if that is there, and beside this file if not."""
    here = Path(__file__).parent
    usual = Path(tempfile.gettempdir())
    parent = usual if usual.stat().st_dev == here.stat().st_dev else here
    folder = Path(tempfile.mkdtemp(prefix="turntree-benchmarks-", dir=parent))
    os.chmod(folder, 0o711)  # PostgreSQL runs as another user, and has a folder of its own in it
    return folder


if __name__ == "__main__":
    main()
