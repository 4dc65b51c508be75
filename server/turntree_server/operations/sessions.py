"""The sessions themselves: clear, describe, list, label, expire, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from turntree.errors import ErrorReason, NotFound
from turntree.limits import LABELS_MAX, PAGE_SIZE_DEFAULT, check
from turntree.model import MAIN_BRANCH_ID, NEVER, BranchPointer, Expiry, Page, Session

from turntree_server.operations.branch_state import session_state
from turntree_server.operations.purge import purge_if_expired, purge_items, purge_session
from turntree_server.operations.statement import (
    Context,
    Many,
    Operation,
    Query,
    Row,
    from_ms,
    from_timestamp,
    to_ms,
    to_timestamp,
)
from turntree_server.operations.structure import touch_session
from turntree_server.operations.tokens import read_page_token, write_page_token

_SESSION_COLUMNS = """
    a.session_id, a.created_at, a.updated_at, t.expire_time,
    (SELECT generation FROM session_clear_generations g WHERE g.session_id = a.session_id)
    FROM agent_sessions a LEFT JOIN turntree_sessions t ON t.session_id = a.session_id
"""


def clear_session(context: Context, session_id: str) -> Operation[BranchPointer]:
    """Empty a session. See `Store.clear_session`."""
    yield from purge_if_expired(context, session_id)
    generation = yield from purge_items(session_id)
    yield Query(
        """
        DELETE FROM agent_sessions WHERE session_id = ?
            AND NOT EXISTS (SELECT 1 FROM turntree_sessions t WHERE t.session_id = agent_sessions.session_id)
            AND NOT EXISTS (SELECT 1 FROM turntree_labels l WHERE l.session_id = agent_sessions.session_id)
        """,
        (session_id,),
    )
    yield Query("UPDATE agent_sessions SET updated_at = ? WHERE session_id = ?", (context.timestamp, session_id))
    return BranchPointer(MAIN_BRANCH_ID, generation)


def get_session(context: Context, session_id: str) -> Operation[Session]:
    """Describe a session. See `Store.get_session`."""
    state = yield from session_state(context, session_id)
    rows = yield Query(f"SELECT {_SESSION_COLUMNS} WHERE a.session_id = ?", (session_id,))
    if not rows or state.expired:
        raise _session_not_found(session_id)
    sessions = yield from _with_labels(rows)
    return sessions[0]


def list_sessions(
    context: Context,
    labels: Mapping[str, str],
    active_since: datetime | None,
    active_before: datetime | None,
    page_size: int,
    page_token: str,
) -> Operation[Page[Session]]:
    """List sessions, the last active first. See `Store.list_sessions`."""
    request = ("list_sessions", sorted(labels.items()), active_since, active_before)
    last = read_page_token(context, request, page_token)
    conditions = ["(t.expire_time IS NULL OR t.expire_time > ?)"]
    parameters: list[object] = [context.now_ms]
    if active_since is not None:
        conditions.append("a.updated_at >= ?")
        parameters.append(timestamp_from(active_since))
    if active_before is not None:
        conditions.append("a.updated_at < ?")
        parameters.append(timestamp_from(active_before))
    if last is not None:
        conditions.append("(a.updated_at, a.session_id) < (?, ?)")
        parameters += last
    for key, value in labels.items():
        conditions.append(label_condition("a"))
        parameters += (key, value)
    page_size = page_size or PAGE_SIZE_DEFAULT
    rows = yield Query(
        f"""
        SELECT {_SESSION_COLUMNS} WHERE {" AND ".join(conditions)}
        ORDER BY a.updated_at DESC, a.session_id DESC LIMIT ?
        """,
        (*parameters, page_size + 1),
    )
    shown = rows[:page_size]
    token = ""
    if len(rows) > page_size:
        session_id, _, updated_at, *_ = shown[-1]
        token = write_page_token(context, request, (updated_at, session_id))
    sessions = yield from _with_labels(shown)
    return Page(sessions, token)


def label_condition(table: str) -> str:
    """SQL that keeps the rows of `table` whose session carries a label; its parameters are key and value."""
    return (
        f"{table}.session_id IN"
        " (SELECT f.session_id FROM turntree_labels f WHERE f.label_key = ? AND f.label_value = ?)"
    )


def timestamp_from(time: datetime) -> str:
    """The first whole second at or after a time, as the tables keep it."""
    return to_timestamp(time if time.microsecond == 0 else time.replace(microsecond=0) + timedelta(seconds=1))


def update_session(
    context: Context,
    session_id: str,
    labels: Mapping[str, str],
    remove_labels: Sequence[str],
    expiry: Expiry | None,
) -> Operation[Session]:
    """Change labels and expiry. See `Store.update_session`."""
    yield from purge_if_expired(context, session_id)
    yield from touch_session(context, session_id)
    yield Many(
        "DELETE FROM turntree_labels WHERE session_id = ? AND label_key = ?",
        [(session_id, key) for key in remove_labels],
    )
    yield Many(
        """
        INSERT INTO turntree_labels (session_id, label_key, label_value) VALUES (?, ?, ?)
        ON CONFLICT (session_id, label_key) DO UPDATE SET label_value = excluded.label_value
        """,
        [(session_id, key, value) for key, value in labels.items()],
    )
    if expiry is NEVER:
        yield Query("DELETE FROM turntree_sessions WHERE session_id = ?", (session_id,))
    elif expiry is not None:
        expire_time = context.now + expiry if isinstance(expiry, timedelta) else expiry
        yield Query(
            """
            INSERT INTO turntree_sessions (session_id, expire_time) VALUES (?, ?)
            ON CONFLICT (session_id) DO UPDATE SET expire_time = excluded.expire_time
            """,
            (session_id, to_ms(expire_time)),
        )
    rows = yield Query(f"SELECT {_SESSION_COLUMNS} WHERE a.session_id = ?", (session_id,))
    (session,) = yield from _with_labels(rows)
    if len(session.labels) > LABELS_MAX:
        check(labels=session.labels)
    return session


def delete_session(context: Context, session_id: str) -> Operation[None]:
    """Remove a session with all that belongs to it. See `Store.delete_session`."""
    yield from get_session(context, session_id)
    yield from purge_session(session_id)


def _session_not_found(session_id: str) -> NotFound:
    return NotFound(ErrorReason.SESSION_NOT_FOUND, f"Session '{session_id}' does not exist", session_id=session_id)


def _with_labels(rows: Sequence[Row]) -> Operation[tuple[Session, ...]]:
    """Sessions from the columns of `_SESSION_COLUMNS`, with the labels of each."""
    label_rows = yield Many(
        "SELECT session_id, label_key, label_value FROM turntree_labels WHERE session_id = ? ORDER BY label_key",
        [row[:1] for row in rows],
    )
    labels: dict[str, dict[str, str]] = {}
    for session_id, key, value in label_rows:
        labels.setdefault(session_id, {})[key] = value
    return tuple(
        Session(
            session_id,
            from_timestamp(created_at),
            from_timestamp(updated_at),
            generation or 0,
            from_ms(expire_time) if expire_time is not None else None,
            labels.get(session_id, {}),
        )
        for session_id, created_at, updated_at, expire_time, generation in rows
    )
