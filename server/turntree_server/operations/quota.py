"""How much a database may hold: sessions and bytes, checked within the mutation that adds to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from turntree.errors import ErrorReason, ResourceExhausted, exhausted
from turntree.model import Popped

from turntree_server.operations.statement import Context, Long, Operation, Query

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Quota:
    """What a database may hold; 0 for no limit.

    Attributes:
        sessions_max: How many sessions.
        bytes_max: How many bytes; what deletions freed is not counted.
    """

    sessions_max: int = 0
    bytes_max: int = 0


NO_QUOTA = Quota()


def within(context: Context, quota: Quota, new_session_id: str | None, operation: Operation[T]) -> Operation[T]:
    """Carry out a mutation that adds to a session, if there is room.

    Args:
        context: The circumstances.
        quota: How much the database may hold.
        new_session_id: The session that the mutation makes if it is not there; None for a mutation that makes none.
        operation: The mutation.

    Raises:
        ResourceExhausted: QUOTA_EXCEEDED; nothing was written.
    """
    try:
        yield from _require_bytes(quota.bytes_max)
        if quota.sessions_max and new_session_id is not None:
            yield from _require_session(context, quota.sessions_max, new_session_id)
    except BaseException:
        operation.close()
        raise
    return (yield from operation)


def removing(quota: Quota, session_id: str, operation: Operation[T]) -> Operation[T]:
    """Carry out a mutation that removes from a session; in a full database only if it does.

    What removes nothing adds all the same: the answer that is kept for repeats, and the generation of a clear.

    Args:
        quota: How much the database may hold.
        session_id: The session.
        operation: The mutation.

    Raises:
        ResourceExhausted: QUOTA_EXCEEDED; nothing was written.
    """
    try:
        limit = yield from _exceeded(quota.bytes_max)
        if limit and not (yield Query("SELECT 1 FROM agent_messages WHERE session_id = ? LIMIT 1", (session_id,))):
            raise limit
    except BaseException:
        operation.close()
        raise
    result = yield from operation
    if limit and isinstance(result, Popped) and result.item is None:
        raise limit
    return result


def _require_bytes(bytes_max: int) -> Operation[None]:
    if limit := (yield from _exceeded(bytes_max)):
        raise limit


def _exceeded(bytes_max: int) -> Operation[ResourceExhausted | None]:
    """What says that the database is full, if it is."""
    if not bytes_max:
        return None
    rows = yield Query(
        """
        SELECT (page_count - freelist_count) * page_size
        FROM pragma_page_count, pragma_freelist_count, pragma_page_size
        """
    )
    return exhausted(ErrorReason.QUOTA_EXCEEDED, f"{bytes_max} bytes") if rows[0][0] >= bytes_max else None


def _require_session(context: Context, sessions_max: int, session_id: str) -> Operation[None]:
    """Refuse a session that would be one too many; those that have expired look as if they were gone already."""
    known = yield Query("SELECT 1 FROM agent_sessions WHERE session_id = ?", (session_id,))
    if known:
        return
    yield Long()
    expired = yield Query("SELECT COUNT(*) FROM turntree_sessions WHERE expire_time <= ?", (context.now_ms,))
    full = sessions_max + expired[0][0]
    rows = yield Query("SELECT COUNT(*) FROM (SELECT 1 FROM agent_sessions LIMIT ?)", (full,))
    if rows[0][0] >= full:
        raise exhausted(ErrorReason.QUOTA_EXCEEDED, f"{sessions_max} sessions")
