"""Search over what users said."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from turntree.limits import CHUNK_BYTES, PAGE_SIZE_DEFAULT
from turntree.model import BranchPointer, DeltaKind, LetterCase, Page, Turn

from turntree_server.operations import content as item_content
from turntree_server.operations.branch_state import cursor_of, resolve
from turntree_server.operations.read_items import page_begin
from turntree_server.operations.statement import Context, Operation, Query, Row, from_timestamp
from turntree_server.operations.tokens import read_page_token, write_page_token

_ROWS_AT_ONCE = 500
_PATTERN_CHARACTERS_MAX = 4_000


def search_turns(
    context: Context,
    session_id: str,
    content: str,
    branch: BranchPointer,
    all_branches: bool,
    letter_case: LetterCase,
    cursor: bytes | None,
    page_size: int,
    page_token: str,
) -> Operation[Page[Turn]]:
    """Find the turns whose user item contains a text. See `Store.search_turns`."""
    state = yield from resolve(context, session_id, branch)
    only_branch_id = None if all_branches else state.branch_id
    request = ("search_turns", session_id, content, only_branch_id, letter_case, state.pointer.generation)
    last = read_page_token(context, request, page_token)
    kind, after_number = yield from page_begin(context, session_id, state, cursor, last)
    after = last or (only_branch_id or "", after_number)
    page_size = page_size or PAGE_SIZE_DEFAULT
    here = b"" if all_branches else cursor_of(context, session_id, state)
    matches = _matcher(content, letter_case)
    found: list[Row] = []
    found_bytes = 0
    while kind is not DeltaKind.UNCHANGED and not state.expired:
        rows = yield from _candidates(session_id, only_branch_id, after, _patterns(content, letter_case))
        for row in rows:
            if not matches(row[0]):
                continue
            found_bytes += len(row[0])
            if found and (len(found) == page_size or found_bytes > CHUNK_BYTES):
                end = found[-1]
                token = write_page_token(context, request, (end[1], end[2]))
                return Page(tuple(_to_turn(row) for row in found), token, state.pointer, here, kind)
            found.append(row)
        if len(rows) < _ROWS_AT_ONCE and rows.left_out is None:
            break
        after = (rows[-1][1], rows[-1][2])
    return Page(tuple(_to_turn(row) for row in found), "", state.pointer, here, kind)


def _to_turn(row: Row) -> Turn:
    payload, branch_id, _, turn, created_at = row
    return Turn(turn, branch_id, from_timestamp(created_at), payload)


def _candidates(
    session_id: str, only_branch_id: str | None, after: tuple[Any, ...], patterns: tuple[str, ...]
) -> Operation[Any]:
    """The next user items that may match, by branch and sequence number."""
    conditions = ["s.session_id = ?", "s.message_type = 'user'"]
    if only_branch_id is None:
        conditions.append("(s.branch_id, s.sequence_number) > (?, ?)")
    else:
        conditions += ["s.branch_id = ?", "s.sequence_number > ?"]
    if patterns:
        like = "m.message_data LIKE ? ESCAPE '!'"
        escaped = " OR ".join([like] * (len(patterns) - 1))
        conditions.append(rf"({like} OR m.message_data LIKE '%\%' AND ({escaped}))")
    rows = yield Query(
        f"""
        SELECT CAST(m.message_data AS BLOB), s.branch_id, s.sequence_number, COALESCE(s.branch_turn_number, 0),
            s.created_at
        FROM message_structure s JOIN agent_messages m ON m.id = s.message_id
        WHERE {" AND ".join(conditions)}
        ORDER BY s.branch_id, s.sequence_number LIMIT ?
        """,
        (session_id, *after, *patterns, _ROWS_AT_ONCE),
        bytes_max=4 * CHUNK_BYTES,
    )
    return rows


def _patterns(content: str, letter_case: LetterCase) -> tuple[str, ...]:
    """LIKE patterns of which every stored item with the text matches one: the text as it is, then what escapes.

    None when only reading all items will do.

    An item holds the text as it is, or escaped. `json.dumps` escapes what is not ASCII, others escape what they like,
    and JSON allows even letters and slashes to be: such items are found by the escapes they must then contain.
    """
    if letter_case is not LetterCase.ASCII or not content or len(content) > _PATTERN_CHARACTERS_MAX:
        return ()
    escapes = [rf"\u00{digit}" for digit in "234567"] if content.isascii() and content.isprintable() else [r"\u"]
    escapes += [r"\/"] if "/" in content else []
    plain = json.dumps(content, ensure_ascii=False)[1:-1]
    return tuple(f"%{_literal(pattern)}%" for pattern in (plain, *escapes))


def _literal(text: str) -> str:
    for special in "!%_":
        text = text.replace(special, "!" + special)
    return text


def _matcher(content: str, letter_case: LetterCase) -> Callable[[bytes], bool]:
    fold = item_content.FOLDS[letter_case]
    wanted = fold(content)

    def matches(payload: bytes) -> bool:
        return any(wanted in fold(text) for text in item_content.texts(item_content.parse_stored(payload)))

    return matches
