"""What tests that speak through the OpenAI Agents SDK share: scripted models and short ways to read a conversation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agents.testing.model import ScriptedModel, assistant_message
from agents.usage import Usage


def usage(tokens: int) -> Usage:
    """The usage of one request with so many tokens in and one out."""
    return Usage(requests=1, input_tokens=tokens, output_tokens=1, total_tokens=tokens + 1)


def answering(*answers: str) -> ScriptedModel:
    """A model that gives these answers, one a call."""
    return ScriptedModel([[assistant_message(answer)] for answer in answers])


def user_item(text: str) -> Any:
    """What a user said, as an input item."""
    return {"role": "user", "content": text}


def assistant_item(text: str) -> Any:
    """What an assistant said, as an input item."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": content}


def outline(items: Iterable[Any]) -> list[str]:
    """A conversation with each item as its text, or as its type when it is not a message."""
    return [_text(item) for item in items]


def heard(model: ScriptedModel, call: int = -1) -> list[str]:
    """The outline of what a model was given at one of its calls, by default the last."""
    return outline(model.calls[call].input)


def _text(item: Any) -> str:
    content = item.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content)
    return str(item["type"])
