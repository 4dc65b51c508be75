"""A model that answers without a key or a network, so that the examples' `Runner.run(agent, ...)` works."""

from __future__ import annotations

from typing import Any

import pytest
from agents import set_tracing_disabled
from agents.models.multi_provider import MultiProvider
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message
from agents.usage import Usage

_ANSWERS_MAX = 100
_ANSWERS = {
    "What city is the Golden Gate Bridge in?": "San Francisco",
    "What state is it in?": "California",
}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every agent that names no model a scripted one."""

    def answer(call: ModelCall) -> list[Any]:
        asked = next(item["content"] for item in reversed(call.input) if item.get("role") == "user")
        return [assistant_message(_ANSWERS.get(asked, "I do not know."))]

    model = ScriptedModel([ModelStep.respond(answer)] * _ANSWERS_MAX)
    model.set_default_usage(Usage(requests=1, input_tokens=20, output_tokens=5, total_tokens=25))
    monkeypatch.setattr(MultiProvider, "get_model", lambda *_: model)
    set_tracing_disabled(True)
