"""Tool usage: which tools were called how often in each turn."""

from __future__ import annotations

import pytest
from turntree.model import AfterTurn, BranchPointer, ToolUsage
from turntree.store import Store

from tests.support.items import (
    approval_request,
    approval_response,
    assistant,
    function_call,
    function_output,
    item,
    system,
    user,
)
from tests.support.reading import pages_of


async def used(store: Store, branch_id: str = "main") -> list[tuple[str | None, int, int]]:
    """Tool, count and turn of each entry of the session `s`."""
    page = await store.list_tool_usage("s", branch=BranchPointer(branch_id))
    return [(entry.tool_name, entry.call_count, entry.turn) for entry in page.entries]


async def test_count(store: Store) -> None:
    """Calls are counted by turn and tool, in order of the turn and then of the name; outputs are not calls."""
    calls = [function_call("1", "b"), function_call("2", "a"), function_call("3", "b")]
    outputs = [function_output("1"), function_output("2"), function_output("3")]
    await store.add_items("s", [user("q1"), *calls, *outputs, assistant("a1"), user("q2"), user("q3"), calls[0]])
    assert await used(store) == [("a", 1, 1), ("b", 2, 1), ("b", 1, 3)]
    assert (await store.list_tool_usage("nobody")).entries == ()


TOOLS: dict[str, tuple[bytes, str | None]] = {
    "function": (function_call("1", "add"), "add"),
    "function in a namespace": (function_call("1", "add", namespace="math"), "math.add"),
    "function named as its namespace": (function_call("1", "math", namespace="math"), "math"),
    "function in no namespace": (function_call("1", "add", namespace=None), "add"),
    "function in an empty namespace": (function_call("1", "add", namespace=""), "add"),
    "function without a name": (item(type="function_call", call_id="1", arguments="{}"), None),
    "custom tool": (item(type="custom_tool_call", call_id="1", name="grammar", input=""), "grammar"),
    "tool call": (item(type="tool_call", name="old"), "old"),
    "MCP call": (item(type="mcp_call", server_label="files", name="read"), "files.read"),
    "MCP call without a server": (item(type="mcp_call", name="read"), "read"),
    "MCP call of an empty server": (item(type="mcp_call", server_label="", name="read"), "read"),
    "MCP call without a name": (item(type="mcp_call", server_label="files"), "files"),
    "MCP approval": (approval_request("1"), "files.remove"),
    "shell": (item(type="shell_call", call_id="1", action={"commands": ["ls"]}), "shell_call"),
    "patch": (item(type="apply_patch_call", call_id="1", operation={}), "apply_patch_call"),
    "computer": (item(type="computer_call", call_id="1"), "computer_call"),
    "file search": (item(type="file_search_call", queries=[]), "file_search_call"),
    "web search": (item(type="web_search_call", status="completed"), "web_search_call"),
    "code interpreter": (item(type="code_interpreter_call", code="1"), "code_interpreter_call"),
    "named shell": (item(type="shell_call", call_id="1", name="bash"), "shell_call"),
    "search for tools": (item(type="tool_search_call", name="any"), "tool_search"),
    "found tools": (item(type="tool_search_output", tools=[]), "tool_search"),
}


@pytest.mark.parametrize(("call", "tool_name"), TOOLS.values(), ids=TOOLS.keys())
async def test_tool(store: Store, call: bytes, tool_name: str | None) -> None:
    """Each kind of call names its tool, qualified by its MCP server or namespace."""
    await store.add_items("s", [user("q"), call])
    page = await store.list_tool_usage("s")
    assert page.entries == (ToolUsage(tool_name, 1, 1),)
    (_, metadata) = (await store.get_items("s", include_metadata=True)).metadata
    assert metadata.tool_name == tool_name


