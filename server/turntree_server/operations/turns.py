"""Reading a conversation by turns."""

from __future__ import annotations

import msgspec
from turntree.limits import CHUNK_BYTES, OUTLINE_PAGE_SIZE_DEFAULT, PAGE_SIZE_DEFAULT
from turntree.model import BranchPointer, DeltaKind, ItemMetadata, Page, ToolUsage, Turn, TurnsDelta

from turntree_server.operations.branch_state import BranchState, cursor_of, resolve
from turntree_server.operations.natives import NATIVE_JOIN, read_natives
from turntree_server.operations.read_items import METADATA_COLUMNS, known_position, metadata, page_begin
from turntree_server.operations.statement import Context, Operation, Query, Row, Rows, from_timestamp
from turntree_server.operations.tokens import EMPTY, Position, read_page_token, write_cursor, write_page_token

_FIRST_CHUNK_BYTES = CHUNK_BYTES // 128
"""What the first part of a stream of turns holds: little, so that its reader has something to do at once."""


def list_turns(
    context: Context, session_id: str, branch: BranchPointer, cursor: bytes | None, page_size: int, page_token: str
) -> Operation[Page[Turn]]:
    """List turns by their user items. See `Store.list_turns`."""
    state = yield from resolve(context, session_id, branch)
    request = ("list_turns", session_id, state.branch_id, state.pointer.generation)
    last = read_page_token(context, request, page_token)
    kind, after = yield from page_begin(context, session_id, state, cursor, last)
    if kind is DeltaKind.UNCHANGED:
        return Page((), "", state.pointer, cursor_of(context, session_id, state), kind)
    page_size = page_size or PAGE_SIZE_DEFAULT
    rows = yield Query(
        """
        SELECT CAST(m.message_data AS BLOB), COALESCE(s.branch_turn_number, 0), s.created_at, s.sequence_number
        FROM message_structure s JOIN agent_messages m ON m.id = s.message_id
        WHERE s.session_id = ? AND s.branch_id = ? AND s.message_type = 'user' AND s.sequence_number > ?
        ORDER BY s.sequence_number LIMIT ?
        """,
        (session_id, state.branch_id, after, page_size + 1 if not state.expired else 0),
        bytes_max=CHUNK_BYTES,
    )
    shown = rows[:page_size]
    more = len(rows) > page_size or rows.left_out is not None
    token = write_page_token(context, request, (shown[-1][3],)) if more else ""
    turns = tuple(
        [Turn(turn, state.branch_id, from_timestamp(created_at), payload) for payload, turn, created_at, _ in shown]
    )
    return Page(turns, token, state.pointer, cursor_of(context, session_id, state), kind)


def stream_turns(
    context: Context,
    session_id: str,
    branch: BranchPointer,
    cursor: bytes | None,
    continued: bool | None,
    resumed_at: bytes | None,
    native_dialect: str | None,
) -> Operation[tuple[TurnsDelta, bool]]:
    """Read about 1 MiB of turns beyond the cursor, and whether more follow. See `Store.stream_turn_deltas`.

    Args:
        context: The circumstances.
        session_id: The session.
        branch: The branch.
        cursor: What the caller has.
        continued: What the delta before this one said, to go on exactly after it; None to begin with a whole turn. If
            the branch was rewritten so that it is no longer true, the turns begin again.
        resumed_at: The cursor that the stream began with. Its caller leaves out of the turn it begins with what came
            before that, so the turns begin again when that is gone, although the stream itself is not there yet.
        native_dialect: The dialect of the native forms to read, if any.
    """
    state = yield from resolve(context, session_id, branch)
    known = yield from known_position(context, session_id, state, cursor)
    if known and continued is not None:
        goes_on = yield from _turn_goes_on(session_id, state, known)
        begun = (yield from known_position(context, session_id, state, resumed_at)) if resumed_at is not None else known
        if goes_on != continued or begun is None:
            known = None
    restarted = cursor is not None and known is None
    is_first = continued is None
    bytes_max = _FIRST_CHUNK_BYTES if is_first else CHUNK_BYTES
    begin = yield from _begin_after(session_id, state, known or EMPTY, whole_turn=is_first)
    rows = yield from _rows_from(session_id, state, begin, bytes_max, native_dialect)
    left_out = rows.left_out
    last_id = rows[-1][1] if left_out is not None else state.position.last_id
    position = Position(state.position.first_id, last_id)
    delta = TurnsDelta(
        _to_turns(state.branch_id, rows, native_dialect),
        write_cursor(context, session_id, state.branch_id, position),
        state.pointer,
        restarted,
        continued=left_out is not None and left_out[4] == rows[-1][4],
    )
    return delta, left_out is not None


