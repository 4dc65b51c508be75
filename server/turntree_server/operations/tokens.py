"""Cursors and page tokens: what a caller keeps between calls without looking inside."""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass
from typing import Any

import msgspec
from turntree.errors import ErrorReason, InvalidArgument

from turntree_server.operations.statement import Context

_CURSOR = struct.Struct(">B8sqq")
_CURSOR_VERSION = 1
_TAG_BYTES = 8


@dataclass(frozen=True, slots=True)
class Position:
    """What a caller has of a branch: every row from `first_id` to `last_id`; both are 0 for an empty branch.

    Rows of a branch never change, their ids rise and are never used again, and rows go only from its end or all
    together. So the caller's part is a prefix of the branch exactly when the branch still begins with `first_id` and
    still has the row `last_id`.
    """

    first_id: int
    last_id: int


EMPTY = Position(0, 0)


def write_cursor(context: Context, session_id: str, branch_id: str, position: Position) -> bytes:
    """Make the cursor of a position on a branch."""
    tag = _tag(context, session_id, branch_id)
    return _CURSOR.pack(_CURSOR_VERSION, tag, position.first_id, position.last_id)


def read_cursor(context: Context, session_id: str, branch_id: str, cursor: bytes, field: str) -> Position | None:
    """Read a cursor; None when it was made for another branch, session or database.

    Raises:
        InvalidArgument: CURSOR_INVALID, naming `field`.
    """
    try:
        version, tag, first_id, last_id = _CURSOR.unpack(cursor)
    except struct.error:
        version = tag = first_id = last_id = 0
    if version != _CURSOR_VERSION or first_id < 0 or last_id < first_id:
        limit = "a cursor from an earlier answer"
        raise InvalidArgument(ErrorReason.CURSOR_INVALID, f"{field} is not {limit}", field=field, limit=limit)
    return Position(first_id, last_id) if tag == _tag(context, session_id, branch_id) else None


def _tag(context: Context, *names: str) -> bytes:
    digest = hashlib.blake2b(context.database_id, digest_size=_TAG_BYTES)
    for name in names:
        digest.update(b"\0" + name.encode())
    return digest.digest()


def write_page_token(context: Context, request: tuple[Any, ...], last: tuple[Any, ...]) -> str:
    """Make the token that continues `request` after the entry with the sort key `last`."""
    packed = msgspec.msgpack.encode((_fingerprint(context, (request, last)), last))
    return base64.urlsafe_b64encode(packed).decode()


def read_page_token(context: Context, request: tuple[Any, ...], page_token: str) -> tuple[Any, ...] | None:
    """Read the sort key that `write_page_token` kept; None for the empty token of a first page.

    Raises:
        InvalidArgument: PAGE_TOKEN_INVALID, when it was not made for this request.
    """
    if not page_token:
        return None
    try:
        packed = base64.urlsafe_b64decode(page_token.encode())
        fingerprint, last = msgspec.msgpack.decode(packed, type=tuple[bytes, tuple[Any, ...]])
        is_ours = fingerprint == _fingerprint(context, (request, last))
    except (ValueError, RecursionError):  # no token, or one that goes too deep to be ours
        is_ours = False
    if not is_ours:
        limit = "next_page_token of the same request"
        raise InvalidArgument(
            ErrorReason.PAGE_TOKEN_INVALID, f"page_token is not {limit}", field="page_token", limit=limit
        )
    return last


def _fingerprint(context: Context, content: tuple[Any, ...]) -> bytes:
    return hashlib.blake2b(msgspec.msgpack.encode(content), digest_size=_TAG_BYTES, key=context.database_id).digest()
