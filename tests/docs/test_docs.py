"""The examples of the documentation run, its commands exist, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.docs import scripted_model
from tests.docs.pages import PAGES, ROOT, WITH_EXAMPLES, blocks, inline_code, name_of
from tests.docs.running import run_python
from tests.support.server_process import serving

_LINK = re.compile(r"\[[^\]]+\]\((?P<target>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=name_of)
async def test_the_examples_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of a page run as they stand, one after another, against a real server."""
    monkeypatch.chdir(tmp_path)
    scripted_model.install(monkeypatch)
    with serving(tmp_path) as server:
        assert await run_python(page, server.address) > 0


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_a_page_exists(page: Path) -> None:
    """Every `make` target, `turntree` command and option that a page names exists."""
    shell = [line for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()]
    named = [line.partition("#")[0].split() for line in [*shell, *inline_code(page)]]
    for words in named:
        if words[:1] == ["make"]:
            for target in words[1:]:
                assert "=" in target or target in _make_targets(), f"{name_of(page)} names `{' '.join(words)}`"
        if words[:1] == ["turntree"]:
            depth = 3 if words[1:2] == ["keys"] else 2
            command = [word for word in words[1:depth] if not word.startswith("-")]
            known = _turntree_help(*command)
            for option in (word for word in words if word.startswith("--")):
                assert option in known, f"{name_of(page)} names `{' '.join(words)}`"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    """Every relative link of a page leads to a file, and every anchor to a heading of it."""
    for link in _LINK.finditer(page.read_text()):
        if "://" in link["target"]:
            continue
        target = page.parent / link["target"] if link["target"] else page
        assert target.exists(), f"{name_of(page)} links to {link['target']}"
        if link["anchor"]:
            assert link["anchor"][1:] in _anchors(target), f"{name_of(page)} links to {link['target']}{link['anchor']}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_names_only_files_that_exist(page: Path) -> None:
    """Whatever a page names as a file or folder of the repository is there."""
    for text in inline_code(page):
        if re.fullmatch(r"(clients|server|tests|protos|docs|benchmarks)/[\w./-]+", text):
            assert (ROOT / text).exists(), f"{name_of(page)} names {text}"


@cache
def _make_targets() -> set[str]:
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {line.split()[1] for line in listed.splitlines()}


@cache
def _turntree_help(*command: str) -> str:
    shown = subprocess.run(
        [sys.executable, "-m", "turntree_server", *command, "--help"], check=False, capture_output=True, text=True
    )
    assert shown.returncode == 0, f"there is no `turntree {' '.join(command)}`"
    return shown.stdout


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
