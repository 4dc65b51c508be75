"""Branches: fork, describe, list, remove, compare."""

from __future__ import annotations

from typing import assert_never

from turntree.errors import AlreadyExists, ErrorReason, FailedPrecondition, NotFound
from turntree.limits import PAGE_SIZE_DEFAULT
from turntree.model import (
    MAIN_BRANCH_ID,
    AfterTurn,
    AtHead,
    BeforeContent,
    BeforeTurn,
    Branch,
    BranchComparison,
    BranchDifference,
    BranchPointer,
    CreatedBranch,
    DeletedBranch,
    LetterCase,
    Origin,
    Page,
)

from turntree_server.operations.branch_state import (
    branch_not_found,
    is_branch_id_used,
    resolve,
    resolve_for_write,
    session_state,
)
from turntree_server.operations.purge import purge_if_expired, purge_orphans
from turntree_server.operations.search import search_turns
from turntree_server.operations.statement import Context, Operation, Query, Row, from_timestamp, to_ms
from turntree_server.operations.structure import last_sequence_number
from turntree_server.operations.tokens import EMPTY, Position, read_page_token, write_cursor, write_page_token

_COUNTS = """
    SELECT session_id, branch_id, COUNT(*) AS item_count, MIN(created_at) AS created_at,
        COUNT(CASE WHEN message_type = 'user' THEN 1 END) AS turn_count
    FROM message_structure
"""
_BRANCHES = """
    SELECT b.branch_id, item_count, turn_count, created_at, source_branch_id, fork_turn FROM counts b
    LEFT JOIN turntree_branches t ON t.session_id = b.session_id AND t.branch_id = b.branch_id
"""


def create_branch(
    context: Context, session_id: str, origin: Origin, branch: BranchPointer, new_branch_id: str | None
) -> Operation[CreatedBranch]:
    """Fork a branch. See `Store.create_branch`."""
    source = yield from resolve_for_write(context, session_id, branch)
    if source.is_empty and not (yield from is_branch_id_used(session_id, source.branch_id)):
        raise branch_not_found(session_id, source.branch_id)
    match origin:
        case BeforeTurn(turn):
            yield from _require_user_item(session_id, source.branch_id, turn)
            base, fork_turn = f"branch_from_turn_{turn}", turn - 1
        case BeforeContent(content):
            turn = yield from _turn_with(context, session_id, source.pointer, content)
            base, fork_turn = f"branch_from_turn_{turn}", turn - 1
        case AfterTurn(turn):
            yield from _require_turn(session_id, source.branch_id, turn)
            base, fork_turn = f"branch_after_turn_{turn}", turn
        case AtHead():
            base, fork_turn = "branch_from_head", source.branch_turn
        case _:
            assert_never(origin)
    branch_id = yield from _reserve(context, session_id, new_branch_id, base)
    sequence_number = yield from last_sequence_number(session_id)
    yield Query(
        """
        INSERT INTO message_structure (
            session_id, message_id, branch_id, message_type, sequence_number,
            user_turn_number, branch_turn_number, tool_name, created_at
        )
        SELECT session_id, message_id, ?, message_type, ? + ROW_NUMBER() OVER (ORDER BY sequence_number),
            user_turn_number, branch_turn_number, tool_name, ?
        FROM message_structure
        WHERE session_id = ? AND branch_id = ? AND branch_turn_number <= ?
        ORDER BY sequence_number
        """,
        (branch_id, sequence_number, context.timestamp, session_id, source.branch_id, fork_turn),
    )
    yield Query(
        """
        INSERT INTO turntree_branches (session_id, branch_id, source_branch_id, fork_turn, create_time)
        VALUES (?, ?, ?, ?, ?)
        """,
        (session_id, branch_id, source.branch_id, fork_turn, to_ms(context.now)),
    )
    created = yield from _branch(session_id, branch_id, source.pointer.generation or 0)
    empty = Branch(branch_id, 0, 0, source.pointer.generation or 0, None, source.branch_id, fork_turn)
    return CreatedBranch(created or empty, source.pointer)


