"""Items to write, in the form of the OpenAI Responses API."""

from __future__ import annotations

import json
from typing import Any


def item(**fields: Any) -> bytes:
    """An item with these fields, as compact JSON with its characters unescaped."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def user(text: str) -> bytes:
    """What a user said."""
    return item(role="user", content=text)


def assistant(text: str) -> bytes:
    """What an assistant said."""
    return item(type="message", role="assistant", content=[{"type": "output_text", "text": text}])


def system(text: str) -> bytes:
    """What the program said."""
    return item(role="system", content=text)


def reasoning(name: str = "rs") -> bytes:
    """What a model thought before what follows."""
    return item(type="reasoning", id=name, summary=[])


def function_call(call_id: str, name: str = "look_up", **fields: Any) -> bytes:
    """A call of a function tool."""
    return item(type="function_call", call_id=call_id, name=name, arguments="{}", **fields)


def function_output(call_id: str) -> bytes:
    """What a function tool answered."""
    return item(type="function_call_output", call_id=call_id, output="done")


def approval_request(name: str) -> bytes:
    """An MCP server's tool that waits for a person's consent."""
    return item(type="mcp_approval_request", id=name, server_label="files", name="remove", arguments="{}")


def approval_response(name: str) -> bytes:
    """A person's consent."""
    return item(type="mcp_approval_response", approval_request_id=name, approve=True)


def large(name: str, size_bytes: int) -> bytes:
    """An assistant's item of exactly so many bytes, told from others by its name."""
    empty = item(role="assistant", content=f"{name} ")
    return item(role="assistant", content=f"{name} " + "x" * (size_bytes - len(empty)))


def turns(count: int, *, first: int = 1) -> list[bytes]:
    """So many turns of a question and an answer."""
    return [said for number in range(first, first + count) for said in (user(f"q{number}"), assistant(f"a{number}"))]
