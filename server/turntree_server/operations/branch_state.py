"""Where a session and its branches stand: what nearly every operation asks first."""

from __future__ import annotations

from dataclasses import dataclass

from turntree.errors import Conflict, ErrorReason, NotFound
from turntree.model import MAIN_BRANCH_ID, BranchPointer

from turntree_server.operations.purge import purge_session
from turntree_server.operations.statement import Context, Operation, Query
from turntree_server.operations.tokens import EMPTY, Position, read_cursor, write_cursor


@dataclass(frozen=True, slots=True)
class SessionState:
    """The session's generation, and whether its expiry has passed so that it looks empty."""

    generation: int
    expired: bool


@dataclass(frozen=True, slots=True)
class BranchState:
    """A branch as it stands: the pointer to it, its first and last row, and the turn of the last one.

    `stale` says that the caller's pointer was of an earlier generation. `expired` says that the session is past its
    expiry and must be read as empty.
    """

    pointer: BranchPointer
    position: Position = EMPTY
    turn: int = 0
    branch_turn: int = 0
    stale: bool = False
    expired: bool = False

    @property
    def branch_id(self) -> str:
        """The branch."""
        return self.pointer.branch_id

    @property
    def is_empty(self) -> bool:
        """Whether the branch holds no rows."""
        return self.position == EMPTY


def session_state(context: Context, session_id: str) -> Operation[SessionState]:
    """Read where a session stands. An expired one already shows the generation that its removal will leave."""
    rows = yield Query(
        """
        SELECT
            (SELECT generation FROM session_clear_generations WHERE session_id = ?),
            (SELECT expire_time FROM turntree_sessions WHERE session_id = ?)
        """,
        (session_id, session_id),
    )
    generation, expire_time = rows[0]
    expired = expire_time is not None and expire_time <= context.now_ms
    return SessionState((generation or 0) + expired, expired)


def resolve(context: Context, session_id: str, pointer: BranchPointer) -> Operation[BranchState]:
    """Find the branch a pointer means now: `main`, when the session was cleared since the pointer was taken."""
    session = yield from session_state(context, session_id)
    stale = pointer.generation is not None and pointer.generation != session.generation
    branch_id = MAIN_BRANCH_ID if stale else pointer.branch_id
    resolved = BranchPointer(branch_id, session.generation)
    if session.expired:
        return BranchState(resolved, stale=stale, expired=True)
    rows = yield Query(
        """
        SELECT id, user_turn_number, branch_turn_number,
            (
                SELECT id FROM message_structure
                WHERE session_id = ? AND branch_id = ?
                ORDER BY sequence_number LIMIT 1
            )
        FROM message_structure
        WHERE session_id = ? AND branch_id = ?
        ORDER BY sequence_number DESC LIMIT 1
        """,
        (session_id, branch_id, session_id, branch_id),
    )
    if not rows:
        return BranchState(resolved, stale=stale)
    last_id, turn, branch_turn, first_id = rows[0]
    return BranchState(resolved, Position(first_id, last_id), turn or 0, branch_turn or 0, stale=stale)


def resolve_for_write(context: Context, session_id: str, pointer: BranchPointer) -> Operation[BranchState]:
    """Resolve a pointer for a write; a session past its expiry is removed first, so that the write begins anew."""
    state = yield from resolve(context, session_id, pointer)
    if not state.expired:
        return state
    yield from purge_session(session_id)
    return BranchState(state.pointer, stale=state.stale)


def require_position(context: Context, session_id: str, state: BranchState, expected_cursor: bytes | None) -> None:
    """Refuse a conditional write unless the branch is exactly where the caller believes it to be.

    Raises:
        Conflict: CURSOR_MISMATCH.
    """
    if expected_cursor is None:
        return
    expected = read_cursor(context, session_id, state.branch_id, expected_cursor, "expected_cursor")
    if expected != state.position:
        raise Conflict(
            ErrorReason.CURSOR_MISMATCH,
            f"branch '{state.branch_id}' is no longer at the expected cursor",
            session_id=session_id,
            branch_id=state.branch_id,
        )


def cursor_of(context: Context, session_id: str, state: BranchState) -> bytes:
    """The cursor of a whole branch."""
    return write_cursor(context, session_id, state.branch_id, state.position)


def is_branch_id_used(session_id: str, branch_id: str) -> Operation[bool]:
    """Whether a branch id is or ever was in use in a session; `main` always is."""
    if branch_id == MAIN_BRANCH_ID:
        return True
    rows = yield Query(
        """
        SELECT 1 FROM branch_reservations WHERE session_id = ? AND branch_id = ?
        UNION ALL
        SELECT 1 FROM (SELECT 1 FROM message_structure WHERE session_id = ? AND branch_id = ? LIMIT 1)
        """,
        (session_id, branch_id, session_id, branch_id),
    )
    return bool(rows)


def branch_not_found(session_id: str, branch_id: str) -> NotFound:
    """The error for a branch that does not exist."""
    return NotFound(
        ErrorReason.BRANCH_NOT_FOUND,
        f"Branch '{branch_id}' does not exist",
        session_id=session_id,
        branch_id=branch_id,
    )
