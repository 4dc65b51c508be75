"""Which role each RPC needs. What is not in this table is refused to everybody."""

from __future__ import annotations

from collections.abc import Mapping

from turntree_server.access.caller import Role

ROLES: Mapping[str, Role] = {
    # SessionService
    "AddItems": Role.WRITER,
    "GetItems": Role.READER,
    "StreamItems": Role.READER,
    "PopItem": Role.WRITER,
    "ReplaceItems": Role.WRITER,
    "ClearSession": Role.WRITER,
    "GetSession": Role.READER,
    "ListSessions": Role.READER,
    "UpdateSession": Role.WRITER,
    "DeleteSession": Role.WRITER,
    "Watch": Role.READER,
    # BranchService
    "CreateBranch": Role.WRITER,
    "GetBranch": Role.READER,
    "ListBranches": Role.READER,
    "DeleteBranch": Role.WRITER,
    "CompareBranches": Role.READER,
    # TurnService
    "ListTurns": Role.READER,
    "StreamTurns": Role.READER,
    "SearchTurns": Role.READER,
    "GetConversationByTurns": Role.READER,
    "ListToolUsage": Role.READER,
    # UsageService
    "RecordUsage": Role.WRITER,
    "GetSessionUsage": Role.READER,
    "ListTurnUsage": Role.READER,
    "SummarizeUsage": Role.READER,
}

WATCHES = frozenset({"Watch"})
"""The calls that do not end by themselves; they count as watches, and not as calls."""

STREAMS_OF_CALLS = frozenset({"Pipeline", "ServerReflectionInfo"})
"""Streams that anybody with a credential may open. Each call on a pipeline needs the role that it needs by itself."""