def _turn_goes_on(session_id: str, state: BranchState, known: Position) -> Operation[bool]:
    """Whether the row after a position is of the same turn as the last row before it."""
    turns = yield Query(
        """
        SELECT user_turn_number FROM message_structure
        WHERE session_id = ? AND branch_id = ?
            AND sequence_number >= (SELECT sequence_number FROM message_structure WHERE id = ?)
        ORDER BY sequence_number LIMIT 2
        """,
        (session_id, state.branch_id, known.last_id),
    )
    return len(turns) == 2 and turns[0] == turns[1]


def _begin_after(session_id: str, state: BranchState, known: Position, *, whole_turn: bool) -> Operation[int | None]:
    """The sequence number of the row beyond a position, or of the first of its turn if that is to be whole."""
    if known == EMPTY:
        return 0
    following = yield Query(
        """
        SELECT sequence_number, user_turn_number FROM message_structure
        WHERE session_id = ? AND branch_id = ?
            AND sequence_number > (SELECT sequence_number FROM message_structure WHERE id = ?)
        ORDER BY sequence_number LIMIT 1
        """,
        (session_id, state.branch_id, known.last_id),
    )
    if not following:
        return None
    begin: int
    begin, turn = following[0]
    if not whole_turn or turn is None:
        return begin
    first = yield Query(
        """
        SELECT MIN(sequence_number) FROM message_structure
        WHERE session_id = ? AND branch_id = ? AND user_turn_number = ?
        """,
        (session_id, state.branch_id, turn),
    )
    begin = first[0][0]
    return begin


def _rows_from(
    session_id: str, state: BranchState, begin: int | None, bytes_max: int, native_dialect: str | None
) -> Operation[Rows]:
    """The rows from a sequence number on, as far as the branch was read; none without a number."""
    if begin is None:
        return Rows()
    columns, join = METADATA_COLUMNS, ""
    parameters: tuple[object, ...] = (session_id, state.branch_id, begin, state.position.last_id)
    if native_dialect is not None:
        columns, join, parameters = f"{columns}, n.native", NATIVE_JOIN, (native_dialect, *parameters)
    return (
        yield Query(
            f"""
            SELECT CAST(m.message_data AS BLOB), s.id, {columns}
            FROM message_structure s JOIN agent_messages m ON m.id = s.message_id {join}
            WHERE s.session_id = ? AND s.branch_id = ? AND s.sequence_number >= ? AND s.id <= ?
            ORDER BY s.sequence_number
            """,
            parameters,
            bytes_max=bytes_max,
            counts_last=native_dialect is not None,
        )
    )


def _to_turns(branch_id: str, rows: list[Row], native_dialect: str | None) -> tuple[Turn, ...]:
    groups: list[list[Row]] = []
    for row in rows:
        if groups and groups[-1][0][4] == row[4]:
            groups[-1].append(row)
        else:
            groups.append([row])
    return tuple(_to_turn(branch_id, group, native_dialect) for group in groups)


def _to_turn(branch_id: str, rows: list[Row], native_dialect: str | None) -> Turn:
    payload, _, kind, _, turn, created_at = rows[0][:6]
    return Turn(
        turn or 0,
        branch_id,
        from_timestamp(created_at),
        payload if kind == "user" else None,
        tuple([row[0] for row in rows]),
        tuple([metadata(row[2:6]) for row in rows]),
        read_natives(rows, native_dialect),
    )


def get_conversation_by_turns(
    context: Context, session_id: str, branch: BranchPointer, cursor: bytes | None, page_size: int, page_token: str
) -> Operation[Page[ItemMetadata]]:
    """Outline a branch. See `Store.get_conversation_by_turns`."""
    state = yield from resolve(context, session_id, branch)
    request = ("get_conversation_by_turns", session_id, state.branch_id, state.pointer.generation)
    last = read_page_token(context, request, page_token)
    kind, after = yield from page_begin(context, session_id, state, cursor, last)
    if kind is DeltaKind.UNCHANGED:
        return Page((), "", state.pointer, cursor_of(context, session_id, state), kind)
    page_size = page_size or OUTLINE_PAGE_SIZE_DEFAULT
    # A column of the page is one value of the answer: ten thousand rows would take longer to hand over than to find.
    columns = yield Query(
        """
        SELECT json_group_array(message_type), json_group_array(tool_name), json_group_array(turn),
            json_group_array(created_at), MAX(sequence_number)
        FROM (
            SELECT message_type, tool_name, COALESCE(user_turn_number, 0) AS turn, created_at, sequence_number
            FROM message_structure
            WHERE session_id = ? AND branch_id = ? AND sequence_number > ?
            ORDER BY sequence_number LIMIT ?
        ) AS items
        """,
        (session_id, state.branch_id, after, page_size if not state.expired else 0),
    )
    *texts, last_number = columns[0]
    types, tool_names, numbers, times = map(msgspec.json.decode, texts)
    more = len(types) == page_size and (yield from _has_items_after(session_id, state, last_number))
    token = write_page_token(context, request, (last_number,)) if more else ""
    items = map(ItemMetadata._make, zip(types, tool_names, numbers, map(from_timestamp, times), strict=True))
    return Page(tuple(items), token, state.pointer, cursor_of(context, session_id, state), kind)


