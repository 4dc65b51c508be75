"""What a field may hold: one rule for each field name, the same in every call, embedded or behind a server.

The names are those of the protos and of the parameters of `Store`. `check(session_id=..., items=...)` applies them and
raises `InvalidArgument` with the facts `field`, `value` and `limit`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NoReturn

import msgspec

from turntree.errors import ErrorReason, InvalidArgument
from turntree.model import (
    ALL_ITEMS,
    MAIN,
    NEVER,
    AfterTurn,
    AtHead,
    BeforeContent,
    BeforeTurn,
    BranchPointer,
    ItemsWindow,
    LetterCase,
    NativeItem,
    Usage,
    UsageGrouping,
    UsageMode,
)

KIB = 1024
MIB = 1024 * KIB

SESSION_ID_BYTES_MAX = 256
BRANCH_ID_BYTES_MAX = 256
REQUEST_ID_BYTES_MAX = 128
ITEM_BYTES_MAX = 16 * MIB
ITEMS_BYTES_MAX = 32 * MIB
ITEMS_MAX = 10_000
DIALECT_BYTES_MAX = 64
CURSOR_BYTES_MAX = 64
CONTENT_BYTES_MAX = 64 * KIB
DETAILS_BYTES_MAX = 64 * KIB
LABELS_MAX = 64
LABEL_KEY_BYTES_MAX = 63
LABEL_VALUE_BYTES_MAX = 256
PAGE_TOKEN_BYTES_MAX = 4 * KIB
PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 1_000
OUTLINE_PAGE_SIZE_DEFAULT = 1_000
OUTLINE_PAGE_SIZE_MAX = 10_000
TTL_MAX = timedelta(days=36_525)
TTL_LIMIT = "longer than 0 and at most 36525 days"
TIME_MIN = datetime(1, 1, 1, tzinfo=UTC)
TIME_MAX = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The last whole second that a datetime can hold, so that a time may be rounded up to one."""
TIME_LIMIT = "a time from the year 1 to the last whole second of 9999"
INTEGER_MAX = 2**63 - 1
MESSAGE_BYTES_MAX = 64 * MIB
"""What a server takes in one message: larger than any valid request, so that what is too large is named."""
MESSAGE_FIELDS_MAX = 400_000
"""Of how many fields a message may be made that a server takes, those of the messages within it too."""
CHUNK_BYTES = MIB
"""What a page or a part of a stream holds before it ends, unless a single item is larger."""

_VALUE_CHARACTERS_SHOWN = 64
_JSON_TEXT = "a JSON text in UTF-8"


def check(**fields: Any) -> None:
    """Check every given field by the rule of its name.

    Raises:
        InvalidArgument: The first field that breaks its rule.
    """
    for name, value in fields.items():
        RULES[name](name, value)


def invalid(field: str, value: object, limit: str) -> NoReturn:
    """Refuse a value that the field cannot have."""
    try:
        shown = str(value)
    except ValueError:  # a number of more digits than Python writes out
        shown = type(value).__name__
    shown = shown if len(shown) <= _VALUE_CHARACTERS_SHOWN else shown[:_VALUE_CHARACTERS_SHOWN] + "…"
    shown = shown.encode("utf-8", "backslashreplace").decode()
    raise InvalidArgument(
        ErrorReason.FIELD_INVALID,
        f"{field} is {shown!r}, and must be {limit}",
        field=field,
        value=shown,
        limit=limit,
    )


def _told(value: object) -> object:
    """What an error may tell of a value of any type: one that can hold no items, or else the name of its type."""
    return value if value is None or isinstance(value, int | float | str | date | timedelta) else type(value).__name__


def _required(field: str, limit: str = "not blank") -> NoReturn:
    raise InvalidArgument(ErrorReason.FIELD_REQUIRED, f"{field} is required: {limit}", field=field, limit=limit)


