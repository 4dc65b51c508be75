"""The shapes in which the SDK's AdvancedSQLiteSession gives its answers, made from turntree's."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from agents.items import TResponseInputItem
from agents.usage import Usage as RunUsage

from turntree.model import (
    Branch,
    BranchPointer,
    DeltaKind,
    ItemMetadata,
    ItemsDelta,
    ToolUsage,
    Turn,
    TurnUsage,
    Usage,
    UsageTotal,
)

_PREVIEW_CHARACTERS = 100

NOT_JSON = object()
"""Stands for an item whose stored text is not JSON."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a watched branch: how to apply it, the items, and the cursor that names the result.

    `types` and `turns` are as long as `items` and tell the type and the turn of each.
    """

    kind: DeltaKind
    items: list[TResponseInputItem]
    types: list[str]
    turns: list[int]
    branch_id: str
    cursor: bytes


@dataclass(frozen=True, slots=True)
class StreamedTurn:
    """A turn with all its items. `types` and `tool_names` are as long as `items`."""

    turn: int
    items: list[TResponseInputItem]
    types: list[str]
    tool_names: list[str | None]
    create_time: datetime


def encode(item: TResponseInputItem) -> bytes:
    """An item as the SDK's own sessions store it: JSON, escaped to ASCII."""
    return json.dumps(item).encode()


def decode(payload: bytes) -> Any:
    """An item from its stored text, as `json.loads` reads it; NOT_JSON when it is not JSON."""
    try:
        return msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(payload)
    except ValueError:
        return NOT_JSON


def decode_all(payloads: Iterable[bytes]) -> list[TResponseInputItem]:
    """Items from their stored texts, without those that are not JSON."""
    items = [decode(payload) for payload in payloads]
    return [item for item in items if item is not NOT_JSON]


def change(delta: ItemsDelta) -> Change:
    """A change from a delta with metadata."""
    items, described = _decode_described(delta.items, delta.metadata)
    return Change(
        delta.kind,
        items,
        [metadata.type for metadata in described],
        [metadata.turn for metadata in described],
        delta.branch.branch_id,
        delta.cursor,
    )


def streamed_turn(turn: Turn) -> StreamedTurn:
    """A turn with its items decoded."""
    items, described = _decode_described(turn.items, turn.metadata)
    return StreamedTurn(
        turn.turn,
        items,
        [metadata.type for metadata in described],
        [metadata.tool_name for metadata in described],
        turn.create_time,
    )


def _decode_described(
    payloads: Sequence[bytes], metadata: Sequence[ItemMetadata]
) -> tuple[list[TResponseInputItem], list[ItemMetadata]]:
    """Items with what describes them, without those that are not JSON."""
    items = [decode(payload) for payload in payloads]
    described = [described for item, described in zip(items, metadata, strict=True) if item is not NOT_JSON]
    return [item for item in items if item is not NOT_JSON], described


@lru_cache(maxsize=1024)  # turns written together share their second
def timestamp(time: datetime | None) -> str | None:
    """A time as the SDK's tables hold it."""
    return time.strftime("%Y-%m-%d %H:%M:%S") if time is not None else None


def branch_row(branch: Branch, current: BranchPointer) -> dict[str, Any]:
    """A row of `list_branches`."""
    return {
        "branch_id": branch.branch_id,
        "message_count": branch.item_count,
        "user_turns": branch.turn_count,
        "is_current": branch.branch_id == current.branch_id,
        "created_at": timestamp(branch.create_time),
    }


def turn_rows(turns: Iterable[Turn], *, preview_characters: int | None = _PREVIEW_CHARACTERS) -> list[dict[str, Any]]:
    """Rows of `get_conversation_turns`, without turns whose user item cannot be read."""
    rows = []
    for turn in turns:
        item = decode(turn.user_item) if turn.user_item is not None else NOT_JSON
        if not isinstance(item, dict):
            continue
        content = item.get("content", "")
        rows.append(
            {
                "turn": turn.turn,
                "content": _preview(content, preview_characters),
                "full_content": content,
                "timestamp": timestamp(turn.create_time),
                "can_branch": True,
            }
        )
    return rows


def _preview(content: Any, characters: int | None) -> str:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return text if characters is None or len(text) <= characters else text[:characters] + "..."


def outline(items: Iterable[ItemMetadata]) -> dict[int, list[dict[str, str | None]]]:
    """The answer of `get_conversation_by_turns`."""
    turns: defaultdict[int, list[dict[str, str | None]]] = defaultdict(list)
    for kind, tool_name, turn, _ in items:
        turns[turn].append({"type": kind, "tool_name": tool_name})
    return dict(turns)


def extended_outline(
    known: dict[int, list[dict[str, str | None]]], new: dict[int, list[dict[str, str | None]]]
) -> dict[int, list[dict[str, str | None]]]:
    """An outline and that of the items after it, as one."""
    for turn, items in new.items():
        known.setdefault(turn, []).extend(items)
    return known


def tool_counts(tools: Iterable[ToolUsage]) -> list[tuple[str, int, int]]:
    """The answer of `get_tool_usage`: plain tuples."""
    return [(name, count, turn) for name, count, turn in tools]  # type: ignore[misc]


def extended_tool_counts(
    known: list[tuple[str, int, int]], new: list[tuple[str, int, int]]
) -> list[tuple[str, int, int]]:
    """Counts of tool calls and those of the turns after them, as one; the first of these turns is counted again."""
    if new:
        first_turn = new[0][2]
        while known and known[-1][2] >= first_turn:
            known.pop()
    return known + new


def usage_total(total: UsageTotal | None) -> dict[str, int] | None:
    """The answer of `get_session_usage`."""
    if total is None:
        return None
    return {
        "requests": total.requests,
        "input_tokens": total.input_tokens,
        "output_tokens": total.output_tokens,
        "total_tokens": total.total_tokens,
        "total_turns": total.turn_count,
    }


def usage_row(usage: TurnUsage) -> dict[str, Any]:
    """The answer of `get_turn_usage` for one turn, without its number."""
    return {
        "requests": usage.usage.requests,
        "input_tokens": usage.usage.input_tokens,
        "output_tokens": usage.usage.output_tokens,
        "total_tokens": usage.usage.total_tokens,
        "input_tokens_details": _details(usage.usage.input_tokens_details),
        "output_tokens_details": _details(usage.usage.output_tokens_details),
    }


def _details(details: bytes | None) -> Any:
    parsed = decode(details) if details else None
    return None if parsed is NOT_JSON else parsed


def read_run_usage(usage: RunUsage | None) -> Usage | None:
    """The usage of a run as turntree records it; None when the run has none."""
    if usage is None:
        return None
    return Usage(
        usage.requests or 0,
        usage.input_tokens or 0,
        usage.output_tokens or 0,
        usage.total_tokens or 0,
        _encode_details(getattr(usage, "input_tokens_details", None)),
        _encode_details(getattr(usage, "output_tokens_details", None)),
    )


def _encode_details(details: object) -> bytes | None:
    """Token details as JSON; None when they cannot be written as such, as the SDK's own class does."""
    try:
        return json.dumps(details.__dict__).encode() if details else None
    except (TypeError, ValueError):
        return None