def _has_items_after(session_id: str, state: BranchState, sequence_number: int) -> Operation[bool]:
    rows = yield Query(
        """
        SELECT 1 FROM message_structure WHERE session_id = ? AND branch_id = ? AND sequence_number > ? LIMIT 1
        """,
        (session_id, state.branch_id, sequence_number),
    )
    return bool(rows)


def _turn_after(session_id: str, state: BranchState, sequence_number: int) -> Operation[int]:
    """The turn of the first row after a sequence number."""
    rows = yield Query(
        """
        SELECT COALESCE(user_turn_number, 0) FROM message_structure
        WHERE session_id = ? AND branch_id = ? AND sequence_number > ? ORDER BY sequence_number LIMIT 1
        """,
        (session_id, state.branch_id, sequence_number),
    )
    turn: int = rows[0][0]
    return turn


def list_tool_usage(
    context: Context, session_id: str, branch: BranchPointer, cursor: bytes | None, page_size: int, page_token: str
) -> Operation[Page[ToolUsage]]:
    """Count tool calls. See `Store.list_tool_usage`.

    A search for tools counts by its call, or by its output when the turn has no call of it. Items that software
    without tool names wrote are counted by their type where the type names the tool.
    """
    state = yield from resolve(context, session_id, branch)
    request = ("list_tool_usage", session_id, state.branch_id, state.pointer.generation)
    last = read_page_token(context, request, page_token)
    shown_turn, shown_tool = -1, None  # the last entry of the page before
    if last is not None:
        kind, (shown_turn, shown_tool) = DeltaKind.APPENDED, last
        first_turn = shown_turn
    else:
        kind, after = yield from page_begin(context, session_id, state, cursor, None)
        first_turn = 0
        if kind is DeltaKind.APPENDED:
            first_turn = yield from _turn_after(session_id, state, after)
    if kind is DeltaKind.UNCHANGED:
        return Page((), "", state.pointer, cursor_of(context, session_id, state), kind)
    page_size = page_size or OUTLINE_PAGE_SIZE_DEFAULT
    rows = yield Query(
        """
        SELECT
            COALESCE(
                tool_name, CASE WHEN message_type IN ('shell_call', 'apply_patch_call') THEN message_type END
            ) AS tool,
            COUNT(*), user_turn_number
        FROM message_structure o
        WHERE session_id = ? AND branch_id = ? AND user_turn_number >= ? AND (
            message_type IN (
                'tool_call', 'function_call', 'computer_call', 'file_search_call', 'web_search_call',
                'code_interpreter_call', 'tool_search_call', 'custom_tool_call', 'mcp_call',
                'mcp_approval_request', 'shell_call', 'apply_patch_call'
            )
            OR message_type = 'tool_search_output' AND NOT EXISTS (
                SELECT 1 FROM message_structure c
                WHERE c.session_id = o.session_id AND c.branch_id = o.branch_id
                    AND c.user_turn_number = o.user_turn_number AND c.tool_name = o.tool_name
                    AND c.message_type = 'tool_search_call'
            )
        )
        GROUP BY user_turn_number, tool
        HAVING user_turn_number > ? OR tool > ? OR (? IS NULL AND tool IS NOT NULL)
        ORDER BY user_turn_number, tool LIMIT ?
        """,
        (
            *(session_id, state.branch_id, first_turn),
            *(shown_turn, shown_tool, shown_tool),
            page_size + 1 if not state.expired else 0,
        ),
    )
    tools = tuple(map(ToolUsage._make, rows[:page_size]))
    last_shown = (tools[-1].turn, tools[-1].tool_name) if len(rows) > page_size else None
    token = write_page_token(context, request, last_shown) if last_shown is not None else ""
    return Page(tools, token, state.pointer, cursor_of(context, session_id, state), kind)
