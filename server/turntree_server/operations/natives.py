"""The native forms of items, each beside its message; they go with it, by a trigger of the database."""

from __future__ import annotations

from collections.abc import Sequence

from turntree.model import NativeItem

from turntree_server.operations.statement import Many, Operation, Row

NATIVE_JOIN = "LEFT JOIN turntree_item_natives n ON n.message_id = m.id AND n.dialect = ?"
"""Finds the native form, `n.native`, of the message `m` in a dialect, or NULL."""


def write_natives(natives: Sequence[NativeItem], messages: Sequence[Row]) -> Operation[None]:
    """Keep native forms beside the messages that were just written, whose ids these are in order."""
    yield Many(
        "INSERT INTO turntree_item_natives (message_id, dialect, native) VALUES (?, ?, ?)",
        [(messages[item.index][0], item.dialect, item.native) for item in natives],
    )


def read_natives(rows: Sequence[Row], dialect: str | None) -> tuple[NativeItem, ...]:
    """The native forms in the last column of rows that were read with `NATIVE_JOIN`; none without a dialect."""
    if dialect is None:
        return ()
    return tuple([NativeItem(index, dialect, row[-1]) for index, row in enumerate(rows) if row[-1] is not None])
