"""How many items and turns a branch holds: counted once, and then only what is new."""

from __future__ import annotations

from dataclasses import dataclass

from turntree_server.operations.statement import Context, Operation, Query, from_timestamp
from turntree_server.operations.tokens import Position


@dataclass(frozen=True, slots=True)
class BranchCount:
    """The items and user items of a branch at a position, and when the first of them was put there."""

    position: Position
    item_count: int
    turn_count: int
    created_at: str


def count_branch(context: Context, session_id: str, branch_id: str, position: Position) -> Operation[BranchCount]:
    """Count a branch that is not empty, beyond what was counted before and is still there (see `Position`)."""
    known: BranchCount | None = context.counts.get((session_id, branch_id))
    if known is not None and known.position == position:
        return known
    counted = -1
    if known is not None and known.position.first_id == position.first_id:
        rows = yield Query(
            "SELECT sequence_number FROM message_structure WHERE id = ? AND session_id = ? AND branch_id = ?",
            (known.position.last_id, session_id, branch_id),
        )
        counted = rows[0][0] if rows else counted
    rows = yield Query(
        """
        SELECT COUNT(*), COUNT(CASE WHEN message_type = 'user' THEN 1 END), MIN(created_at)
        FROM message_structure WHERE session_id = ? AND branch_id = ? AND sequence_number > ?
        """,
        (session_id, branch_id, counted),
    )
    item_count, turn_count, created_at = rows[0]
    from_timestamp(created_at)
    if known is not None and counted >= 0:
        item_count += known.item_count
        turn_count += known.turn_count
        created_at = min(created_at, known.created_at)
    count = BranchCount(position, item_count, turn_count, created_at)
    context.done.append(lambda: context.counts.keep((session_id, branch_id), count))
    return count
