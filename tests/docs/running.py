"""Running the Python of a page as a reader would: block after block, in one namespace, with `await` at the top."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from tests.docs.pages import blocks, name_of

ADDRESS_IN_DOCS = "localhost:50051"

_PRINTED = re.compile(r"^\s*print\(.*\)  # (?P<text>.*)$")


async def run_python(page: Path, address: str) -> int:
    """Run the Python blocks of a page against a server, and return how many there are.

    What a line `print(...)  # text` prints must be that text.
    """
    namespace: dict[str, Any] = {"__name__": "documentation", "print": _checked_print(page)}
    count = 0
    for block in blocks(page):
        if block.language != "python":
            continue
        count += 1
        source = "\n" * (block.line - 1) + block.text.replace(ADDRESS_IN_DOCS, address)
        code = compile(source, name_of(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        await _run(code, namespace)
    return count


def _checked_print(page: Path) -> Callable[..., None]:
    lines = page.read_text().splitlines()

    def checked_print(*values: object) -> None:
        line = sys._getframe(1).f_lineno
        text = " ".join(map(str, values))
        comment = _PRINTED.match(lines[line - 1])
        if comment is not None:
            assert text == comment["text"], f"{name_of(page)}:{line} printed {text!r}"

    return checked_print


async def _run(code: CodeType, namespace: dict[str, Any]) -> None:
    outcome = FunctionType(code, namespace)()
    if inspect.iscoroutine(outcome):
        await outcome
