"""Continuous integration runs the tests as strictly as they can be run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_missing_toolchain_is_a_failure_in_continuous_integration(tmp_path: Path) -> None:
    """`.ci/run` runs `make test` under CI=true, whatever its own environment says."""
    for name, script in {"make": 'echo "$CI $*"', "apt-get": "true", "sudo": "true"}.items():
        command = tmp_path / name
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    ran = subprocess.run([ROOT / ".ci" / "run"], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == "true test\n"