def _require_user_item(session_id: str, branch_id: str, turn: int) -> Operation[None]:
    rows = yield Query(
        """
        SELECT 1 FROM message_structure s JOIN agent_messages m ON m.id = s.message_id
        WHERE s.session_id = ? AND s.branch_id = ? AND s.branch_turn_number = ? AND s.message_type = 'user' LIMIT 1
        """,
        (session_id, branch_id, turn),
    )
    if not rows:
        message = f"Turn {turn} does not contain a user message in branch '{branch_id}'"
        raise _turn_not_found(message, session_id, branch_id, turn)


def _require_turn(session_id: str, branch_id: str, turn: int) -> Operation[None]:
    rows = yield Query(
        "SELECT 1 FROM message_structure WHERE session_id = ? AND branch_id = ? AND branch_turn_number = ? LIMIT 1",
        (session_id, branch_id, turn),
    )
    if not rows:
        raise _turn_not_found(f"Turn {turn} does not exist in branch '{branch_id}'", session_id, branch_id, turn)


def _turn_not_found(message: str, session_id: str, branch_id: str, turn: int) -> NotFound:
    return NotFound(ErrorReason.TURN_NOT_FOUND, message, session_id=session_id, branch_id=branch_id, turn=turn)


def _turn_with(context: Context, session_id: str, branch: BranchPointer, content: str) -> Operation[int]:
    page = yield from search_turns(context, session_id, content, branch, False, LetterCase.ASCII, 1, "")
    if not page.entries:
        raise NotFound(
            ErrorReason.CONTENT_NOT_FOUND,
            f"no user item of branch '{branch.branch_id}' contains the text",
            session_id=session_id,
            branch_id=branch.branch_id,
        )
    return page.entries[0].turn


def _reserve(context: Context, session_id: str, new_branch_id: str | None, base: str) -> Operation[str]:
    """Reserve the id of a new branch: the one asked for, or one made from where and when it was forked."""
    if new_branch_id is not None:
        branch_id = new_branch_id
        if (yield from is_branch_id_used(session_id, branch_id)):
            raise AlreadyExists(
                ErrorReason.BRANCH_ID_USED,
                f"Branch ID '{branch_id}' has already been used. Choose a new branch ID.",
                session_id=session_id,
                branch_id=branch_id,
            )
    else:
        base = branch_id = f"{base}_{int(context.now.timestamp())}"
        suffix = 1
        while (yield from is_branch_id_used(session_id, branch_id)):
            suffix += 1
            branch_id = f"{base}_{suffix}"
    yield Query("INSERT INTO branch_reservations (session_id, branch_id) VALUES (?, ?)", (session_id, branch_id))
    return branch_id


def get_branch(context: Context, session_id: str, branch_id: str) -> Operation[Branch]:
    """Describe a branch. See `Store.get_branch`."""
    session = yield from session_state(context, session_id)
    branch = None if session.expired else (yield from _branch(session_id, branch_id, session.generation))
    if branch is not None:
        return branch
    if branch_id != MAIN_BRANCH_ID:
        raise branch_not_found(session_id, branch_id)
    return Branch(MAIN_BRANCH_ID, 0, 0, session.generation)


def _branch(session_id: str, branch_id: str, generation: int) -> Operation[Branch | None]:
    rows = yield Query(
        f"""
        WITH counts AS ({_COUNTS} WHERE session_id = ? AND branch_id = ? GROUP BY session_id, branch_id)
        {_BRANCHES}
        """,
        (session_id, branch_id),
    )
    return _to_branch(rows[0], generation) if rows else None


def _to_branch(row: Row, generation: int) -> Branch:
    branch_id, item_count, turn_count, created_at, source_branch_id, fork_turn = row
    return Branch(
        branch_id, item_count, turn_count, generation, from_timestamp(created_at), source_branch_id, fork_turn
    )


