"""Lines for people and for programs that read them: a name from outside can neither end one nor begin another."""

from __future__ import annotations

import logging
from textwrap import indent
from typing import Any


def one_line(text: str) -> str:
    """The text as one line: what cannot be printed is written as in a Python string."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class LogFormatter(logging.Formatter):
    """Writes each record as one line. A traceback, which follows its record, is set in."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return indent(super().formatException(ei), "  ")
