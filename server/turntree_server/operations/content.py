"""What turntree reads out of an item: its type, its tool, its text, and which calls and outputs belong together.

Types and tool names are those of the Agents SDK's AdvancedSQLiteSession, so that both read the same from one file.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from turntree.model import LetterCase

NOT_JSON = object()
"""Stands for an item whose stored text is not JSON."""

_MCP_TYPES = frozenset({"mcp_call", "mcp_approval_request"})
_TOOL_SEARCH_TYPES = frozenset({"tool_search_call", "tool_search_output"})
_TYPES_THAT_NAME_THE_TOOL = frozenset(
    {
        "computer_call",
        "file_search_call",
        "web_search_call",
        "code_interpreter_call",
        "shell_call",
        "apply_patch_call",
    }
)


def parse_stored(payload: bytes) -> Any:
    """Parse the stored text of an item, which other software may have written; NOT_JSON when it is not JSON.

    What Python's `json.dumps` wrote is taken as it is, NaN and Infinity too.
    """
    try:
        return msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(payload.decode())
    except (ValueError, RecursionError):
        return NOT_JSON


def item_type(item: Any) -> str:
    """The type of an item: its role if that is user or assistant, else its own type, else `other`."""
    if not isinstance(item, dict):
        return "other"
    role = item.get("role")
    if role in ("user", "assistant"):
        return str(role)
    return _name(item["type"]) if item.get("type") else "other"


def tool_name(item: Any) -> str | None:
    """The tool an item calls or answers, qualified by its MCP server or namespace."""
    if not isinstance(item, dict):
        return None
    kind = item.get("type")
    if isinstance(kind, str):
        if kind in _MCP_TYPES and "server_label" in item:
            parts = [_name(part) for part in (item["server_label"], item.get("name")) if part]
            return ".".join(parts) if parts else None
        if kind in _TOOL_SEARCH_TYPES:
            return "tool_search"
        if kind in _TYPES_THAT_NAME_THE_TOOL:
            return kind
    if item.get("name") is None:
        return None
    name = _name(item["name"])
    namespace = _name(item["namespace"]) if item.get("namespace") is not None else ""
    return f"{namespace}.{name}" if name and namespace and namespace != name else name


def _name(value: Any) -> str:
    """A value as the text of a column; what no column can hold, lone surrogates, becomes question marks."""
    return str(value).encode("utf-8", "replace").decode()


def texts(item: Any) -> list[str]:
    """The texts of a message as a person reads them: its content, or the text of each of its parts.

    No content is an empty text; content with a part that is not an object has no texts at all.
    """
    content = item.get("content", "") if isinstance(item, dict) else None
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return []
    parts = [part.get("text", "") for part in content]
    return [part for part in parts if isinstance(part, str)]


_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def fold_ascii(text: str) -> str:
    """Make ASCII letters equal in either case, and leave all others as they are."""
    return text.translate(_ASCII_LOWER)


def fold_unicode(text: str) -> str:
    """Make letters equal in either case and in composed or decomposed form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


FOLDS: dict[LetterCase, Callable[[str], str]] = {LetterCase.ASCII: fold_ascii, LetterCase.UNICODE: fold_unicode}


def whole_exchanges_start(items: Sequence[Any], before: Any) -> int:
    """The first position from which a window of items holds only whole exchanges.

    A tool's output needs its call, an approval's response its request, and what directly follows reasoning needs that
    reasoning.

    Args:
        items: The items of the window, parsed, oldest first.
        before: The item just before the window, or None.
    """
    start = 0
    while start < len(items) and _follows_reasoning(items[start], items[start - 1] if start else before):
        start += 1
    while True:
        calls = {key for item in items[start:] if (key := _call_key(item)) is not None}
        broken = [
            position
            for position in range(start, len(items))
            if (key := _output_key(items[position])) is not None and key not in calls
        ]
        if not broken:
            return start
        start = broken[-1] + 1
        while start < len(items) and _follows_reasoning(items[start], items[start - 1]):
            start += 1


def _follows_reasoning(item: Any, previous: Any) -> bool:
    is_reply = isinstance(item, dict) and item.get("role") not in ("user", "system", "developer")
    return is_reply and isinstance(previous, dict) and previous.get("type") == "reasoning"


def _call_key(item: Any) -> str | None:
    if not isinstance(item, dict):
        return None
    kind = str(item.get("type", ""))
    if kind == "mcp_approval_request":
        return _key("approval", item.get("id"))
    return _key("call", item.get("call_id")) if not kind.endswith("_output") else None


def _output_key(item: Any) -> str | None:
    if not isinstance(item, dict):
        return None
    kind = str(item.get("type", ""))
    if kind == "mcp_approval_response":
        return _key("approval", item.get("approval_request_id"))
    return _key("call", item.get("call_id")) if kind.endswith("_output") else None


def _key(kind: str, identifier: Any) -> str | None:
    return f"{kind}:{identifier}" if identifier else None
