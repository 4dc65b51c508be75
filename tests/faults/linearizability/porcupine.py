"""The second judge: porcupine, a checker of another project, with a model of its own in Go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.linearizability.history import History, as_json

_SOURCE = Path(__file__).with_name("porcupine")
_WITHIN_S = 300


def build(folder: Path) -> Path:
    """Build the judge into a folder; where there is no Go, skip the test, or fail it under `CI=true`."""
    go = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin")
    if go is None:
        reason = "Go is not installed: histories are judged by the checker in Python alone"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    program = folder / "porcupine"
    built = subprocess.run(
        [go, "build", "-o", program, "."], cwd=_SOURCE, capture_output=True, text=True, timeout=_WITHIN_S, check=False
    )
    assert built.returncode == 0, built.stderr
    return program


def verdicts(program: Path, histories: Sequence[History]) -> list[bool]:
    """Whether each history is linearizable."""
    asked = json.dumps([as_json(history) for history in histories])
    judged = subprocess.run([program], input=asked, capture_output=True, text=True, timeout=_WITHIN_S, check=True)
    answered = json.loads(judged.stdout)
    assert isinstance(answered, list)
    return answered