def _too_large(field: str, size: int, size_max: int, unit: str) -> NoReturn:
    raise InvalidArgument(
        ErrorReason.FIELD_TOO_LARGE,
        f"{field} has {size} {unit}, and the limit is {size_max}",
        field=field,
        value=f"{size} {unit}",
        limit=f"{size_max} {unit}",
    )


def _encoded(field: str, value: object) -> bytes:
    if not isinstance(value, str):
        invalid(field, type(value).__name__, "text")
    try:
        return value.encode()
    except UnicodeEncodeError:
        invalid(field, value, "valid Unicode, without lone surrogates")


def _name(bytes_max: int) -> Callable[[str, object], None]:
    """A required, not blank text."""

    def rule(field: str, value: object) -> None:
        if value is None:
            _required(field)
        size = len(_encoded(field, value))
        if size > bytes_max:
            _too_large(field, size, bytes_max, "bytes")
        if not str(value).strip():
            _required(field)

    return rule


def _text(bytes_max: int) -> Callable[[str, object], None]:
    """A text that may be empty."""

    def rule(field: str, value: object) -> None:
        size = len(_encoded(field, value))
        if size > bytes_max:
            _too_large(field, size, bytes_max, "bytes")

    return rule


def _optional(rule: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    def optional(field: str, value: object) -> None:
        if value is not None:
            rule(field, value)

    return optional


def _integer(low: int, high: int) -> Callable[[str, object], None]:
    limit = f"{low} to {high}" if high != INTEGER_MAX else f"a whole number of at least {low}, in 64 bits"

    def rule(field: str, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            invalid(field, type(value).__name__ if isinstance(value, str) else _told(value), limit)

    return rule


def _one_of(kind: Any, limit: str) -> Callable[[str, object], None]:
    def rule(field: str, value: object) -> None:
        if value is None:
            _required(field, limit)
        if not isinstance(value, kind):
            invalid(field, _told(value), limit)

    return rule


def _flag(field: str, value: object) -> None:
    if not isinstance(value, bool):
        invalid(field, _told(value), "true or false")


def _list(field: str, value: object, limit: str) -> None:
    if not isinstance(value, Sequence) or isinstance(value, bytes | str):
        invalid(field, type(value).__name__, limit)


def _items(field: str, value: Any) -> None:
    _list(field, value, "a list of items")
    if len(value) > ITEMS_MAX:
        _too_large(field, len(value), ITEMS_MAX, "items")
    total = 0
    for position, item in enumerate(value):
        if not isinstance(item, bytes):
            invalid(f"{field}[{position}]", type(item).__name__, _JSON_TEXT)
        if len(item) > ITEM_BYTES_MAX:
            _too_large(f"{field}[{position}]", len(item), ITEM_BYTES_MAX, "bytes")
        total += len(item)
    if total > ITEMS_BYTES_MAX:
        _too_large(field, total, ITEMS_BYTES_MAX, "bytes")


def _new_items(field: str, value: Any) -> None:
    _items(field, value)
    if not value:
        _required(field, "at least 1 item")


def check_natives(natives: Sequence[Any], items: Sequence[bytes]) -> None:
    """Check the native forms of items that are about to be written; the items themselves are right.

    Raises:
        InvalidArgument: The first field that breaks its rule, named `natives[0].index` and so on.
    """
    _list("natives", natives, "a list of native items")
    if not natives:
        return
    indexes: set[int] = set()
    total = sum(map(len, items))
    for position, native in enumerate(natives):
        field = f"natives[{position}]"
        if not isinstance(native, NativeItem):
            invalid(field, type(native).__name__, "a native item")
        _integer(0, len(items) - 1)(f"{field}.index", native.index)
        if native.index in indexes:
            invalid(f"{field}.index", native.index, "of an item with no other native")
        indexes.add(native.index)
        _name(DIALECT_BYTES_MAX)(f"{field}.dialect", native.dialect)
        if not isinstance(native.native, bytes):
            invalid(f"{field}.native", type(native.native).__name__, _JSON_TEXT)
        if len(native.native) > ITEM_BYTES_MAX:
            _too_large(f"{field}.native", len(native.native), ITEM_BYTES_MAX, "bytes")
        total += len(native.native)
    if total > ITEMS_BYTES_MAX:
        _too_large("natives", total, ITEMS_BYTES_MAX, "bytes with the items")


def _branch(field: str, value: object) -> None:
    if value is MAIN:
        return
    if not isinstance(value, BranchPointer):
        invalid(field, type(value).__name__, "a branch pointer")
    check(branch_id=value.branch_id, generation=value.generation)


def _window(field: str, value: object) -> None:
    if value is ALL_ITEMS:
        return
    if not isinstance(value, ItemsWindow):
        invalid(field, type(value).__name__, "a window")
    check(limit=value.limit, limit_turns=value.limit_turns, whole_exchanges=value.whole_exchanges)


def _cursor(field: str, value: object) -> None:
    if not isinstance(value, bytes):
        invalid(field, type(value).__name__, "bytes")
    if len(value) > CURSOR_BYTES_MAX:
        _too_large(field, len(value), CURSOR_BYTES_MAX, "bytes")


def _no_cursor(field: str, value: object) -> None:
    if value is not None:
        invalid(field, "a cursor", "none where all branches are searched")


def _expected_cursor_required(field: str, value: object) -> None:
    if not value:
        _required(field, "a cursor from an earlier answer")
    _cursor("expected_cursor", value)


def _origin(field: str, value: object) -> None:
    match value:
        case BeforeTurn(turn):
            check(turn=turn)
        case AfterTurn(turn):
            check(after_turn=turn)
        case BeforeContent(content):
            check(content=content)
        case AtHead():
            pass
        case _:
            _required(field, "one of turn, content, head, after_turn")


def _labels(field: str, value: object) -> None:
    if not isinstance(value, Mapping):
        invalid(field, type(value).__name__, "a mapping of labels")
    if len(value) > LABELS_MAX:
        _too_large(field, len(value), LABELS_MAX, "labels")
    for key, text in value.items():
        _name(LABEL_KEY_BYTES_MAX)(f"{field} key", key)
        _text(LABEL_VALUE_BYTES_MAX)(f"{field}[{key}]", text)


def _label_keys(field: str, value: Any) -> None:
    _list(field, value, "a list of labels' keys")
    if len(value) > LABELS_MAX:
        _too_large(field, len(value), LABELS_MAX, "labels")
    for position, key in enumerate(value):
        _name(LABEL_KEY_BYTES_MAX)(f"{field}[{position}]", key)


def _time(field: str, value: object) -> None:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        invalid(field, _told(value), "a time with a time zone")
    if not TIME_MIN <= value <= TIME_MAX:
        invalid(field, value, TIME_LIMIT)


def _expiry(field: str, value: object) -> None:
    if isinstance(value, timedelta):
        if not timedelta(0) < value <= TTL_MAX:
            invalid("ttl", value, TTL_LIMIT)
    elif isinstance(value, datetime):
        _time("expire_time", value)
    elif value is not NEVER:
        invalid(field, _told(value), "a time, a duration or NEVER")


def _usage(field: str, value: object) -> None:
    if value is None:
        _required(field, "the figures to record")
    if not isinstance(value, Usage):
        invalid(field, type(value).__name__, "usage")
    for name in ("requests", "input_tokens", "output_tokens", "total_tokens"):
        _integer(0, INTEGER_MAX)(f"{field}.{name}", getattr(value, name))
    for name in ("input_tokens_details", "output_tokens_details"):
        details = getattr(value, name)
        if details is None:
            continue
        if not isinstance(details, bytes):
            invalid(f"{field}.{name}", type(details).__name__, "a JSON object")
        if len(details) > DETAILS_BYTES_MAX:
            _too_large(f"{field}.{name}", len(details), DETAILS_BYTES_MAX, "bytes")
        try:
            parsed = parse_json(details)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            invalid(f"{field}.{name}", details.decode(errors="replace"), "a JSON object")


def parse_item(item: bytes, field: str) -> Any:
    """Parse the JSON text of an item, or of a native form, that is about to be written.

    Raises:
        InvalidArgument: ITEM_NOT_JSON, naming the field.
    """
    try:
        return parse_json(item)
    except ValueError:
        raise InvalidArgument(
            ErrorReason.ITEM_NOT_JSON, f"{field} is not {_JSON_TEXT}", field=field, limit=_JSON_TEXT
        ) from None


def parse_json(text: bytes) -> Any:
    """Parse a JSON text, with integers exact at any size.

    The fast parser refuses a few texts that are JSON all the same (lone surrogates, floats beyond the range); the
    standard library decides on those. NaN and Infinity are not JSON.

    Raises:
        ValueError: It is not a JSON text in UTF-8.
    """
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(text.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_PAGE_SIZE = _integer(0, PAGE_SIZE_MAX)
_COUNT = _integer(0, INTEGER_MAX)


def _seconds(field: str, value: Any) -> None:
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        invalid(field, _told(value), "a number of seconds, more than 0")


def _seconds_or_zero(field: str, value: Any) -> None:
    if not isinstance(value, int | float) or not 0 <= value < math.inf:
        invalid(field, _told(value), "a number of seconds, 0 or more")


RULES: dict[str, Callable[[str, Any], None]] = {
    "session_id": _name(SESSION_ID_BYTES_MAX),
    "branch_id": _name(BRANCH_ID_BYTES_MAX),
    "other_branch_id": _name(BRANCH_ID_BYTES_MAX),
    "new_branch_id": _optional(_name(BRANCH_ID_BYTES_MAX)),
    "only_branch_id": _optional(lambda _, value: _name(BRANCH_ID_BYTES_MAX)("branch_id", value)),
    "generation": _optional(_COUNT),
    "branch": _branch,
    "items": _new_items,
    "replacement": lambda _, value: _items("items", value),
    "remove_count": _COUNT,
    "expected_cursor": _optional(_cursor),
    "required_cursor": lambda _, value: _expected_cursor_required("expected_cursor", value),
    "cursor": _optional(_cursor),
    "all_branches_cursor": lambda _, value: _no_cursor("cursor", value),
    "native_dialect": _optional(_name(DIALECT_BYTES_MAX)),
    "window": _window,
    "limit": _optional(_COUNT),
    "limit_turns": _optional(_COUNT),
    "whole_exchanges": _flag,
    "include_metadata": _flag,
    "all_branches": _flag,
    "request_id": _name(REQUEST_ID_BYTES_MAX),
    "origin": _origin,
    "turn": _COUNT,
    "only_turn": _optional(lambda _, value: _COUNT("turn", value)),
    "after_turn": _COUNT,
    "content": _text(CONTENT_BYTES_MAX),
    "letter_case": _one_of(LetterCase, "ASCII or UNICODE"),
    "labels": _labels,
    "remove_labels": _label_keys,
    "expiry": _optional(_expiry),
    "active_since": _optional(_time),
    "active_before": _optional(_time),
    "recorded_since": _optional(_time),
    "recorded_before": _optional(_time),
    "usage": _usage,
    "mode": _one_of(UsageMode, "REPLACE or ADD"),
    "grouping": _one_of(UsageGrouping, "SESSION, LABEL or DAY"),
    "label_key": _optional(_name(LABEL_KEY_BYTES_MAX)),
    "page_size": _PAGE_SIZE,
    "outline_page_size": lambda _, value: _integer(0, OUTLINE_PAGE_SIZE_MAX)("page_size", value),
    "page_token": _text(PAGE_TOKEN_BYTES_MAX),
    "timeout_s": _seconds,
    "call_timeout_s": _seconds,
    "retry_for_s": _seconds_or_zero,
}
