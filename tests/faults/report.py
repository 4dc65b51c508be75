"""The results in docs/reliability.md, written by the run itself: one row for each test of faults that counts rounds."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.rounds import TORTURE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"


def _commit() -> str:
    """The commit that is tested, and whether anything but the pages of the docs, as this one, differs from it."""
    git = ("git", "-C", str(ROOT))
    run = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    same = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ".", ":!docs"], check=False).returncode == 0
    return run.stdout.strip() + ("" if same else "-dirty") or "unknown"


_COMMIT = _commit()


@dataclass(slots=True)
class Tally:
    """How many rounds were played and held."""

    rounds: int = 0


@contextmanager
def tallied(name: str, seed: int) -> Iterator[Tally]:
    """Count the rounds of a test, which ends with the first that fails; with all rounds asked for, write the result.

    A run that is interrupted leaves the rounds that it came to.
    """
    tally = Tally()
    failures = 0
    try:
        yield tally
    except Exception:
        failures = 1
        raise
    finally:
        print(f"{name}: {tally.rounds} rounds held, {failures} failed, TURNTREE_SEED={seed}")
        if TORTURE:
            _write_row(name, tally.rounds + failures, failures, seed)


def _write_row(name: str, rounds: int, failures: int, seed: int) -> None:
    row = f"| {name} | {rounds:,} | {failures} | {seed} | {_COMMIT} | {datetime.now(UTC):%Y-%m-%d} |\n"
    page = PAGE.read_text()
    pattern = re.compile(rf"^\| {re.escape(name)} \|.*\n", re.MULTILINE)
    if pattern.search(page):
        page = pattern.sub(lambda _: row, page)
    else:
        page = re.sub(r"(?m)^(\| what \|.*\n\|[-| :]+\|\n(?:\|.*\n)*)", lambda table: table[1] + row, page)
    assert row in page, f"{PAGE} has no table of results"
    PAGE.write_text(page)
