"""Removing rows, so that no other branch loses an item it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
from turntree.model import Popped

from turntree_server.operations.statement import Context, Long, Many, Operation, Query


def purge_items(session_id: str) -> Operation[int]:
    """Remove every item, branch and usage figure of a session and raise its generation, which is returned.

    Popped items go from the answers that are kept for repeats too. The answers stay, as of a branch that had no item,
    so that a late repeat pops nothing that came later.

    Branch ids stay reserved, so that no stale pointer writes into a later branch of the same name.
    """
    for table in ("agent_messages", "message_structure", "turn_usage", "turntree_branches"):
        yield Query(f"DELETE FROM {table} WHERE session_id = ?", (session_id,))
    yield from _forget_popped_items(session_id)
    rows = yield Query(
        """
        INSERT INTO session_clear_generations (session_id, generation) VALUES (?, 1)
        ON CONFLICT (session_id) DO UPDATE SET generation = session_clear_generations.generation + 1
        RETURNING generation
        """,
        (session_id,),
    )
    generation: int = rows[0][0]
    return generation


def _forget_popped_items(session_id: str) -> Operation[None]:
    answers = yield Query("SELECT id, response FROM turntree_requests WHERE item_session_id = ?", (session_id,))
    emptied = [
        (msgspec.msgpack.encode(replace(msgspec.msgpack.decode(answer, type=Popped), item=None, native=None)), number)
        for number, answer in answers
    ]
    yield Many("UPDATE turntree_requests SET response = ?, item_session_id = NULL WHERE id = ?", emptied)


def purge_session(session_id: str) -> Operation[None]:
    """Remove a session with all that belongs to it. Only its generation stays, one higher."""
    yield Long()
    yield from purge_items(session_id)
    for table in ("agent_sessions", "branch_reservations", "turntree_sessions", "turntree_labels"):
        yield Query(f"DELETE FROM {table} WHERE session_id = ?", (session_id,))


def purge_orphans(message_ids: Sequence[int]) -> Operation[int]:
    """Remove those of the given messages that no branch shows any more, and count them."""
    removed = yield Many(
        """
        DELETE FROM agent_messages
        WHERE id = ? AND NOT EXISTS (SELECT 1 FROM message_structure WHERE message_id = agent_messages.id)
        RETURNING id
        """,
        [(message_id,) for message_id in message_ids],
    )
    return len(removed)


def expired_sessions(context: Context, limit: int) -> Operation[tuple[str, ...]]:
    """Find sessions whose expiry has passed, at most `limit` of them."""
    rows = yield Query(
        "SELECT session_id FROM turntree_sessions WHERE expire_time <= ? ORDER BY expire_time LIMIT ?",
        (context.now_ms, limit),
    )
    return tuple(session_id for (session_id,) in rows)


def purge_if_expired(context: Context, session_id: str) -> Operation[bool]:
    """Remove a session if its expiry has passed, and say whether it was removed."""
    rows = yield Query(
        "SELECT 1 FROM turntree_sessions WHERE session_id = ? AND expire_time <= ?", (session_id, context.now_ms)
    )
    if rows:
        yield from purge_session(session_id)
    return bool(rows)
