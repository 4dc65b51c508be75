"""Token usage: record it by turn, add it up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from turntree.limits import INTEGER_MAX, PAGE_SIZE_DEFAULT, invalid, parse_json
from turntree.model import (
    BranchPointer,
    Page,
    RecordedUsage,
    TurnUsage,
    Usage,
    UsageGrouping,
    UsageMode,
    UsageSummary,
    UsageTotal,
)

from turntree_server.operations.branch_state import resolve, resolve_for_write, session_state
from turntree_server.operations.sessions import label_condition, timestamp_from
from turntree_server.operations.statement import Context, Operation, Query, Row, from_timestamp
from turntree_server.operations.tokens import read_page_token, write_page_token

_USAGE_COLUMNS = (
    "requests, input_tokens, output_tokens, total_tokens,"
    " CAST(input_tokens_details AS BLOB), CAST(output_tokens_details AS BLOB)"
)
_COUNTS = ("requests", "input_tokens", "output_tokens", "total_tokens")
# SQLite gives up on a sum beyond 64 bits, so the upper and the lower half of the counts are added up apart.
_TOTAL_COLUMNS = (
    "".join(f"SUM(COALESCE(u.{count}, 0) >> 32), SUM(COALESCE(u.{count}, 0) & 4294967295), " for count in _COUNTS)
    + "COUNT(*)"
)


def record_usage(
    context: Context, session_id: str, usage: Usage, branch: BranchPointer, mode: UsageMode
) -> Operation[RecordedUsage]:
    """Record the usage of the current turn. See `Store.record_usage`."""
    state = yield from resolve_for_write(context, session_id, branch)
    if state.stale or state.is_empty:
        return RecordedUsage(False, 0, state.pointer)
    if mode is UsageMode.ADD:
        rows = yield Query(
            f"SELECT {_USAGE_COLUMNS} FROM turn_usage WHERE session_id = ? AND branch_id = ? AND user_turn_number = ?",
            (session_id, state.branch_id, state.turn),
        )
        usage = _sum(_to_usage(rows[0]), usage) if rows else usage
    yield Query(
        """
        INSERT INTO turn_usage (
            session_id, branch_id, user_turn_number, requests, input_tokens, output_tokens, total_tokens,
            input_tokens_details, output_tokens_details, created_at
        ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (session_id, branch_id, user_turn_number) DO UPDATE SET
            requests = excluded.requests, input_tokens = excluded.input_tokens,
            output_tokens = excluded.output_tokens, total_tokens = excluded.total_tokens,
            input_tokens_details = excluded.input_tokens_details,
            output_tokens_details = excluded.output_tokens_details, created_at = excluded.created_at
        """,
        (
            *(session_id, state.branch_id, state.turn),
            *(usage.requests, usage.input_tokens, usage.output_tokens, usage.total_tokens),
            *(_text(usage.input_tokens_details), _text(usage.output_tokens_details), context.timestamp),
        ),
    )
    return RecordedUsage(True, state.turn, state.pointer)


def _text(details: bytes | None) -> str | None:
    return details.decode() if details is not None else None


def _to_usage(row: Row) -> Usage:
    requests, input_tokens, output_tokens, total_tokens, input_details, output_details = row
    return Usage(requests or 0, input_tokens or 0, output_tokens or 0, total_tokens or 0, input_details, output_details)


def _sum(first: Usage, second: Usage) -> Usage:
    counts = {name: getattr(first, name) + getattr(second, name) for name in _COUNTS}
    for name, count in counts.items():
        if count >= 2**63:
            invalid(f"usage.{name}", getattr(second, name), "a count whose sum fits 64 bits")
    return Usage(
        **counts,
        input_tokens_details=_sum_details(first.input_tokens_details, second.input_tokens_details),
        output_tokens_details=_sum_details(first.output_tokens_details, second.output_tokens_details),
    )


def _sum_details(first: bytes | None, second: bytes | None) -> bytes | None:
    """Add the numbers of two JSON objects by key; of anything else the second one's is kept."""
    if first is None or second is None:
        return second if first is None else first
    try:
        total = parse_json(first)
    except ValueError:
        return second
    if not isinstance(total, dict):
        return second
    for key, value in parse_json(second).items():
        both_numbers = _is_number(value) and _is_number(total.get(key))
        total[key] = total[key] + value if both_numbers else value
    return json.dumps(total).encode()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def get_session_usage(context: Context, session_id: str, branch_id: str | None) -> Operation[UsageTotal | None]:
    """Add up a session or a branch. See `Store.get_session_usage`."""
    session = yield from session_state(context, session_id)
    rows = yield Query(
        f"SELECT {_TOTAL_COLUMNS} FROM turn_usage u WHERE u.session_id = ? AND (? IS NULL OR u.branch_id = ?)",
        (session_id, branch_id, branch_id),
    )
    total = _to_total(rows[0])
    return total if total.turn_count and not session.expired else None


def _to_total(columns: Sequence[int | None]) -> UsageTotal:
    """A total from `_TOTAL_COLUMNS`; a sum beyond 64 bits is the largest number of 64 bits."""
    *halves, turn_count = (column or 0 for column in columns)
    sums = [upper * 2**32 + lower for upper, lower in zip(halves[::2], halves[1::2], strict=True)]
    requests, input_tokens, output_tokens, total_tokens = (min(number, INTEGER_MAX) for number in sums)
    return UsageTotal(requests, input_tokens, output_tokens, total_tokens, turn_count)


def list_turn_usage(
    context: Context, session_id: str, branch: BranchPointer, turn: int | None, page_size: int, page_token: str
) -> Operation[Page[TurnUsage]]:
    """List usage by turn. See `Store.list_turn_usage`."""
    state = yield from resolve(context, session_id, branch)
    request = ("list_turn_usage", session_id, state.branch_id, turn, state.pointer.generation)
    (after,) = read_page_token(context, request, page_token) or (-1,)
    page_size = page_size or PAGE_SIZE_DEFAULT
    rows = yield Query(
        f"""
        SELECT {_USAGE_COLUMNS}, user_turn_number, created_at FROM turn_usage
        WHERE session_id = ? AND branch_id = ? AND user_turn_number > ? AND (? IS NULL OR user_turn_number = ?)
        ORDER BY user_turn_number LIMIT ?
        """,
        (session_id, state.branch_id, after, turn, turn, page_size + 1 if not state.expired else 0),
    )
    shown = rows[:page_size]
    token = write_page_token(context, request, (shown[-1][6],)) if len(rows) > page_size else ""
    entries = tuple(TurnUsage(row[6], _to_usage(row[:6]), from_timestamp(row[7])) for row in shown)
    return Page(entries, token, state.pointer)


def summarize_usage(
    context: Context,
    grouping: UsageGrouping,
    label_key: str | None,
    labels: Mapping[str, str],
    recorded_since: datetime | None,
    recorded_before: datetime | None,
    page_size: int,
    page_token: str,
) -> Operation[Page[UsageSummary]]:
    """Add up usage over sessions. See `Store.summarize_usage`."""
    if (grouping is UsageGrouping.LABEL) != (label_key is not None):
        invalid("label_key", label_key, "given exactly when grouping by label")
    request = (
        *("summarize_usage", grouping, label_key, sorted(labels.items())),
        *(recorded_since, recorded_before),
    )
    last = read_page_token(context, request, page_token)
    group = {
        UsageGrouping.SESSION: "u.session_id",
        UsageGrouping.LABEL: "COALESCE(l.label_value, '')",
        UsageGrouping.DAY: "SUBSTR(u.created_at, 1, 10)",
    }[grouping]
    conditions = ["(t.expire_time IS NULL OR t.expire_time > ?)"]
    parameters: list[object] = [label_key, context.now_ms]
    for operator, time in ((">=", recorded_since), ("<", recorded_before)):
        if time is not None:
            conditions.append(f"u.created_at {operator} ?")
            parameters.append(timestamp_from(time))
    for key, value in labels.items():
        conditions.append(label_condition("u"))
        parameters += (key, value)
    page_size = page_size or PAGE_SIZE_DEFAULT
    rows = yield Query(
        f"""
        SELECT {group}, {_TOTAL_COLUMNS} FROM turn_usage u
        LEFT JOIN turntree_labels l ON l.session_id = u.session_id AND l.label_key = ?
        LEFT JOIN turntree_sessions t ON t.session_id = u.session_id
        WHERE {" AND ".join(conditions)}
        GROUP BY {group} {f"HAVING {group} > ?" if last else ""} ORDER BY {group} LIMIT ?
        """,
        (*parameters, *(last or ()), page_size + 1),
    )
    shown = rows[:page_size]
    token = write_page_token(context, request, (shown[-1][0],)) if len(rows) > page_size else ""
    return Page(tuple(UsageSummary(name, _to_total(total)) for name, *total in shown), token)
