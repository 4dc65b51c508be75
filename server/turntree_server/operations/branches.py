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

from turntree_server.operations.branch_counts import count_branch
from turntree_server.operations.branch_state import (
    branch_not_found,
    is_branch_id_used,
    resolve,
    resolve_for_write,
    session_state,
)
from turntree_server.operations.purge import purge_if_expired, purge_orphans
from turntree_server.operations.search import search_turns
from turntree_server.operations.statement import Context, Operation, Query, Row, to_ms, to_timestamp
from turntree_server.operations.structure import last_sequence_number
from turntree_server.operations.tokens import EMPTY, Position, read_page_token, write_cursor, write_page_token

_BRANCHES = """
    SELECT ids.branch_id,
        (SELECT id FROM message_structure s WHERE s.session_id = ? AND s.branch_id = ids.branch_id
            ORDER BY sequence_number LIMIT 1),
        (SELECT id FROM message_structure s WHERE s.session_id = ? AND s.branch_id = ids.branch_id
            ORDER BY sequence_number DESC LIMIT 1),
        source_branch_id, fork_turn
    FROM ids LEFT JOIN turntree_branches t ON t.session_id = ? AND t.branch_id = ids.branch_id
"""
_EACH_BRANCH_ID = """
    WITH RECURSIVE ids (branch_id) AS (
        SELECT MIN(branch_id) FROM message_structure WHERE session_id = ?
        UNION ALL
        SELECT (
            SELECT MIN(branch_id) FROM message_structure s WHERE s.session_id = ? AND s.branch_id > ids.branch_id
        ) FROM ids WHERE ids.branch_id IS NOT NULL
    )
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
    created = yield from _branch(context, session_id, branch_id, source.pointer.generation or 0)
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
    page = yield from search_turns(context, session_id, content, branch, False, LetterCase.ASCII, None, 1, "")
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
    branch = None if session.expired else (yield from _branch(context, session_id, branch_id, session.generation))
    if branch is not None:
        return branch
    if branch_id != MAIN_BRANCH_ID:
        raise branch_not_found(session_id, branch_id)
    return Branch(MAIN_BRANCH_ID, 0, 0, session.generation)


def _branch(context: Context, session_id: str, branch_id: str, generation: int) -> Operation[Branch | None]:
    rows = yield Query(f"WITH ids (branch_id) AS (VALUES (?)) {_BRANCHES}", (branch_id, *[session_id] * 3))
    if rows[0][1] is None:
        return None
    return (yield from _counted(context, session_id, rows[0], generation))


def _counted(context: Context, session_id: str, row: Row, generation: int) -> Operation[Branch]:
    """A branch from its row of `_BRANCHES`."""
    branch_id, first_id, last_id, source_branch_id, fork_turn = row
    count = yield from count_branch(context, session_id, branch_id, Position(first_id, last_id))
    return Branch(
        branch_id, count.item_count, count.turn_count, generation, count.create_time, source_branch_id, fork_turn
    )


def list_branches(
    context: Context, session_id: str, branch: BranchPointer, page_size: int, page_token: str
) -> Operation[Page[Branch]]:
    """List the branches that hold items. See `Store.list_branches`."""
    state = yield from resolve(context, session_id, branch)
    request = ("list_branches", session_id, state.pointer.generation)
    last = read_page_token(context, request, page_token)
    if state.expired:
        return Page((), "", state.pointer)
    rows = yield Query(f"{_EACH_BRANCH_ID} {_BRANCHES} WHERE ids.branch_id IS NOT NULL", [session_id] * 5)
    branches = []
    for row in rows:
        listed = yield from _counted(context, session_id, row, state.pointer.generation or 0)
        if last is None or _by_age(listed) > tuple(last):
            branches.append(listed)
    branches.sort(key=_by_age)
    page_size = page_size or PAGE_SIZE_DEFAULT
    more = len(branches) > page_size
    token = write_page_token(context, request, _by_age(branches[page_size - 1])) if more else ""
    return Page(tuple(branches[:page_size]), token, state.pointer)


def _by_age(branch: Branch) -> tuple[str, str]:
    assert branch.create_time is not None  # a listed branch holds items
    return to_timestamp(branch.create_time), branch.branch_id


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
