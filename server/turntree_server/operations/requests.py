"""Idempotency: a mutation with a `request_id` happens once, and a repeat gets the first answer."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
from turntree.errors import ErrorReason, FailedPrecondition
from turntree.model import Popped

from turntree_server.operations.statement import Context, Long, Operation, Query

T = TypeVar("T")

REQUEST_WINDOW_DEFAULT = timedelta(hours=24)
"""How long the answer to a request is kept, at least."""

_PRUNED_EVERY = 64
_SET_BACK_MS = 60_000
"""By how much a clock is set back before it matters."""


def once(
    context: Context,
    request_id: str | None,
    session_id: str,
    call: tuple[Any, ...],
    result_type: type[T],
    operation: Operation[T],
) -> Operation[T]:
    """Carry out a mutation, unless `request_id` did already: then return its first result.

    The result is recorded in the mutation's own transaction. Without a `request_id` nothing is recorded.

    Args:
        context: The circumstances.
        request_id: Names the mutation.
        session_id: The session it changes.
        call: What was asked for: the name of the call and every argument that matters.
        result_type: The type of the result, to read it back.
        operation: The mutation.

    Raises:
        FailedPrecondition: REQUEST_ID_REUSED, when the id was used for another call.
    """
    if request_id is None:
        return (yield from operation)
    fingerprint = hashlib.blake2b(msgspec.msgpack.encode(call, order="deterministic"), digest_size=16).digest()
    known = yield Query(
        "SELECT fingerprint, response FROM turntree_requests WHERE request_id = ? AND create_time >= ?",
        (request_id, _window_begin(context)),
    )
    if known:
        operation.close()
        first_fingerprint, response = known[0]
        if first_fingerprint != fingerprint:
            raise FailedPrecondition(
                ErrorReason.REQUEST_ID_REUSED,
                f"request_id '{request_id}' was used for another request",
                request_id=request_id,
            )
        return msgspec.msgpack.decode(response, type=result_type)
    result = yield from operation
    holds_item_of = session_id if isinstance(result, Popped) and result.item is not None else None
    recorded = yield Query(
        """
        INSERT INTO turntree_requests (request_id, fingerprint, response, create_time, item_session_id)
        VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (request_id) DO UPDATE SET
            fingerprint = excluded.fingerprint, response = excluded.response, create_time = excluded.create_time,
            item_session_id = excluded.item_session_id
        RETURNING id
        """,
        (request_id, fingerprint, msgspec.msgpack.encode(result), context.now_ms, holds_item_of),
    )
    if recorded[0][0] % _PRUNED_EVERY == 0:
        yield from forget_old_requests(context)
    return result


def forget_old_requests(context: Context) -> Operation[int]:
    """Forget the oldest answers, as far as they are before the window, and count them.

    It takes more at a time than are written between two mutations that do this, so that they never pile up.
    """
    yield from _take_back_to_now(context)
    forgotten = yield Query(
        """
        DELETE FROM turntree_requests WHERE id IN (
            SELECT id FROM (SELECT id, create_time FROM turntree_requests ORDER BY id LIMIT ?) AS oldest
            WHERE create_time < ?
        ) RETURNING id
        """,
        (2 * _PRUNED_EVERY, _window_begin(context)),
    )
    return len(forgotten)


def _take_back_to_now(context: Context) -> Operation[None]:
    """Let the window of answers from the future, as a clock leaves that was set back, begin now.

    Else they would stay until then, and so would all that came later, behind them.
    """
    ahead = yield Query(
        """
        SELECT 1 FROM (SELECT create_time FROM turntree_requests ORDER BY id LIMIT ?) AS oldest
        WHERE create_time > ? LIMIT 1
        """,
        (2 * _PRUNED_EVERY, context.now_ms + _SET_BACK_MS),
    )
    if ahead:
        yield Long()
        yield Query("UPDATE turntree_requests SET create_time = ? WHERE create_time > ?", (context.now_ms,) * 2)


def _window_begin(context: Context) -> int:
    return context.now_ms - int(context.request_window.total_seconds() * 1000)
