"""The pages of the documentation and what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide"
REFERENCE = ROOT / "docs" / "reference"
_NOT_PYTHON = GUIDE / "other-languages.md"  # clients/cpp runs its examples
WITH_EXAMPLES = (
    ROOT / "README.md",
    ROOT / "clients" / "python" / "README.md",
    *sorted(set(GUIDE.glob("*.md")) - {_NOT_PYTHON}),
)
PAGES = (
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "clients" / "python" / "README.md",
    ROOT / "server" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)

_FENCE = "```"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, and the line of the page on which the text begins, from 1."""

    language: str
    text: str
    line: int


def name_of(page: Path) -> str:
    """A page as people name it."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    language: str | None = None
    begin = 0
    lines = page.read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.startswith(_FENCE):
            continue
        if language is None:
            language, begin = line.removeprefix(_FENCE).strip(), number
        else:
            yield Block(language, "\n".join(lines[begin : number - 1]) + "\n", begin + 1)
            language = None
    assert language is None, f"{name_of(page)}:{begin} opens a block that nothing closes"


def inline_code(page: Path) -> list[str]:
    """What a page sets in `backticks` outside its fenced blocks."""
    text = re.sub(rf"^{_FENCE}.*?^{_FENCE}$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def table(page: Path, first_heading: str) -> list[dict[str, str]]:
    """The rows of the table whose first column has this heading, as dicts by heading."""
    lines = page.read_text().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_heading} |"))
    headings = _cells(lines[begin])
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(headings, _cells(line), strict=True)))
    return rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
