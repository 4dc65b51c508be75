"""The rules that the rows of a sound database keep, whoever of turntree and the Agents SDK wrote them."""

from __future__ import annotations

from dataclasses import dataclass

from turntree.limits import CHUNK_BYTES

from turntree_server.operations import content
from turntree_server.operations.statement import Operation, Query

_RULES = {
    "items of sessions that do not exist": """
        SELECT session_id FROM agent_messages
        WHERE session_id NOT IN (SELECT session_id FROM agent_sessions)
    """,
    "places on branches without an item of their session": """
        SELECT s.session_id FROM message_structure s
        LEFT JOIN agent_messages m ON m.id = s.message_id AND m.session_id = s.session_id WHERE m.id IS NULL
    """,
    "items that no branch shows": """
        SELECT m.session_id FROM agent_messages m
        WHERE NOT EXISTS (SELECT 1 FROM message_structure s WHERE s.message_id = m.id)
            AND EXISTS (SELECT 1 FROM message_structure s WHERE s.session_id = m.session_id)
    """,
    "items that stand on one branch twice, or two in one place": """
        SELECT session_id FROM message_structure GROUP BY session_id, branch_id, message_id HAVING COUNT(*) > 1
        UNION ALL
        SELECT session_id FROM message_structure GROUP BY session_id, branch_id, sequence_number HAVING COUNT(*) > 1
    """,
    "turn numbers that are not the count of user items": """
        SELECT session_id FROM (
            SELECT session_id, COALESCE(user_turn_number, 0) AS turn, COALESCE(branch_turn_number, 0) AS branch_turn,
                SUM(message_type = 'user') OVER (
                    PARTITION BY session_id, branch_id ORDER BY sequence_number ROWS UNBOUNDED PRECEDING
                ) AS user_items
            FROM message_structure
        ) WHERE turn <> user_items OR branch_turn <> user_items
    """,
    "times that are none": """
        SELECT session_id FROM agent_sessions WHERE datetime(created_at) IS NULL OR datetime(updated_at) IS NULL
        UNION ALL SELECT session_id FROM message_structure WHERE datetime(created_at) IS NULL
        UNION ALL SELECT session_id FROM turn_usage WHERE datetime(created_at) IS NULL
    """,
    "usage of turns that do not exist": """
        SELECT u.session_id FROM turn_usage u WHERE NOT EXISTS (
            SELECT 1 FROM message_structure s WHERE s.session_id = u.session_id AND s.branch_id = u.branch_id
                AND COALESCE(s.user_turn_number, 0) = u.user_turn_number
        )
    """,
}


@dataclass(frozen=True, slots=True)
class Contents:
    """What a database holds, and which rules it breaks: one sentence for each."""

    session_count: int
    item_count: int
    findings: tuple[str, ...]


def verify_rows(tables: frozenset[str]) -> Operation[Contents]:
    """Check every row against the rules, as far as the file has the tables for them."""
    if "agent_messages" not in tables:
        return Contents(0, 0, ())
    counts = yield Query("SELECT (SELECT COUNT(*) FROM agent_sessions), (SELECT COUNT(*) FROM agent_messages)")
    findings: list[str] = []
    for rule, sql in _RULES.items():
        if all(table in tables for table in ("message_structure", "turn_usage") if table in sql):
            broken = yield Query(f"SELECT COUNT(*), MIN(session_id) FROM ({sql})")
            if broken[0][0]:
                findings.append(_finding(rule, *broken[0]))
    if "turntree_database" in tables:
        ids = yield Query("SELECT COUNT(*) FROM turntree_database")
        findings += [f"{number} ids of the database instead of one" for (number,) in ids if number != 1]
    if "message_structure" in tables:
        findings += yield from _verify_contents()
    session_count, item_count = counts[0]
    return Contents(session_count, item_count, tuple(findings))


def _verify_contents() -> Operation[list[str]]:
    """Compare what is noted of each item with the item itself."""
    broken: dict[str, list[str]] = {}
    last_id = -1
    while True:
        rows = yield Query(
            """
            SELECT CAST(m.message_data AS BLOB), s.id, s.session_id, s.message_type, s.tool_name
            FROM message_structure s JOIN agent_messages m ON m.id = s.message_id WHERE s.id > ? ORDER BY s.id
            """,
            (last_id,),
            CHUNK_BYTES,
        )
        if not rows:
            return [_finding(rule, len(sessions), sessions[0]) for rule, sessions in broken.items()]
        for payload, last_id, session_id, kind, tool in rows:  # noqa: B007 - the last one is where to go on
            item = content.parse_stored(payload)
            if item is content.NOT_JSON:
                broken.setdefault("items that are not JSON", []).append(session_id)
            elif (content.item_type(item), content.tool_name(item)) != (kind, tool):
                broken.setdefault("items of another type or tool than is noted", []).append(session_id)


def _finding(rule: str, count: int, session_id: str) -> str:
    return f"{rule}: {count}, the first in session '{session_id}'"