NO_CALLS = {
    "a message with a name": item(role="user", content="x", name="add"),
    "an output with a name": item(type="function_call_output", call_id="1", name="add", output=""),
    "a shell's output": item(type="shell_call_output", call_id="1", output=[]),
    "a patch's output": item(type="apply_patch_call_output", call_id="1", status="completed"),
    "consent": approval_response("1"),
    "a list of an MCP server's tools": item(type="mcp_list_tools", server_label="files", tools=[]),
    "an assistant's call-like message": item(type="function_call", role="assistant", name="add"),
    "reasoning": item(type="reasoning", summary=[]),
    "a list": b'[{"type":"function_call","name":"add"}]',
}


@pytest.mark.parametrize("written", NO_CALLS.values(), ids=NO_CALLS.keys())
async def test_no_call(store: Store, written: bytes) -> None:
    """What is not a call counts as none."""
    await store.add_items("s", [user("q"), written])
    assert await used(store) == []


async def test_search_for_tools(store: Store) -> None:
    """A search for tools counts by its call, or by its output when the turn has no call of it."""
    call, output = item(type="tool_search_call", call_id="1"), item(type="tool_search_output", call_id="1", tools=[])
    await store.add_items("s", [user("q1"), call, output, user("q2"), output, user("q3"), call, call, output, output])
    assert await used(store) == [("tool_search", 1, 1), ("tool_search", 1, 2), ("tool_search", 2, 3)]


async def test_before_the_first_turn(store: Store) -> None:
    """A call before any user item belongs to turn 0."""
    await store.add_items("s", [system("be kind"), function_call("1", "add")])
    assert await used(store) == [("add", 1, 0)]


async def test_branches(store: Store) -> None:
    """A branch counts what it shows, shared calls too, and nothing of another."""
    await store.add_items("s", [user("q1"), function_call("1", "a"), user("q2"), function_call("2", "b")])
    fork = (await store.create_branch("s", AfterTurn(1), new_branch_id="fork")).branch.pointer
    await store.add_items("s", [user("r2"), function_call("3", "c")], branch=fork)
    assert await used(store) == [("a", 1, 1), ("b", 1, 2)]
    assert await used(store, "fork") == [("a", 1, 1), ("c", 1, 2)]
    await store.pop_item("s", branch=fork)
    assert await used(store, "fork") == [("a", 1, 1)]


@pytest.mark.parametrize("page_size", range(1, 6))
async def test_pages(store: Store, page_size: int) -> None:
    """Page after page brings every entry once, in order."""
    calls = [function_call("1", "b"), function_call("2", "a"), item(type="function_call", call_id="3")]
    await store.add_items("s", [user("q1"), *calls, user("q2"), calls[0]])
    expected = (ToolUsage(None, 1, 1), ToolUsage("a", 1, 1), ToolUsage("b", 1, 1), ToolUsage("b", 1, 2))
    assert (await store.list_tool_usage("s")).entries == expected
    pages = await pages_of(lambda token: store.list_tool_usage("s", page_size=page_size, page_token=token))
    assert tuple(entry for page in pages for entry in page) == expected
    assert [len(page) for page in pages[:-1]] == [page_size] * (len(pages) - 1)


async def test_pages_while_calls_come_and_go(store: Store) -> None:
    """A tool that is there all the time is on one page exactly, whatever is added and popped between the pages."""
    calls = [function_call("1", "b"), function_call("2", "c"), item(type="function_call", call_id="3")]
    await store.add_items("s", [user("q"), *calls])
    first = await store.list_tool_usage("s", page_size=2)
    assert [entry.tool_name for entry in first.entries] == [None, "b"]
    await store.add_items("s", [function_call("4", "a")])
    second = await store.list_tool_usage("s", page_size=2, page_token=first.next_page_token)
    assert ([entry.tool_name for entry in second.entries], second.next_page_token) == (["c"], "")
    first = await store.list_tool_usage("s", page_size=2)
    assert [entry.tool_name for entry in first.entries] == [None, "a"]
    await store.pop_item("s")
    second = await store.list_tool_usage("s", page_size=2, page_token=first.next_page_token)
    assert [entry.tool_name for entry in second.entries] == ["b", "c"]
