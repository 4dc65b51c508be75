"""Deltas as messages, made of many small parts without an object of Python for each.

Metadata and turns are joined from the bytes of their fields: protobuf takes an object of Python for every small message
within another, and copies what is given to it once more when it is serialised. Fields that come seldom are serialised
by protobuf itself, since the bytes of a message may be followed by more of its fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache, partial
from itertools import chain
from typing import Any, TypeVar

from turntree import wire
from turntree.model import ItemMetadata, ItemsDelta, Turn, TurnsDelta
from turntree.v1 import item_pb2, session_pb2, turn_pb2

_WithDelta = TypeVar(
    "_WithDelta", session_pb2.GetItemsResponse, session_pb2.StreamItemsResponse, session_pb2.WatchResponse
)


def with_delta(response: _WithDelta, delta: ItemsDelta) -> _WithDelta:
    """A response with a delta, written in its place: a message that is given to another one is copied twice."""
    message = response.delta
    message.kind = wire.write_kind(delta.kind)
    message.items.extend(delta.items)
    message.cursor = delta.cursor
    message.branch.CopyFrom(wire.write_pointer(delta.branch))
    message.more = delta.more
    if delta.metadata:
        message.MergeFromString(b"".join(_metadata_fields(_DELTA_METADATA, delta.metadata)))
    if delta.natives:
        message.natives.extend(wire.write_natives(delta.natives))
    return response


def turns_delta(delta: TurnsDelta) -> bytes:
    """Turns of a stream as the bytes of a StreamTurnsResponse."""
    rest = turn_pb2.StreamTurnsResponse(
        cursor=delta.cursor,
        branch=wire.write_pointer(delta.branch),
        restarted=delta.restarted,
        continued=delta.continued,
    )
    parts: list[bytes] = []
    for turn in delta.turns:
        fields = _turn_fields(turn)
        parts.append(_tag(_TURNS, sum(map(len, fields))))
        parts += fields
    parts.append(rest.SerializeToString())
    return b"".join(parts)


def _turn_fields(turn: Turn) -> list[bytes]:
    fields = [_integer(_TURN_TURN, turn.turn), _turn_circumstances(turn.branch_id, turn.create_time)]
    if turn.user_item is not None:
        fields += (_tag(_TURN_USER_ITEM, len(turn.user_item)), turn.user_item)
    fields += chain.from_iterable(zip(map(_turn_item_tag, map(len, turn.items)), turn.items, strict=True))
    fields += _metadata_fields(_TURN_METADATA, turn.metadata)
    if turn.natives:
        fields.append(turn_pb2.Turn(natives=wire.write_natives(turn.natives)).SerializeToString())
    return fields


def _metadata_fields(number: int, metadata: Iterable[ItemMetadata]) -> list[bytes]:
    """A field with the metadata of items, in parts."""
    fields: list[bytes] = []
    for kind, tool_name, turn, create_time in metadata:
        last = _integer(_METADATA_TURN, turn)
        fields.append(_metadata_but_turn(number, kind, tool_name, create_time, len(last)))
        fields.append(last)
    return fields


@lru_cache(maxsize=1024)  # the items of a message are of few kinds, and often share their second
def _metadata_but_turn(number: int, kind: str, tool_name: str | None, time: datetime, turn_length: int) -> bytes:
    fields = item_pb2.ItemMetadata(type=kind, tool_name=tool_name, create_time=wire.write_time(time))
    data = fields.SerializeToString()
    return _tag(number, len(data) + turn_length) + data


@lru_cache(maxsize=1024)
def _turn_circumstances(branch_id: str, time: datetime) -> bytes:
    return turn_pb2.Turn(branch_id=branch_id, create_time=wire.write_time(time)).SerializeToString()


@lru_cache(maxsize=1024)
def _integer(number: int, value: int) -> bytes:
    """A field that is an integer and not negative; zero is not sent."""
    return _varint(number << 3) + _varint(value) if value else b""


def _number(message: Any, field: str) -> int:
    number: int = message.DESCRIPTOR.fields_by_name[field].number
    return number


def _tag(number: int, length: int) -> bytes:
    """What precedes a value of so many bytes: the number of its field, that it has a length, and the length."""
    return _varint(number << 3 | _HAS_LENGTH) + _varint(length)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_HAS_LENGTH = 2
_DELTA_METADATA = _number(item_pb2.ItemsDelta, "metadata")
_TURNS = _number(turn_pb2.StreamTurnsResponse, "turns")
_TURN_METADATA = _number(turn_pb2.Turn, "metadata")
_METADATA_TURN = _number(item_pb2.ItemMetadata, "turn")
_TURN_TURN = _number(turn_pb2.Turn, "turn")
_TURN_USER_ITEM = _number(turn_pb2.Turn, "user_item")
_turn_item_tag = lru_cache(maxsize=8192)(partial(_tag, _number(turn_pb2.Turn, "items")))
