"""How many parts a message is made of, before it is read: each takes memory, however few its bytes are."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self

_VARINT, _EIGHT_BYTES, _HAS_LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_MORE = 0x80


@dataclass(slots=True)
class Shape:
    """Which fields of a message are messages again, by number."""

    inner: dict[int, Shape] = field(default_factory=dict)

    @classmethod
    @cache
    def of(cls, descriptor: Any) -> Self:
        """The shape of a type of messages that does not contain itself."""
        return cls({field.number: cls.of(field.message_type) for field in descriptor.fields if field.message_type})


def has_more_fields(data: bytes, shape: Shape, fields_max: int) -> bool:
    """Whether a serialised message has more fields than that, those of the messages within it counted too.

    What is no message is left to the parser.
    """
    return len(data) > 2 * fields_max and _left(data, 0, len(data), shape, fields_max) < 0


def _left(data: bytes, begin: int, end: int, shape: Shape, left: int) -> int:
    """How many of the fields that there may be are left after a part of a message; negative if they are too many."""
    inner = shape.inner
    try:
        while begin < end and left >= 0:
            left -= 1
            key, begin = _varint(data, begin)
            kind = key & 7
            if kind == _HAS_LENGTH:
                length, begin = _varint(data, begin)
                within = inner.get(key >> 3)
                if within is not None:
                    left = _left(data, begin, min(begin + length, end), within, left)
                begin += length
            elif kind == _VARINT:
                _, begin = _varint(data, begin)
            elif kind == _FOUR_BYTES:
                begin += 4
            elif kind == _EIGHT_BYTES:
                begin += 8
    except IndexError:  # it ends in the midst of a field
        pass
    return left


def _varint(data: bytes, begin: int) -> tuple[int, int]:
    """A number, and where it ends."""
    byte = data[begin]
    begin += 1
    if byte < _MORE:
        return byte, begin
    number, shift = byte & 0x7F, 7
    while byte >= _MORE and shift < 70:  # which no number reaches
        byte = data[begin]
        begin += 1
        number |= (byte & 0x7F) << shift
        shift += 7
    return number, begin