def list_branches(
    context: Context, session_id: str, branch: BranchPointer, page_size: int, page_token: str
) -> Operation[Page[Branch]]:
    """List the branches that hold items. See `Store.list_branches`."""
    state = yield from resolve(context, session_id, branch)
    request = ("list_branches", session_id, state.pointer.generation)
    last = read_page_token(context, request, page_token) or ("", "")
    page_size = page_size or PAGE_SIZE_DEFAULT
    rows = yield Query(
        f"""
        WITH counts AS ({_COUNTS} WHERE session_id = ? GROUP BY session_id, branch_id)
        {_BRANCHES} WHERE (created_at, b.branch_id) > (?, ?)
        ORDER BY created_at, b.branch_id LIMIT ?
        """,
        (session_id, *last, page_size + 1 if not state.expired else 0),
    )
    branches = tuple(_to_branch(row, state.pointer.generation or 0) for row in rows[:page_size])
    token = ""
    if len(rows) > page_size:
        branch_id, _, _, created_at, *_ = rows[page_size - 1]
        token = write_page_token(context, request, (created_at, branch_id))
    return Page(branches, token, state.pointer)


def delete_branch(context: Context, session_id: str, branch_id: str) -> Operation[DeletedBranch]:
    """Remove a branch. See `Store.delete_branch`."""
    if branch_id == MAIN_BRANCH_ID:
        raise FailedPrecondition(
            ErrorReason.BRANCH_PROTECTED, f"Cannot delete the '{MAIN_BRANCH_ID}' branch", branch_id=branch_id
        )
    yield from purge_if_expired(context, session_id)
    removed = yield Query(
        "DELETE FROM message_structure WHERE session_id = ? AND branch_id = ? RETURNING message_id",
        (session_id, branch_id),
    )
    if not removed:
        raise branch_not_found(session_id, branch_id)
    orphan_count = yield from purge_orphans([message_id for (message_id,) in removed])
    usage = yield Query(
        "DELETE FROM turn_usage WHERE session_id = ? AND branch_id = ? RETURNING id", (session_id, branch_id)
    )
    yield Query("DELETE FROM turntree_branches WHERE session_id = ? AND branch_id = ?", (session_id, branch_id))
    yield Query(
        "INSERT INTO branch_reservations (session_id, branch_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (session_id, branch_id),
    )
    return DeletedBranch(len(removed), orphan_count, len(usage))


def compare_branches(
    context: Context, session_id: str, branch_id: str, other_branch_id: str
) -> Operation[BranchComparison]:
    """Find where two branches part. See `Store.compare_branches`."""
    rows = yield from _structure(context, session_id, branch_id)
    other_rows = yield from _structure(context, session_id, other_branch_id)
    common = 0
    while common < min(len(rows), len(other_rows)) and rows[common][0] == other_rows[common][0]:
        common += 1
    return BranchComparison(
        common,
        rows[common - 1][2] if common else 0,
        _difference(context, session_id, branch_id, rows, common),
        _difference(context, session_id, other_branch_id, other_rows, common),
    )


def _structure(context: Context, session_id: str, branch_id: str) -> Operation[list[Row]]:
    branch = yield from get_branch(context, session_id, branch_id)
    if branch.item_count == 0:
        return []
    rows = yield Query(
        """
        SELECT message_id, id, user_turn_number, message_type FROM message_structure
        WHERE session_id = ? AND branch_id = ? ORDER BY sequence_number
        """,
        (session_id, branch_id),
    )
    return rows


def _difference(context: Context, session_id: str, branch_id: str, rows: list[Row], common: int) -> BranchDifference:
    position = Position(rows[0][1], rows[common - 1][1]) if common else EMPTY
    turn_count = sum(kind == "user" for _, _, _, kind in rows[common:])
    cursor = write_cursor(context, session_id, branch_id, position)
    return BranchDifference(branch_id, len(rows) - common, turn_count, cursor)
