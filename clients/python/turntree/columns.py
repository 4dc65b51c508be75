"""Turns, outlines and tool usage as the columns in which they travel, and back.

Reading columns that do not agree raises `Internal`: a server of turntree sends none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from turntree.errors import ErrorReason, Internal
from turntree.model import ItemMetadata, ToolUsage, Turn
from turntree.v1 import turn_pb2

_NONE = -1


def write_turns(turns: Sequence[Turn]) -> turn_pb2.TurnColumns:
    """Turns with their user items as a message."""
    if not turns:
        return turn_pb2.TurnColumns()
    numbers, branch_ids, times, user_items, *_ = zip(*turns, strict=True)
    return turn_pb2.TurnColumns(
        turns=numbers,
        branch_ids=branch_ids[:1] if len(set(branch_ids)) == 1 else branch_ids,
        user_items=user_items,
        create_times=map(_to_seconds, times),
    )


def read_turns(message: turn_pb2.TurnColumns) -> tuple[Turn, ...]:
    """Turns with their user items from their message."""
    numbers, branch_ids = message.turns[:], message.branch_ids[:]
    if len(branch_ids) == 1:
        branch_ids *= len(numbers)
    user_items, seconds = message.user_items[:], message.create_times[:]
    _agree(numbers, branch_ids=branch_ids, user_items=user_items, create_times=seconds)
    return tuple(map(Turn, numbers, branch_ids, _times(seconds), user_items))


def write_metadata(items: Sequence[ItemMetadata]) -> turn_pb2.ItemMetadataColumns:
    """The metadata of items as a message."""
    if not items:
        return turn_pb2.ItemMetadataColumns()
    types, tool_names, turns, times = zip(*items, strict=True)
    known_types, type_indexes = _indexed(types)
    known_tools, tool_indexes = _indexed(tool_names)
    return turn_pb2.ItemMetadataColumns(
        types=known_types,
        type_indexes=type_indexes,
        tool_names=known_tools,
        tool_indexes=tool_indexes,
        turns=turns,
        create_times=map(_to_seconds, times),
    )


def read_metadata(message: turn_pb2.ItemMetadataColumns) -> tuple[ItemMetadata, ...]:
    """The metadata of items from its message."""
    turns, type_indexes, tool_indexes = message.turns[:], message.type_indexes[:], message.tool_indexes[:]
    seconds = message.create_times[:]
    _agree(turns, type_indexes=type_indexes, tool_indexes=tool_indexes, create_times=seconds)
    types = _looked_up("types", dict(enumerate(message.types)), type_indexes)
    tool_names = _looked_up("tool_names", _tools(message.tool_names), tool_indexes)
    return tuple(map(ItemMetadata._make, zip(types, tool_names, turns, _times(seconds), strict=True)))


def write_tools(tools: Sequence[ToolUsage]) -> turn_pb2.ToolUsageColumns:
    """Counts of tool calls as a message."""
    if not tools:
        return turn_pb2.ToolUsageColumns()
    tool_names, counts, turns = zip(*tools, strict=True)
    known, indexes = _indexed(tool_names)
    return turn_pb2.ToolUsageColumns(tool_names=known, tool_indexes=indexes, call_counts=counts, turns=turns)


def read_tools(message: turn_pb2.ToolUsageColumns) -> tuple[ToolUsage, ...]:
    """Counts of tool calls from their message."""
    turns, indexes, counts = message.turns[:], message.tool_indexes[:], message.call_counts[:]
    _agree(turns, tool_indexes=indexes, call_counts=counts)
    tool_names = _looked_up("tool_names", _tools(message.tool_names), indexes)
    return tuple(map(ToolUsage._make, zip(tool_names, counts, turns, strict=True)))


def _agree(turns: Sized, **columns: Sized) -> None:
    """Fail when a column has not one value for each of the turns."""
    for name, column in columns.items():
        if len(column) != len(turns):
            raise _malformed(f"turns has {len(turns)} values and {name} has {len(column)}")


def _indexed(names: Sequence[str | None]) -> tuple[list[str], list[int]]:
    """Every name once, and for each of the names where it stands there; -1 for None."""
    known = [name for name in dict.fromkeys(names) if name is not None]
    positions: dict[str | None, int] = {name: position for position, name in enumerate(known)}
    positions[None] = _NONE
    return known, list(map(positions.__getitem__, names))


def _tools(names: Iterable[str]) -> dict[int, str | None]:
    return {**dict(enumerate(names)), _NONE: None}


def _looked_up(column: str, known: Mapping[int, Any], indexes: Iterable[int]) -> list[Any]:
    """The names that `_indexed` took apart."""
    try:
        return list(map(known.__getitem__, indexes))
    except KeyError as error:
        raise _malformed(f"{column} has none at {error}") from None


def _times(seconds: Iterable[int]) -> list[datetime]:
    try:
        return list(map(_from_seconds, seconds))
    except (OverflowError, ValueError, OSError):
        raise _malformed("create_times has one that is no time") from None


@lru_cache(maxsize=1024)
def _to_seconds(time: datetime) -> int:
    return int(time.timestamp())


@lru_cache(maxsize=1024)
def _from_seconds(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _malformed(why: str) -> Internal:
    return Internal(ErrorReason.INTERNAL, f"the columns do not agree: {why}")
