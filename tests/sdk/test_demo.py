"""The demo that a newcomer runs first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parents[2] / "clients" / "python" / "example" / "demo.py"
SUBPROCESS_S_MAX = 90
LINES_MAX = 60
COLUMNS_MAX = 100


def run_demo(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the demo without a key, with its temporary files in a folder."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    return subprocess.run(
        [sys.executable, "-W", "error", DEMO, *arguments],
        env=environment | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=SUBPROCESS_S_MAX,
    )


def test_demo(tmp_path: Path) -> None:
    """The demo shows a conversation live, its branches and its usage on one screen, and cleans up after itself."""
    done = run_demo(folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[1].startswith("turntree ")
    assert "listening on 127.0.0.1:" in lines[1]

    live = [line for line in lines if re.match(r" +[0-9.]+ s  ", line)]
    assert len(live) == 22
    assert sum("  cheaper  " in line for line in live) == 8
    assert re.search(r" s  main +turn 1  call +get_weather\(", live[1])
    assert re.search(r" s  main +turn 4  assistant ", live[-1])

    assert lines[lines.index("4. The branches, turn by turn") + 1 :][:2] == [
        "  main     ──(1)──(2)──(3)──(4)",
        "  cheaper         └───(3)──(4)",
    ]
    usage = [line.split() for line in lines if re.search(r"\d +\d+$", line)]
    assert [(row[0], row[1]) for row in usage] == [
        ("main", "1"),
        ("main", "2"),
        ("main", "3"),
        ("main", "4"),
        ("cheaper", "3"),
        ("cheaper", "4"),
        ("all", "6"),
    ]
    tokens = [int(row[-1]) for row in usage]
    assert tokens[-1] == sum(tokens[:-1]) > 0

    assert len(lines) <= LINES_MAX
    assert max(map(len, lines)) <= COLUMNS_MAX
    assert list(tmp_path.iterdir()) == []


def test_demo_with_a_model_but_no_key(tmp_path: Path) -> None:
    """Asked for a real model without a key, the demo says what is missing and does nothing."""
    done = run_demo("--model", "gpt-4.1", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "OPENAI_API_KEY" in done.stderr
