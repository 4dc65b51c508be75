"""The clients' READMEs are alike, so that who knows one knows them all."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parents[2] / "clients"
READMES = sorted(CLIENTS.glob("*/README.md"))


def _sections(text: str) -> list[str]:
    return re.findall(r"(?m)^#{1,2} .*$", re.sub(r"(?s)```.*?```", "", text))


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_sections(readme: Path) -> None:
    """A client's README has the sections that `clients/README.md` lists, in order, but for adapters it lacks."""
    listed = re.findall(r"(?m)^\d+\. `(#{1,2} [^`]*)`", (CLIENTS / "README.md").read_text())
    general = [re.sub(r"^(# turntree for |## With ).*", r"\1…", section) for section in _sections(readme.read_text())]
    sections = [section for section, _ in groupby(general)]
    assert sections in (listed, [section for section in listed if section != "## With …"])
