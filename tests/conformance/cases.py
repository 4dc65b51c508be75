"""The cases as they stand in `cases/`, and what their placeholders become."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from tests.support.rpc import RPCS

FOLDER = Path(__file__).with_name("cases")


@dataclass(frozen=True, slots=True)
class Case:
    """One case: its file, its name, its steps and the kind of server that it is played against."""

    file: str
    name: str
    steps: tuple[Mapping[str, Any], ...]
    server: str

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"


def read_cases() -> list[Case]:
    """Every case of every file."""
    cases = []
    for path in sorted(FOLDER.glob("*.json")):
        for case in json.loads(path.read_text(encoding="utf-8")):
            assert case.keys() <= {"name", "steps", "server"}, f"{path.name}: {case.keys()}"
            cases.append(Case(path.stem, case["name"], tuple(case["steps"]), case.get("server", "real")))
    return cases


def method_of(call: str) -> MethodDescriptor:
    """The RPC that `Service/Method` names."""
    service, _, method = call.partition("/")
    descriptor = RPCS[method].method
    assert descriptor.containing_service.name == service, call
    return descriptor


class Values:
    """What one playing of a case puts in the place of its placeholders, and what it saves."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._saved: dict[str, Any] = {}

    def request(self, call: str, written: Any) -> Any:
        """The request of a call in the JSON form of protobuf."""
        message = json_format.ParseDict(self._filled(written), GetMessageClass(method_of(call).input_type)())
        return json_format.MessageToDict(message, preserving_proto_field_name=True)

    def response(self, call: str, answered: Any) -> Any:
        """An answer as all clients would write it, with every field that is set or cannot be absent."""
        message = json_format.ParseDict(answered, GetMessageClass(method_of(call).output_type)())
        return json_format.MessageToDict(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )

    def differences(self, expected: Any, actual: Any, path: str) -> Iterator[str]:
        """Where an answer is not what is expected of it; saves what is to be saved."""
        expected = self._marked(expected)
        match expected:
            case {"$save": name}:
                self._saved[name] = actual
            case {"$any": True}:
                pass
            case {"$absent": True}:
                yield f"{path} is there: {_short(actual)}"
            case {"$length": length}:
                if len(actual) != length:
                    yield f"{path} has {len(actual)} elements, not {length}"
            case dict():
                if not isinstance(actual, dict):
                    yield f"{path} is {_short(actual)}"
                    return
                for key, value in expected.items():
                    if key in actual:
                        yield from self.differences(value, actual[key], f"{path}.{key}")
                    elif value != {"$absent": True}:
                        yield f"{path}.{key} is missing"
            case list():
                wanted = self._repeated(expected)
                if not isinstance(actual, list) or len(actual) != len(wanted):
                    yield f"{path} is {_short(actual)}, not {len(wanted)} elements"
                    return
                for index, (value, element) in enumerate(zip(wanted, actual, strict=True)):
                    yield from self.differences(value, element, f"{path}[{index}]")
            case bool() | None:
                if actual is not expected:
                    yield f"{path} is {_short(actual)}, not {expected}"
            case _:
                if str(actual) != str(expected):
                    yield f"{path} is {_short(actual)}, not {_short(expected)}"

    def _filled(self, written: Any) -> Any:
        marked = self._marked(written)
        if isinstance(marked, dict):
            return {self._marked(key): self._filled(value) for key, value in marked.items()}
        if isinstance(marked, list):
            return [self._filled(element) for element in self._repeated(marked)]
        return marked

    def _marked(self, written: Any) -> Any:
        match written:
            case {"$item": value}:
                return _base64(json.dumps(self._filled(value), ensure_ascii=False))
            case {"$times": {"count": count, "text": text}}:
                return self._marked(text) * count
            case {"$text": str(text)}:
                return _base64(text.replace("$session", self._session))
            case {"$use": name}:
                return self._saved[name]
            case str():
                return written.replace("$session", self._session)
        return written

    def _repeated(self, elements: list[Any]) -> list[Any]:
        filled: list[Any] = []
        for element in elements:
            match element:
                case {"$repeat": {"count": count, "value": value}}:
                    text = json.dumps(value)
                    filled += [json.loads(text.replace("$n", str(number))) for number in range(count)]
                case _:
                    filled.append(element)
        return filled


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode("ascii")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if re.fullmatch(r'"([A-Za-z0-9+/]{4})*[A-Za-z0-9+/=]{4}"', text):
        text += f" ({base64.b64decode(value)!r})"
    return text if len(text) < 400 else text[:400] + "…"
