"""Which clients can be run on this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parents[2] / "clients"


def require_toolchain(language: str) -> None:
    """Skip a language whose toolchain is not on this machine, except in the pipeline, where that is a failure."""
    with_toolchain = subprocess.run(
        [CLIENTS / "with-toolchain", language, "echo", "here"], capture_output=True, text=True, check=False
    )
    assert with_toolchain.returncode == 0, with_toolchain.stderr
    if with_toolchain.stdout != "here\n":
        pytest.skip(with_toolchain.stderr.strip())
