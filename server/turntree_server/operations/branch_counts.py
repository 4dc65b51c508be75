"""How many items and turns a branch holds: counted once, and then only what is new."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from turntree_server.operations.statement import Context, Operation, Query, from_timestamp
from turntree_server.operations.tokens import Position

KEPT_MAX = 4096


@dataclass(frozen=True, slots=True)
class BranchCount:
    """The items and user items of a branch at a position, and when the first of them was put there."""

    position: Position
    item_count: int
    turn_count: int
    create_time: datetime


class BranchCounts:
    """The last counts of at most `KEPT_MAX` branches: one more, and all are forgotten. Safe in several threads."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], BranchCount] = {}

    def get(self, session_id: str, branch_id: str) -> BranchCount | None:
        """What was counted last; it may no longer be so."""
        return self._counts.get((session_id, branch_id))

    def keep(self, session_id: str, branch_id: str, count: BranchCount) -> None:
        """Keep a count of what is committed."""
        if len(self._counts) >= KEPT_MAX:
            self._counts.clear()
        self._counts[session_id, branch_id] = count


def count_branch(context: Context, session_id: str, branch_id: str, position: Position) -> Operation[BranchCount]:
    """Count a branch that is not empty, beyond what was counted before and is still there (see `Position`)."""
    known = context.branch_counts.get(session_id, branch_id)
    if known is not None and known.position == position:
        return known
    counted = None
    if known is not None and known.position.first_id == position.first_id:
        rows = yield Query(
            "SELECT sequence_number FROM message_structure WHERE id = ? AND session_id = ? AND branch_id = ?",
            (known.position.last_id, session_id, branch_id),
        )
        counted = rows[0][0] if rows else None
    rows = yield Query(
        """
        SELECT COUNT(*), COUNT(CASE WHEN message_type = 'user' THEN 1 END), MIN(created_at)
        FROM message_structure WHERE session_id = ? AND branch_id = ? AND sequence_number > ?
        """,
        (session_id, branch_id, -1 if counted is None else counted),
    )
    item_count, turn_count, created_at = rows[0]
    create_time = from_timestamp(created_at)
    if known is not None and counted is not None:
        item_count += known.item_count
        turn_count += known.turn_count
        create_time = min(create_time, known.create_time)
    count = BranchCount(position, item_count, turn_count, create_time)
    context.when_committed.append(lambda: context.branch_counts.keep(session_id, branch_id, count))
    return count
