"""The item types of the Responses API as Python declares them, for the converters of other languages.

Usage: python -m tests.sdk.item_types > clients/typescript/test/convert/python-item-types.json
"""

from __future__ import annotations

import json
import typing

from openai.types.responses.response_input_item_param import ResponseInputItemParam


def item_types() -> dict[str, list[str]]:
    """The fields of each type that an item may be of, in order."""
    fields: dict[str, set[str]] = {}
    for member in typing.get_args(ResponseInputItemParam):
        hints = typing.get_type_hints(member)
        for literal in _literals(hints["type"]):
            fields.setdefault(literal, set()).update(hints)
    return {name: sorted(fields[name]) for name in sorted(fields)}


def _literals(hint: object) -> list[str]:
    """The texts among the literals of a type, which may be one of several."""
    if typing.get_origin(hint) is typing.Literal:
        return [value for value in typing.get_args(hint) if isinstance(value, str)]
    return [value for part in typing.get_args(hint) for value in _literals(part)]


if __name__ == "__main__":
    print(json.dumps(item_types(), indent=2))
