"""Programs that tests need beside Python."""

from __future__ import annotations

import os
import shutil

import pytest


def require_tool(name: str) -> None:
    """Skip where a program is missing, except in CI, where that is a failure."""
    if shutil.which(name) is None:
        assert not os.environ.get("CI"), f"{name} is missing"
        pytest.skip(f"{name} is missing")
