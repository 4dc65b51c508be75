"""The reference pages say what the code says, and the guide leaves nothing out."""

from __future__ import annotations

import argparse
import re
from datetime import timedelta
from pathlib import Path

import pytest
from turntree import limits
from turntree.errors import CLASS_BY_REASON, ErrorReason
from turntree.openai_agents import TurntreeSession
from turntree.rpc_errors import CODE_BY_CLASS
from turntree_server import app
from turntree_server.engine import sqlite_writer
from turntree_server.engine.migrate import migrate
from turntree_server.engine.sqlite_driver import Connection, connect
from turntree_server.options import add_serve_options
from turntree_server.service import pipeline, room
from turntree_server.settings import DATABASE_DEFAULT

from tests.docs.pages import GUIDE, REFERENCE, ROOT, table

_ERROR_REASONS = ROOT / "protos" / "turntree" / "v1" / "error_reason.proto"
_UNITS = {"": 1, "bytes": 1, "KiB": limits.KIB, "MiB": limits.MIB}


@pytest.fixture
def fresh_database(tmp_path: Path) -> Connection:
    """A database that turntree has just made."""
    connection = connect(str(tmp_path / "fresh.db"))
    migrate(connection)
    return connection


def test_every_limit_is_that_of_the_code() -> None:
    """The page of limits lists every limit that `turntree.limits` has, with its value."""
    listed = {row["constant"].strip("`"): _read_limit(row["value"]) for row in table(REFERENCE / "limits.md", "limit")}
    of_the_code = {
        name: value
        for name, value in vars(limits).items()
        if re.fullmatch("[A-Z]+_[A-Z_]+", name) and isinstance(value, int | timedelta)
    }
    assert listed == of_the_code


def _read_limit(text: str) -> int | timedelta:
    number, _, unit = text.partition(" ")
    count = int(number.replace(",", ""))
    return timedelta(days=count) if unit == "days" else count * _UNITS[unit]


def test_every_reason_is_listed_with_its_class_and_code() -> None:
    """The page of errors lists exactly the reasons there are, each with its class and its gRPC code."""
    rows = table(REFERENCE / "errors.md", "reason")
    listed = {row["reason"].strip("`"): (row["class"].strip("`"), row["code"]) for row in rows}
    of_the_code = {
        reason.name: (CLASS_BY_REASON[reason].__name__, CODE_BY_CLASS[CLASS_BY_REASON[reason]].name)
        for reason in ErrorReason
    }
    assert listed == of_the_code
    assert len(rows) == len(listed)


def test_every_reason_is_listed_with_its_facts() -> None:
    """The page of errors gives each reason the facts that its proto comment names, and says what to do."""
    for row in table(REFERENCE / "errors.md", "reason"):
        assert row["facts"] == _facts_in_proto(row["reason"].strip("`")), row["reason"]
        assert row["what to do"].endswith(".")


def _facts_in_proto(reason: str) -> str:
    before, _, _ = _ERROR_REASONS.read_text().partition(f"  ERROR_REASON_{reason} = ")
    comment = " ".join(line.strip().removeprefix("//").strip() for line in before.rpartition("\n\n")[2].splitlines())
    if "No facts." in comment:
        return "none"
    facts = re.search(r"Facts: ([^.]+)\.", comment)
    assert facts is not None, f"{reason} names no facts in its proto"
    return re.sub(r" \([^)]*\)", "", facts[1])


def test_every_table_index_and_trigger_of_the_database_is_listed(fresh_database: Connection) -> None:
    """The page of the database lists exactly the tables, indexes and triggers of a fresh one."""
    made: dict[str, dict[str, str]] = {"table": {}, "index": {}, "trigger": {}}
    for kind, name, on in fresh_database.execute(
        "SELECT type, name, tbl_name FROM sqlite_master WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'"
    ):
        made[kind][name] = on
    page = REFERENCE / "database.md"
    assert {row["table"].strip("`") for row in table(page, "table")} == set(made["table"])
    for kind in ("index", "trigger"):
        assert {row[kind].strip("`"): row["on"].strip("`") for row in table(page, kind)} == made[kind]
    fresh_database.close()


def test_every_method_of_a_session_is_in_the_guide() -> None:
    """The guide to sessions calls or explains every public method of `TurntreeSession`."""
    guide = (GUIDE / "sessions.md").read_text()
    methods = [name for name, value in vars(TurntreeSession).items() if callable(value) and not name.startswith("_")]
    assert [name for name in methods if f"{name}(" not in guide] == []


def test_every_option_of_the_server_is_listed_with_its_default() -> None:
    """The page of options lists exactly those of `turntree serve`, each with the default that it has."""
    parser = argparse.ArgumentParser()
    add_serve_options(parser)
    of_the_code = {
        action.option_strings[0]: "" if action.default is None or action.default is False else str(action.default)
        for action in parser._actions
        if action.dest != "help"
    }
    page = REFERENCE / "server.md"
    listed = {}
    for line in page.read_text().splitlines():
        if line.startswith("| `--"):
            option, default = (cell.strip() for cell in line.split("|")[1:3])
            listed[option.strip("`")] = default.strip("`") if default not in ("none", "off") else ""
    of_the_code["--db"] = DATABASE_DEFAULT
    assert listed == of_the_code


def test_every_fixed_limit_of_the_server_is_that_of_the_code() -> None:
    """The limits that no option sets are listed with their values."""
    listed = {row["constant"].strip("`"): int(row["value"]) for row in table(REFERENCE / "server.md", "limit")}
    assert listed == {
        "WAITING_MAX": sqlite_writer.WAITING_MAX,
        "CALLS_AT_WORK_MAX": pipeline.CALLS_AT_WORK_MAX,
        "READS_MAX": room.READS_MAX,
        "LARGE_BYTES": room.LARGE_BYTES,
        "PING_MS_MIN": app.PING_MS_MIN,
    }
