"""The rows beside the messages: sessions, generations, and the structure that says which branch shows what."""

from __future__ import annotations

from collections.abc import Sequence

from turntree_server.operations.statement import Context, Insert, Operation, Query, Row

_STRUCTURE_COLUMNS = (
    "session_id, message_id, branch_id, message_type, sequence_number, "
    "user_turn_number, branch_turn_number, tool_name, created_at"
)


def structure_rows(rows: Sequence[Row]) -> Insert:
    """Make new rows of the structure: the values of all columns but the id, in the order of the schema."""
    return Insert("message_structure", _STRUCTURE_COLUMNS, rows)


def touch_session(context: Context, session_id: str) -> Operation[None]:
    """Create a session if it does not exist, and make it the last active one."""
    yield Query(
        """
        INSERT INTO agent_sessions (session_id, created_at, updated_at) VALUES (?, ?, ?)
        ON CONFLICT (session_id) DO UPDATE SET updated_at = excluded.updated_at
        """,
        (session_id, context.timestamp, context.timestamp),
    )
    yield from touch_generation(session_id)


def touch_generation(session_id: str) -> Operation[None]:
    """Give a session that has no generation yet its first."""
    yield Query(
        "INSERT INTO session_clear_generations (session_id) VALUES (?) ON CONFLICT (session_id) DO NOTHING",
        (session_id,),
    )


def last_sequence_number(session_id: str) -> Operation[int]:
    """The highest sequence number of a session over all its branches, or 0."""
    rows = yield Query(
        "SELECT COALESCE(MAX(sequence_number), 0) FROM message_structure WHERE session_id = ?", (session_id,)
    )
    number: int = rows[0][0]
    return number
