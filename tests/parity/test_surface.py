"""What TurntreeSession looks like to code that was written for the SDK's class."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from agents.extensions.memory import AdvancedSQLiteSession
from agents.memory import Session, SessionABC
from turntree.openai_agents import TurntreeSession

METHODS = sorted(
    name for name, _ in inspect.getmembers(AdvancedSQLiteSession, inspect.isfunction) if not name.startswith("_")
)


def parameters(method: object) -> list[tuple[str, object, object]]:
    """Name, kind and default of each parameter."""
    assert callable(method)
    signature = inspect.signature(method)
    return [(parameter.name, parameter.kind, parameter.default) for parameter in signature.parameters.values()]


def test_methods_are_known() -> None:
    """The SDK's class has the methods that the differential test calls, and no others."""
    assert METHODS == [
        "add_items",
        "clear_session",
        "close",
        "create_branch_from_content",
        "create_branch_from_turn",
        "delete_branch",
        "find_turns_by_content",
        "get_conversation_by_turns",
        "get_conversation_turns",
        "get_items",
        "get_session_usage",
        "get_tool_usage",
        "get_turn_usage",
        "list_branches",
        "pop_item",
        "store_run_usage",
        "switch_to_branch",
    ]


@pytest.mark.parametrize("name", METHODS)
def test_parameters(name: str) -> None:
    """A method takes the SDK's parameters, in their order, with their defaults; what it adds is keyword-only."""
    theirs = parameters(getattr(AdvancedSQLiteSession, name))
    ours = parameters(getattr(TurntreeSession, name))
    assert ours[: len(theirs)] == theirs
    assert all(kind is inspect.Parameter.KEYWORD_ONLY for _, kind, _ in ours[len(theirs) :])


@pytest.mark.parametrize("name", [name for name in METHODS if name != "close"])
def test_coroutines(name: str) -> None:
    """A method is awaited where the SDK's is; `close`, which has a connection to release, is awaited too."""
    assert inspect.iscoroutinefunction(getattr(AdvancedSQLiteSession, name))
    assert inspect.iscoroutinefunction(getattr(TurntreeSession, name))


async def test_session_protocol(tmp_path: Path) -> None:
    """A TurntreeSession is a Session of the SDK, as its wrappers ask for one, with the id and settings it was given."""
    async with TurntreeSession("s", url=f"sqlite:///{tmp_path}/t.db", session_settings={"limit": 7}) as session:
        assert isinstance(session, Session)
        assert isinstance(session, SessionABC)
        assert (session.session_id, session.session_settings and session.session_settings.limit) == ("s", 7)
