"""Reading items: the conditional read behind GetItems, StreamItems and Watch."""

from __future__ import annotations

from typing import Any

from turntree.limits import CHUNK_BYTES
from turntree.model import BranchPointer, DeltaKind, ItemMetadata, ItemsDelta, ItemsWindow

from turntree_server.operations import content
from turntree_server.operations.branch_state import BranchState, cursor_of, resolve
from turntree_server.operations.natives import NATIVE_JOIN, read_natives
from turntree_server.operations.statement import Context, Long, Operation, Query, Row, from_timestamp
from turntree_server.operations.tokens import EMPTY, Position, read_cursor, write_cursor

_FEW_ITEMS = 256
"""So many that are new can be listed on the event loop."""

METADATA_COLUMNS = "s.message_type, s.tool_name, s.user_turn_number, s.created_at"
"""What `metadata` is made of."""


def get_items(
    context: Context,
    session_id: str,
    branch: BranchPointer,
    cursor: bytes | None,
    window: ItemsWindow,
    include_metadata: bool,
    native_dialect: str | None,
) -> Operation[ItemsDelta]:
    """Read about 1 MiB of a branch, or of what is new since the cursor. See `Store.get_items`."""
    state = yield from resolve(context, session_id, branch)
    known = yield from known_position(context, session_id, state, cursor)
    whole = cursor_of(context, session_id, state)
    if known == state.position:
        return ItemsDelta(DeltaKind.UNCHANGED, (), whole, state.pointer)
    after = 0 if known is None else (yield from _sequence_number(known.last_id))
    begin = yield from _window_begin(session_id, state, window)
    kind = DeltaKind.REPLACED
    if begin is None:
        return ItemsDelta(kind, (), whole, state.pointer)
    if known is not None and begin <= (yield from _next_sequence_number(session_id, state, after)):
        kind = DeltaKind.APPENDED
        begin = after + 1
    columns = f"s.id, {METADATA_COLUMNS}" if include_metadata else "s.id"  # each costs as much as a short item
    parameters: tuple[object, ...] = (session_id, state.branch_id, begin)
    join = ""
    if native_dialect is not None:
        columns, join, parameters = f"{columns}, n.native", NATIVE_JOIN, (native_dialect, *parameters)
    rows = yield Query(
        f"""
        SELECT CAST(m.message_data AS BLOB), {columns}
        FROM message_structure s JOIN agent_messages m ON m.id = s.message_id {join}
        WHERE s.session_id = ? AND s.branch_id = ? AND s.sequence_number >= ?
        ORDER BY s.sequence_number
        """,
        parameters,
        bytes_max=CHUNK_BYTES,
        counts_last=native_dialect is not None,
    )
    more = rows.left_out is not None
    last_id = rows[-1][1] if more else state.position.last_id
    return ItemsDelta(
        kind,
        tuple([row[0] for row in rows]),
        write_cursor(context, session_id, state.branch_id, Position(state.position.first_id, last_id)),
        state.pointer,
        more,
        tuple([metadata(row[2:6]) for row in rows]) if include_metadata else (),
        read_natives(rows, native_dialect),
    )


def metadata(row: Row) -> ItemMetadata:
    """Metadata from `METADATA_COLUMNS`."""
    kind, tool_name, turn, created_at = row
    return ItemMetadata(kind, tool_name, turn or 0, from_timestamp(created_at))


def known_position(
    context: Context, session_id: str, state: BranchState, cursor: bytes | None
) -> Operation[Position | None]:
    """The part of the branch that a caller with this cursor has, or None when it has nothing that is still there."""
    if cursor is None:
        return None
    known = read_cursor(context, session_id, state.branch_id, cursor, "cursor")
    if known is None or known in (EMPTY, state.position):
        return known
    if known.first_id != state.position.first_id:
        return None
    rows = yield Query(
        "SELECT 1 FROM message_structure WHERE id = ? AND session_id = ? AND branch_id = ?",
        (known.last_id, session_id, state.branch_id),
    )
    return known if rows else None


