"""Taking over a database file that other software wrote."""

from __future__ import annotations

from turntree.model import MAIN_BRANCH_ID

from turntree_server.operations import content
from turntree_server.operations.statement import Long, Operation, Query
from turntree_server.operations.structure import structure_rows, touch_generation


def plain_sessions() -> Operation[tuple[str, ...]]:
    """Find the sessions of a plain SQLiteSession, which knows no branches: messages without any structure."""
    rows = yield Query(
        """
        SELECT session_id FROM agent_sessions
        WHERE EXISTS (SELECT 1 FROM agent_messages m WHERE m.session_id = agent_sessions.session_id)
            AND NOT EXISTS (SELECT 1 FROM message_structure s WHERE s.session_id = agent_sessions.session_id)
        """
    )
    return tuple(session_id for (session_id,) in rows)


def adopt_if_plain(session_id: str) -> Operation[bool]:
    """Adopt a session that a plain SQLiteSession began after the file was opened, and say whether it did."""
    plain = yield Query(
        """
        SELECT 1 WHERE EXISTS (SELECT 1 FROM agent_messages WHERE session_id = ?)
            AND NOT EXISTS (SELECT 1 FROM message_structure WHERE session_id = ?)
        """,
        (session_id, session_id),
    )
    if plain:
        yield from adopt_plain_session(session_id)
    return bool(plain)


def adopt_plain_session(session_id: str) -> Operation[None]:
    """Make the messages of a plain session its branch `main`."""
    yield Long()
    messages = yield Query(
        "SELECT id, CAST(message_data AS BLOB), created_at FROM agent_messages WHERE session_id = ? ORDER BY id",
        (session_id,),
    )
    structure = []
    turn = 0
    for sequence_number, (message_id, payload, create_time) in enumerate(messages, start=1):
        item = content.parse_stored(payload)
        kind = content.item_type(item)
        turn += kind == "user"
        tool_name = content.tool_name(item)
        structure.append(
            (session_id, message_id, MAIN_BRANCH_ID, kind, sequence_number, turn, turn, tool_name, create_time)
        )
    yield structure_rows(structure)
    yield from touch_generation(session_id)
