"""What is published: each package carries what its readers are owed."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "clients/go",
    "clients/go/openaiagents",
    "clients/java",
    "clients/python",
    "clients/rust",
    "clients/rust/turntree-rig",
    "clients/typescript",
    "server",
)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_has_the_text_of_the_licence(package: str) -> None:
    """Each package holds the repository's licence, word for word, as the licence asks of copies."""
    assert (ROOT / package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
