"""Lines of the log and of commands: no name from outside ends one, or begins another."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import pytest
from turntree_server import cli

from tests.support.schemas import make

FORGED = "2026-01-01 00:00:00,000 INFO turntree_server: forged"


def test_a_record_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is logged with a name of more than one line is one line, and the traceback of an error is set in."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setattr(logging.root, "handlers", [])
    cli._log_to_stderr()
    log = logging.getLogger("test")
    log.error("a name: %s", f"a\n{FORGED}\r\x1b[2J\u2028")
    try:
        raise RuntimeError(f"a\n{FORGED}\r{FORGED}")
    except RuntimeError:
        log.exception("it failed")
    lines = [line for line in written.getvalue().splitlines() if not line.startswith("  ")]
    assert [line.partition(" ERROR test: ")[2] for line in lines] == [
        f"a name: a\\n{FORGED}\\r\\x1b[2J\\u2028",
        "it failed",
    ]


@pytest.mark.parametrize("command", [["verify"], ["backup", "copy.db", "--db"]])
def test_a_refusal_is_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that is refused says why in one line, also where the path has more than one."""
    monkeypatch.setattr(sys, "argv", ["turntree", *command, str(tmp_path / "no\nfolder" / "a\rb.db")])
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1, said
    assert (said.out, "no\\nfolder" in said.err) == ("", True), said


def test_an_answer_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that was carried out says so in one line, also where the path has more than one."""
    db = tmp_path / "a\nb.db"
    make("turntree_schema_2", db)
    for command in (["verify", db], ["backup", f"{db}2", "--db", db], ["restore", f"{db}2", "--db", f"{db}3"]):
        monkeypatch.setattr(sys, "argv", ["turntree", *map(str, command)])
        cli.main()
        said = capsys.readouterr()
        assert (len(said.out.splitlines()), said.err) == (1, ""), said