def page_begin(
    context: Context, session_id: str, state: BranchState, cursor: bytes | None, last: tuple[Any, ...] | None
) -> Operation[tuple[DeltaKind, int]]:
    """How a page of a list changes what its caller has, and the sequence number after which it begins.

    Args:
        context: The circumstances.
        session_id: The session.
        state: The branch.
        cursor: What the caller had before its first page.
        last: What the page token says of the page before, its sequence number last; None for a first page.
    """
    if last is not None:
        return DeltaKind.APPENDED, last[-1]
    known = yield from known_position(context, session_id, state, cursor)
    if known is None:
        yield Long()
        return DeltaKind.REPLACED, -1
    if known == state.position:
        return DeltaKind.UNCHANGED, -1
    after = yield from _sequence_number(known.last_id)
    many = yield Query(
        """
        SELECT 1 FROM message_structure WHERE session_id = ? AND branch_id = ? AND sequence_number > ?
        ORDER BY sequence_number LIMIT 1 OFFSET ?
        """,
        (session_id, state.branch_id, after, _FEW_ITEMS),
    )
    if many:
        yield Long()
    return DeltaKind.APPENDED, after


def _sequence_number(row_id: int) -> Operation[int]:
    rows = yield Query("SELECT sequence_number FROM message_structure WHERE id = ?", (row_id,))
    return rows[0][0] if rows else 0


def _next_sequence_number(session_id: str, state: BranchState, after: int) -> Operation[int]:
    rows = yield Query(
        """
        SELECT MIN(sequence_number) FROM message_structure
        WHERE session_id = ? AND branch_id = ? AND sequence_number > ?
        """,
        (session_id, state.branch_id, after),
    )
    number: int = rows[0][0]
    return number


def _window_begin(session_id: str, state: BranchState, window: ItemsWindow) -> Operation[int | None]:
    """The sequence number at which a window begins; None when it holds nothing."""
    if state.is_empty or window.limit == 0 or window.limit_turns == 0:
        return None
    begin = 0
    if window.limit is not None:
        rows = yield Query(
            """
            SELECT sequence_number FROM message_structure WHERE session_id = ? AND branch_id = ?
            ORDER BY sequence_number DESC LIMIT 1 OFFSET ?
            """,
            (session_id, state.branch_id, window.limit - 1),
        )
        begin = rows[0][0] if rows else 0
    if window.limit_turns is not None:
        rows = yield Query(
            """
            SELECT MIN(sequence_number) FROM message_structure
            WHERE session_id = ? AND branch_id = ? AND user_turn_number > ?
            """,
            (session_id, state.branch_id, state.turn - window.limit_turns),
        )
        begin = max(begin, rows[0][0] or 0)
    if window.whole_exchanges and begin > 0:
        return (yield from _whole_exchanges_begin(session_id, state, begin))
    return begin


def _whole_exchanges_begin(session_id: str, state: BranchState, begin: int) -> Operation[int | None]:
    """Move the beginning of a window forward until it splits no exchange."""
    rows = yield Query(
        """
        SELECT CAST(m.message_data AS BLOB), s.sequence_number
        FROM message_structure s JOIN agent_messages m ON m.id = s.message_id
        WHERE s.session_id = ? AND s.branch_id = ? AND s.sequence_number >= COALESCE(
            (
                SELECT MAX(sequence_number) FROM message_structure
                WHERE session_id = ? AND branch_id = ? AND sequence_number < ?
            ), 0
        )
        ORDER BY s.sequence_number
        """,
        (session_id, state.branch_id, session_id, state.branch_id, begin),
    )
    items = [content.parse_stored(payload) for payload, _ in rows]
    has_item_before = bool(rows) and rows[0][1] < begin
    start = content.whole_exchanges_start(items[has_item_before:], items[0] if has_item_before else None)
    left = rows[has_item_before + start :]
    return left[0][1] if left else None
