"""Turns, outlines and tool usage travel column by column, and arrive as the rows they were."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from turntree import columns
from turntree.errors import ErrorReason, Internal
from turntree.model import ItemMetadata, ToolUsage, Turn

LARGE = 2**63 - 1
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
EARLY = datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)

TURNS = (Turn(1, "b", EARLY, b"{}"), Turn(LARGE, "b", NOON, b"[]"))
ITEMS = (ItemMetadata("user", "tool", 0, NOON), ItemMetadata("user", None, LARGE, EARLY))
TOOLS = (ToolUsage(None, LARGE, 1), ToolUsage("tool", 2, 1))
KINDS: dict[str, tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "turns": (TURNS, columns.write_turns, columns.read_turns),
    "items": (ITEMS, columns.write_metadata, columns.read_metadata),
    "tools": (TOOLS, columns.write_tools, columns.read_tools),
}


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind: str) -> None:
    """Numbers are of 64 bits, times are to the second, names may be absent, and no rows are no columns."""
    rows, write, read = KINDS[kind]
    assert read(write(rows)) == rows
    assert read(write(())) == ()
    if kind == "turns":
        assert read(write((*rows, Turn(1, "other", NOON, b"1")))) == (*rows, Turn(1, "other", NOON, b"1"))


@pytest.mark.parametrize(
    ("kind", "column", "values"),
    [
        ("turns", "turns", []),
        ("turns", "branch_ids", []),
        ("turns", "branch_ids", ["b"] * 3),
        ("turns", "user_items", [b"{}"]),
        ("turns", "user_items", [b"{}"] * 3),
        ("turns", "create_times", [0]),
        ("turns", "create_times", [0, LARGE]),
        ("turns", "create_times", [0, -LARGE]),
        ("items", "turns", []),
        ("items", "types", []),
        ("items", "type_indexes", [0]),
        ("items", "type_indexes", [0, -1]),
        ("items", "tool_indexes", [0, 0, 0]),
        ("items", "tool_indexes", [0, 1]),
        ("items", "tool_indexes", [0, -2]),
        ("items", "create_times", [0, LARGE]),
        ("tools", "turns", []),
        ("tools", "tool_names", []),
        ("tools", "tool_indexes", [0]),
        ("tools", "tool_indexes", [0, 1]),
        ("tools", "tool_indexes", [0, -2]),
        ("tools", "call_counts", [1, 2, 3]),
    ],
)
def test_columns_that_do_not_agree(kind: str, column: str, values: list[Any]) -> None:
    """Too short or too long ones, positions of names that there are not, and no times, are a typed error."""
    rows, write, read = KINDS[kind]
    message = write(rows)
    getattr(message, column)[:] = values
    with pytest.raises(Internal, match="the columns do not agree: ") as raised:
        read(message)
    assert raised.value.reason is ErrorReason.INTERNAL
