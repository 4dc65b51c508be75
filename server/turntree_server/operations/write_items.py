"""Writing items: append, pop, replace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turntree.limits import invalid, parse_item
from turntree.model import BranchPointer, NativeItem, Popped, Written

from turntree_server.operations import content
from turntree_server.operations.adopt import adopt_if_plain
from turntree_server.operations.branch_state import (
    BranchState,
    branch_not_found,
    cursor_of,
    is_branch_id_used,
    require_position,
    resolve_for_write,
)
from turntree_server.operations.natives import NATIVE_JOIN, write_natives
from turntree_server.operations.purge import purge_orphans
from turntree_server.operations.statement import Context, Insert, Operation, Query
from turntree_server.operations.structure import last_sequence_number, structure_rows, touch_session
from turntree_server.operations.tokens import Position


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item about to be written, with what was read out of it."""

    payload: bytes
    type: str
    tool_name: str | None


def describe(items: Sequence[bytes], natives: Sequence[NativeItem]) -> list[NewItem]:
    """Read type and tool out of items, and refuse those that are not JSON, and native forms that are not.

    Raises:
        InvalidArgument: ITEM_NOT_JSON, naming the first one's field.
    """
    described = []
    for position, payload in enumerate(items):
        item = parse_item(payload, f"items[{position}]")
        described.append(NewItem(payload, content.item_type(item), content.tool_name(item)))
    for position, native in enumerate(natives):
        parse_item(native.native, f"natives[{position}].native")
    return described


def add_items(
    context: Context,
    session_id: str,
    items: Sequence[bytes],
    branch: BranchPointer,
    expected_cursor: bytes | None,
    natives: Sequence[NativeItem] = (),
) -> Operation[Written]:
    """Append items to a branch that exists or whose id is reserved. See `Store.add_items`."""
    new_items = describe(items, natives)
    state = yield from _resolve_used(context, session_id, branch)
    require_position(context, session_id, state, expected_cursor)
    previous_cursor = cursor_of(context, session_id, state)
    state = yield from append(context, session_id, state, new_items, natives)
    return Written(state.pointer, cursor_of(context, session_id, state), state.turn, previous_cursor)


def _resolve_used(context: Context, session_id: str, pointer: BranchPointer) -> Operation[BranchState]:
    """Resolve a pointer to a branch that items may be written to: one that holds items, or whose id is reserved."""
    state = yield from resolve_for_write(context, session_id, pointer)
    if state.is_empty and (yield from adopt_if_plain(session_id)):
        state = yield from resolve_for_write(context, session_id, pointer)
    if state.is_empty and not (yield from is_branch_id_used(session_id, state.branch_id)):
        raise branch_not_found(session_id, state.branch_id)
    return state


def append(
    context: Context,
    session_id: str,
    state: BranchState,
    new_items: Sequence[NewItem],
    natives: Sequence[NativeItem],
) -> Operation[BranchState]:
    """Write items after the last row of a branch and number their turns; returns where that leaves the branch."""
    if not new_items:
        return state
    yield from touch_session(context, session_id)
    message_rows = yield Insert(
        "agent_messages",
        "session_id, message_data, created_at",
        [(session_id, item.payload.decode(), context.timestamp) for item in new_items],
    )
    if natives:
        yield from write_natives(natives, message_rows)
    sequence_number = yield from last_sequence_number(session_id)
    turn, branch_turn = state.turn, state.branch_turn
    structure = []
    for item, (message_id,) in zip(new_items, message_rows, strict=True):
        sequence_number += 1
        turn += item.type == "user"
        branch_turn += item.type == "user"
        structure.append(
            (
                session_id,
                message_id,
                state.branch_id,
                item.type,
                sequence_number,
                turn,
                branch_turn,
                item.tool_name,
                context.timestamp,
            )
        )
    ids = yield structure_rows(structure)
    first_id = ids[0][0] if state.is_empty else state.position.first_id
    return BranchState(state.pointer, Position(first_id, ids[-1][0]), turn, branch_turn)


def pop_item(
    context: Context,
    session_id: str,
    branch: BranchPointer,
    expected_cursor: bytes | None,
    native_dialect: str | None = None,
) -> Operation[Popped]:
    """Remove and return the newest item of a branch. See `Store.pop_item`."""
    state = yield from resolve_for_write(context, session_id, branch)
    require_position(context, session_id, state, expected_cursor)
    while not state.is_empty:
        payload, native, state = yield from _remove_last(context, session_id, state, native_dialect)
        if payload is not None and content.parse_stored(payload) is not content.NOT_JSON:
            return Popped(payload, state.pointer, cursor_of(context, session_id, state), native)
    return Popped(None, state.pointer, cursor_of(context, session_id, state))


def _remove_last(
    context: Context, session_id: str, state: BranchState, native_dialect: str | None
) -> Operation[tuple[bytes | None, bytes | None, BranchState]]:
    """Remove the last item of a branch; returns it, its native form, and where that leaves the branch."""
    removed = yield Query(
        "DELETE FROM message_structure WHERE id = ? RETURNING message_id, user_turn_number",
        (state.position.last_id,),
    )
    message_id, turn = removed[0]
    if native_dialect is None:
        found = yield Query("SELECT CAST(message_data AS BLOB), NULL FROM agent_messages WHERE id = ?", (message_id,))
    else:
        found = yield Query(
            f"SELECT CAST(m.message_data AS BLOB), n.native FROM agent_messages m {NATIVE_JOIN} WHERE m.id = ?",
            (native_dialect, message_id),
        )
    yield from purge_orphans([message_id])
    left = yield from resolve_for_write(context, session_id, state.pointer)
    if turn is not None and (left.is_empty or left.turn != turn):
        yield from _purge_usage(session_id, state.branch_id, turn)
    payload, native = found[0] if found else (None, None)
    return payload, native, left


def _purge_usage(session_id: str, branch_id: str, from_turn: int) -> Operation[None]:
    """Remove the usage of turns that hold no items any more: this one and all after it."""
    yield Query(
        "DELETE FROM turn_usage WHERE session_id = ? AND branch_id = ? AND user_turn_number >= ?",
        (session_id, branch_id, from_turn),
    )


def replace_items(
    context: Context,
    session_id: str,
    remove_count: int,
    items: Sequence[bytes],
    branch: BranchPointer,
    expected_cursor: bytes,
    natives: Sequence[NativeItem] = (),
) -> Operation[Written]:
    """Replace the newest items of a branch by others. See `Store.replace_items`."""
    new_items = describe(items, natives)
    state = yield from _resolve_used(context, session_id, branch)
    require_position(context, session_id, state, expected_cursor)
    removed = yield Query(
        """
        DELETE FROM message_structure WHERE id IN (
            SELECT id FROM message_structure WHERE session_id = ? AND branch_id = ?
            ORDER BY sequence_number DESC LIMIT ?
        ) RETURNING message_id
        """,
        (session_id, state.branch_id, remove_count),
    )
    if len(removed) < remove_count:
        invalid("remove_count", remove_count, f"at most the branch's {len(removed)} items")
    yield from purge_orphans([message_id for (message_id,) in removed])
    left = yield from resolve_for_write(context, session_id, state.pointer)
    yield from _purge_usage(session_id, state.branch_id, 0 if left.is_empty else left.turn + 1)
    state = yield from append(context, session_id, left, new_items, natives)
    return Written(state.pointer, cursor_of(context, session_id, state), state.turn)
