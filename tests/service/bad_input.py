"""What is wrong for each field of each request, as data, and what the server must say to it.

A row is named `field` where the field means the same in every message, or `Message.field`, which goes before. Fields of
sub-messages have rows like any other, and so have oneofs. A field that cannot be wrong has a row that says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from turntree import model
from turntree.errors import ErrorReason
from turntree.model import BeforeContent, BeforeTurn, BranchPointer, ItemsWindow, LetterCase, Usage, UsageMode
from turntree.v1.item_pb2 import NativeItem

from tests.support.items import large, user

MIB = 1024 * 1024
DAY_S = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class World:
    """What the server holds when it is called.

    Attributes:
        cursor: Of the branch `main` of the session `s`.
        item_count: How many items that branch has.
        page_tokens: By RPC, each of a request with other fields than those of `VALID`.
    """

    cursor: bytes
    item_count: int
    page_tokens: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Bad:
    """A wrong value.

    Attributes:
        what: What is wrong with it.
        value: It; None for no value at all, a function for one that the world decides.
        reason: The reason the server must give.
        limit: The fact `limit`.
        shown: The fact `value`, where the reason has one.
        named: The fact `field`; the field's own name by default.
        beside: Other fields of the same message that make the value wrong.
    """

    what: str
    value: Any
    reason: ErrorReason
    limit: str | Callable[[World], str]
    shown: str | None = None
    named: str | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CannotBeWrong:
    """Every value that the wire can carry is right."""

    because: str


def required(what: str, value: Any, limit: str, **more: Any) -> Bad:
    """A value that stands for none."""
    return Bad(what, value, ErrorReason.FIELD_REQUIRED, limit, **more)


def invalid(what: str, value: Any, limit: str | Callable[[World], str], shown: str | None, **more: Any) -> Bad:
    """A value that the field cannot have."""
    return Bad(what, value, ErrorReason.FIELD_INVALID, limit, shown, **more)


def too_large(what: str, value: Any, limit: str, shown: str, **more: Any) -> Bad:
    """A value that is too long, or has too many elements."""
    return Bad(what, value, ErrorReason.FIELD_TOO_LARGE, limit, shown, **more)


def _name(bytes_max: int) -> tuple[Bad, ...]:
    return (
        required("empty", "", "not blank"),
        required("blank", " \t\u3000", "not blank"),
        too_large("too long", "x" * (bytes_max + 1), f"{bytes_max} bytes", f"{bytes_max + 1} bytes"),
        too_large(
            "too long in bytes",
            "\U0001f333" * (bytes_max // 4 + 1),
            f"{bytes_max} bytes",
            f"{bytes_max // 4 * 4 + 4} bytes",
        ),
    )


def _count(name: str | None = None) -> tuple[Bad, ...]:
    limit = "a whole number of at least 0, in 64 bits"
    return (
        invalid("negative", -1, limit, "-1", named=name),
        invalid("the most negative", -(2**63), limit, str(-(2**63)), named=name),
    )


def _page_size(size_max: int) -> tuple[Bad, ...]:
    limit = f"0 to {size_max}"
    return (
        invalid("negative", -1, limit, "-1"),
        invalid("too large", size_max + 1, limit, str(size_max + 1)),
        invalid("the largest", 2**31 - 1, limit, str(2**31 - 1)),
    )


_CURSOR_LIMIT = "a cursor from an earlier answer"
_BAD_CURSORS = (
    Bad("garbage", b"garbage", ErrorReason.CURSOR_INVALID, _CURSOR_LIMIT),
    Bad("of the right length", bytes(25), ErrorReason.CURSOR_INVALID, _CURSOR_LIMIT),
    Bad("cut", lambda world: world.cursor[:-1], ErrorReason.CURSOR_INVALID, _CURSOR_LIMIT),
    Bad("longer", lambda world: world.cursor + b"\0", ErrorReason.CURSOR_INVALID, _CURSOR_LIMIT),
    too_large("too long", bytes(65), "64 bytes", "65 bytes"),
)
_CURSOR = (*_BAD_CURSORS, Bad("empty", b"", ErrorReason.CURSOR_INVALID, _CURSOR_LIMIT))


def _not_json(what: str, item: bytes) -> Bad:
    return Bad(
        f"not JSON: {what}", [user("q"), item], ErrorReason.ITEM_NOT_JSON, "a JSON text in UTF-8", named="items[1]"
    )


_ITEMS = (
    _not_json("empty", b""),
    _not_json("unfinished", b'{"role": "user"'),
    _not_json("two texts", b"{} {}"),
    _not_json("NaN", b'{"n": NaN}'),
    _not_json("invalid UTF-8", b'{"content": "\xff"}'),
    _not_json("UTF-16", '{"role": "user"}'.encode("utf-16")),
    _not_json("a byte order mark", b"\xef\xbb\xbf{}"),
    _not_json("nested without end", b"[" * 200_000),
    too_large(
        "one too large",
        [user("q"), large("a", 16 * MIB + 1)],
        f"{16 * MIB} bytes",
        f"{16 * MIB + 1} bytes",
        named="items[1]",
    ),
    too_large("all too large", [large("a", 11 * MIB)] * 3, f"{32 * MIB} bytes", f"{33 * MIB} bytes"),
    too_large("too many", [b"{}"] * 10_001, "10000 items", "10001 items"),
)


def native(form: bytes, dialect: str = "d") -> NativeItem:
    """The native form of a request's first item."""
    return NativeItem(index=0, dialect=dialect, native=form)


_LABELS = (
    required("a blank key", {" ": "v"}, "not blank", named="labels key"),
    too_large("a long key", {"k" * 64: "v"}, "63 bytes", "64 bytes", named="labels key"),
    too_large("a long value", {"k": "v" * 257}, "256 bytes", "257 bytes", named="labels[k]"),
    too_large("too many", {f"new-{number}": "v" for number in range(65)}, "64 labels", "65 labels"),
)

_TIME_LIMIT = "a time from the year 1 to the last whole second of 9999"
_TIME = (
    invalid("after the year 9999", Timestamp(seconds=253402300800), _TIME_LIMIT, "253402300800.000000000"),
    invalid("after the last whole second of it", Timestamp(seconds=253402300799, nanos=10**8), _TIME_LIMIT, None),
    invalid("before the year 1", Timestamp(seconds=-62135596801), _TIME_LIMIT, "-62135596801.000000000"),
    invalid("the last number", Timestamp(seconds=2**63 - 1), _TIME_LIMIT, f"{2**63 - 1}.000000000"),
    invalid("too many nanoseconds", Timestamp(nanos=10**9), _TIME_LIMIT, "0.1000000000"),
    invalid("negative nanoseconds", Timestamp(nanos=-1), _TIME_LIMIT, None),
)

_TTL_LIMIT = "longer than 0 and at most 36525 days"

_PAGE_TOKEN_LIMIT = "next_page_token of the same request"
_PAGE_TOKEN = (
    *(
        Bad(what, value, ErrorReason.PAGE_TOKEN_INVALID, _PAGE_TOKEN_LIMIT)
        for what, value in {
            "garbage": "garbage",
            "base64 of garbage": "Z2FyYmFnZQ==",
            "not ASCII": "\U0001f333",
            "base64 of another shape": "kwECAw==",
        }.items()
    ),
    too_large("too long", "x" * 4097, "4096 bytes", "4097 bytes"),
)

OTHER_PAGE_TOKENS = "a token of another request"
"""Each RPC with a page token is also given all tokens of `World.page_tokens`, which are of other requests."""


def other_page_token(rpc_name: str) -> Bad:
    """The token that another request got."""
    return Bad(
        f"{OTHER_PAGE_TOKENS}, {rpc_name}",
        lambda world: world.page_tokens[rpc_name],
        ErrorReason.PAGE_TOKEN_INVALID,
        _PAGE_TOKEN_LIMIT,
    )


def _details(name: str) -> tuple[Bad, ...]:
    limit = "a JSON object"
    name = f"usage.{name}"
    return (
        invalid("not JSON", b"{", limit, "{", named=name),
        invalid("an array", b"[1]", limit, "[1]", named=name),
        invalid("null", b"null", limit, "null", named=name),
        invalid("a number", b"1", limit, "1", named=name),
        invalid("invalid UTF-8", b'{"a": "\xff"}', limit, '{"a": "\ufffd"}', named=name),
        too_large(
            "too long", b'{"a": "' + b"x" * 64 * 1024 + b'"}', "65536 bytes", f"{64 * 1024 + 9} bytes", named=name
        ),
    )


def _enum(limit: str) -> tuple[Bad, ...]:
    return (invalid("no number of it", 99, limit, "99"), invalid("negative", -1, limit, "-1"))


ROWS: Mapping[str, tuple[Bad, ...] | CannotBeWrong] = {
    "session_id": _name(256),
    "branch_id": _name(256),
    "other_branch_id": _name(256),
    "new_branch_id": _name(256),
    "request_id": _name(128),
    "branch": CannotBeWrong("absent, it is main; the fields it holds have rows of their own"),
    "generation": _count(),
    "cursor": _CURSOR,
    "expected_cursor": _CURSOR,
    "ReplaceItemsRequest.expected_cursor": (
        *_BAD_CURSORS,
        required("empty", b"", _CURSOR_LIMIT),
        required("absent", None, _CURSOR_LIMIT),
    ),
    "items": (*_ITEMS, required("none", None, "at least 1 item")),
    "ReplaceItemsRequest.items": _ITEMS,
    "natives": (
        too_large(
            "too large with the items",
            [native(b"1" * 16 * MIB)],
            f"{32 * MIB} bytes with the items",
            f"{32 * MIB + 1} bytes with the items",
            beside={"items": [large("a", 16 * MIB), b"1"]},
        ),
        invalid(
            "a second one",
            [native(b"1"), native(b"2")],
            "of an item with no other native",
            "0",
            named="natives[1].index",
        ),
    ),
    "index": (
        invalid("negative", -1, "0 to 0", "-1", named="natives[0].index"),
        invalid("after the last item", 1, "0 to 0", "1", named="natives[0].index"),
        invalid("the largest", 2**63 - 1, "0 to 0", str(2**63 - 1), named="natives[0].index"),
    ),
    "dialect": tuple(replace(bad, named="natives[0].dialect") for bad in _name(64)),
    "native": (
        *(
            Bad(what, value, ErrorReason.ITEM_NOT_JSON, "a JSON text in UTF-8", named="natives[0].native")
            for what, value in {"empty": b"", "unfinished": b"{", "NaN": b"NaN", "invalid UTF-8": b'"\xff"'}.items()
        ),
        too_large(
            "too large",
            large("a", 16 * MIB + 1),
            f"{16 * MIB} bytes",
            f"{16 * MIB + 1} bytes",
            named="natives[0].native",
        ),
    ),
    "native_dialect": _name(64),
    "remove_count": (
        *_count(),
        invalid(
            "more than there are",
            lambda world: world.item_count + 1,
            lambda world: f"at most the branch's {world.item_count} items",
            None,
        ),
    ),
    "window": CannotBeWrong("absent, it is all items; the fields it holds have rows of their own"),
    "limit": _count(),
    "limit_turns": _count(),
    "whole_exchanges": CannotBeWrong("a bool is true or false, and both mean something"),
    "include_metadata": CannotBeWrong("a bool is true or false, and both mean something"),
    "all_branches": CannotBeWrong("a bool is true or false, and both mean something"),
    "page_size": _page_size(1_000),
    "GetConversationByTurnsRequest.page_size": _page_size(10_000),
    "ListToolUsageRequest.page_size": _page_size(10_000),
    "page_token": _PAGE_TOKEN,
    "turn": _count(),
    "after_turn": _count(),
    "content": (too_large("too long", "x" * (64 * 1024 + 1), "65536 bytes", "65537 bytes"),),
    "head": CannotBeWrong("a message without fields"),
    "origin": (required("none of it", None, "one of turn, content, head, after_turn"),),
    "letter_case": _enum("ASCII or UNICODE"),
    "labels": _LABELS,
    "UpdateSessionRequest.labels": (
        *_LABELS,
        too_large("too many with those there", {"a": "1", "b": "2"}, "64 labels", "65 labels"),
    ),
    "remove_labels": (
        required("a blank key", ["k", ""], "not blank", named="remove_labels[1]"),
        too_large("a long key", ["k" * 64], "63 bytes", "64 bytes", named="remove_labels[0]"),
        too_large("too many", ["k"] * 65, "64 labels", "65 labels"),
    ),
    "expiry": CannotBeWrong("with none of it, the expiry stays as it is"),
    "expire_time": _TIME,
    "ttl": (
        invalid("0", Duration(), _TTL_LIMIT, "0:00:00"),
        invalid("negative", Duration(seconds=-1), _TTL_LIMIT, "-1 day, 23:59:59"),
        invalid("too long", Duration(seconds=36525 * DAY_S, nanos=1000), _TTL_LIMIT, "36525 days, 0:00:00.000001"),
        invalid("beyond all days", Duration(seconds=2**62), _TTL_LIMIT, None),
        invalid("too many nanoseconds", Duration(nanos=10**9), _TTL_LIMIT, None),
        invalid("of two signs", Duration(seconds=2, nanos=-1), _TTL_LIMIT, None),
    ),
    "never_expire": (invalid("false", False, "true when present", None),),
    "active_since": _TIME,
    "active_before": _TIME,
    "recorded_since": _TIME,
    "recorded_before": _TIME,
    "usage": (required("absent", None, "the figures to record"),),
    "requests": _count("usage.requests"),
    "input_tokens": _count("usage.input_tokens"),
    "output_tokens": _count("usage.output_tokens"),
    "total_tokens": _count("usage.total_tokens"),
    "input_tokens_details": _details("input_tokens_details"),
    "output_tokens_details": _details("output_tokens_details"),
    "mode": _enum("REPLACE or ADD"),
    "grouping": (*_enum("SESSION, LABEL or DAY"), required("unspecified", 0, "SESSION, LABEL or DAY")),
    "label_key": (
        *(Bad(bad.what, bad.value, bad.reason, bad.limit, bad.shown, beside={"grouping": 2}) for bad in _name(63)),
        invalid(
            "absent, grouping by label", None, "given exactly when grouping by label", None, beside={"grouping": 2}
        ),
        invalid("given, grouping by day", "k", "given exactly when grouping by label", "k", beside={"grouping": 3}),
    ),
}

VALID: Mapping[str, Callable[[World], dict[str, Any]]] = {
    "AddItems": lambda _: {"session_id": "s", "items": [user("q")], "request_id": "new"},
    "GetItems": lambda _: {"session_id": "s"},
    "StreamItems": lambda _: {"session_id": "s"},
    "PopItem": lambda _: {"session_id": "s", "request_id": "new"},
    "ReplaceItems": lambda world: {
        "session_id": "s",
        "remove_count": 1,
        "items": [user("q")],
        "expected_cursor": world.cursor,
        "request_id": "new",
    },
    "ClearSession": lambda _: {"session_id": "s", "request_id": "new"},
    "GetSession": lambda _: {"session_id": "s"},
    "ListSessions": lambda _: {},
    "UpdateSession": lambda _: {"session_id": "s", "request_id": "new"},
    "DeleteSession": lambda _: {"session_id": "s", "request_id": "new"},
    "Watch": lambda _: {"session_id": "s"},
    "CreateBranch": lambda _: {"session_id": "s", "turn": 2, "new_branch_id": "new", "request_id": "new"},
    "GetBranch": lambda _: {"session_id": "s", "branch_id": "b"},
    "ListBranches": lambda _: {"session_id": "s"},
    "DeleteBranch": lambda _: {"session_id": "s", "branch_id": "b", "request_id": "new"},
    "CompareBranches": lambda _: {"session_id": "s", "branch_id": "main", "other_branch_id": "b"},
    "ListTurns": lambda _: {"session_id": "s"},
    "StreamTurns": lambda _: {"session_id": "s"},
    "SearchTurns": lambda _: {"session_id": "s", "content": "q"},
    "GetConversationByTurns": lambda _: {"session_id": "s"},
    "ListToolUsage": lambda _: {"session_id": "s"},
    "RecordUsage": lambda _: {"session_id": "s", "usage": {"requests": 1}, "request_id": "new"},
    "GetSessionUsage": lambda _: {"session_id": "s"},
    "ListTurnUsage": lambda _: {"session_id": "s"},
    "SummarizeUsage": lambda _: {"grouping": 1},
}
"""A request of each RPC that the server accepts, and that would change the database if the RPC can."""

BORDERLINE: Mapping[str, tuple[Any, ...]] = {
    "session_id": ("x" * 256, "\U0001f333" * 64, "\0", "%"),
    "branch_id": ("x" * 256,),
    "new_branch_id": ("x" * 256,),
    "request_id": ("x" * 128,),
    "generation": (0, 2**63 - 1),
    "items": ([b"{}"] * 10_000, [large("a", 16 * MIB)] * 2, [b"null", b" [1e999]\n", b'"\\ud800"']),
    "natives": ([native(large("a", 16 * MIB), "x" * 64)], [native(b" [1e999]\n", "\U0001f333" * 16)]),
    "native_dialect": ("x" * 64, "\U0001f333" * 16, "unheard of"),
    "limit": (0, 2**63 - 1),
    "limit_turns": (0, 2**63 - 1),
    "page_size": (0, 1, 1_000),
    "GetConversationByTurnsRequest.page_size": (10_000,),
    "ListToolUsageRequest.page_size": (10_000,),
    "ListTurnUsageRequest.turn": (0, 2**63 - 1),
    "SearchTurnsRequest.content": ("x" * 64 * 1024, "", "%_\\"),
    "letter_case": (0, 2),
    "labels": ({"k" * 63: "v" * 256, "l": ""}, {f"label-{number}": "w" for number in range(64)}),
    "UpdateSessionRequest.labels": (
        {"k" * 63: "v" * 256, "label-1": ""},
        {f"label-{number}": "w" for number in range(62)},
    ),
    "remove_labels": (["k" * 63] * 64,),
    "expire_time": (Timestamp(seconds=253402300799), Timestamp(seconds=-62135596800)),
    "ttl": (Duration(nanos=1000), Duration(seconds=36525 * DAY_S)),
    "active_since": (Timestamp(seconds=253402300799), Timestamp(seconds=-62135596800)),
    "active_before": (Timestamp(seconds=253402300799), Timestamp(seconds=-62135596800)),
    "recorded_since": (Timestamp(seconds=253402300799), Timestamp(seconds=-62135596800)),
    "recorded_before": (Timestamp(seconds=253402300799), Timestamp(seconds=-62135596800)),
    "input_tokens": (0, 2**63 - 1),
    "total_tokens": (2**63 - 1,),
    "input_tokens_details": (b"{}", b'{"a": "' + b"x" * (64 * 1024 - 9) + b'"}', b'{"n": 1e999, "s": "\\ud800"}'),
    "mode": (0, 2),
    "grouping": (3,),
}
"""Values at the edge that are right; rows are named as in `ROWS`."""

OTHER_REQUESTS: Mapping[str, dict[str, Any]] = {
    "ListSessions": {"labels": {"of": "t"}},
    "ListBranches": {"session_id": "t"},
    "ListTurns": {"session_id": "t"},
    "SearchTurns": {"session_id": "s", "content": ""},
    "GetConversationByTurns": {"session_id": "t"},
    "ListToolUsage": {"session_id": "t"},
    "ListTurnUsage": {"session_id": "t"},
    "SummarizeUsage": {"grouping": 3, "labels": {"of": "t"}},
}
"""Requests that differ from `VALID` in a field, and have more than one page."""


SECRET = '{"role": "user", "content": "my card is 4242"}'
"""The text of an item, which no error may tell."""

TYPES: Mapping[str, Any] = {
    "none": None,
    "bool": True,
    "number": 5,
    "float": 1.5,
    "text": "x",
    "bytes": b"x",
    "list": ["x"],
    "items": [SECRET.encode()],
    "tuple": (5,),
    "set": {"x"},
    "mapping": {"k": 5},
    "object": object(),
    "type": str,
    "time": datetime(2031, 5, 17),  # without a zone, as it must not be
    "day": date(2031, 5, 17),
    "enum": model.DeltaKind.APPENDED,
}
"""Values that a caller in Python can give for any parameter of `Store`."""

_INTEGERS: tuple[Any, ...] = (-1, 2**63, 10**5000, "2", SECRET)
_TEXTS: tuple[Any, ...] = ("\ud800",)
_FLAGS: tuple[Any, ...] = (None, 1, "x")
_JSON_FORMS: tuple[Any, ...] = (SECRET, None, 5)
_DETAILS: tuple[Any, ...] = ("{}", 5, ["x"], b"", b"[]")


@dataclass(frozen=True, slots=True)
class Parameter:
    """What is wrong for a parameter of `Store`.

    Attributes:
        right: The names of those of `TYPES` that it may have.
        wrong: Other values that it may not have.
    """

    right: frozenset[str]
    wrong: tuple[Any, ...] = ()


def _parameter(right: str, *wrong: Any) -> Parameter:
    return Parameter(frozenset(right.split()), wrong)


def _item_lists(right: str) -> Parameter:
    return _parameter(right, SECRET, SECRET.encode(), [SECRET], [b"1", bytearray(b"1")], [b"1", None], iter([b"1"]))


PARAMETERS: Mapping[str, Parameter] = {
    "session_id": _parameter("text enum", *_TEXTS),
    "branch_id": _parameter("text enum", *_TEXTS),
    "get_session_usage.branch_id": _parameter("none text enum", *_TEXTS),
    "other_branch_id": _parameter("text enum", *_TEXTS),
    "new_branch_id": _parameter("none text enum", *_TEXTS),
    "request_id": _parameter("none text enum", "", *_TEXTS),
    "native_dialect": _parameter("none text enum", *_TEXTS),
    "label_key": _parameter("none text enum", *_TEXTS),
    "content": _parameter("text enum", *_TEXTS),
    "page_token": _parameter("text enum", *_TEXTS),
    "branch": _parameter(
        "",
        *(BranchPointer(branch_id) for branch_id in (5, None, b"main", *_TEXTS)),
        *(BranchPointer("main", generation) for generation in (*_INTEGERS, 1.5, True)),
    ),
    "items": _item_lists("items"),
    "natives": _parameter(
        "",
        [5],
        [SECRET.encode()],
        *([model.NativeItem(index, "d", b"1")] for index in (*_INTEGERS, None, 1)),
        *([model.NativeItem(0, dialect, b"1")] for dialect in (5, None, b"d", *_TEXTS)),
        *([model.NativeItem(0, "d", native)] for native in _JSON_FORMS),
    ),
    "remove_count": _parameter("number", *_INTEGERS, [SECRET.encode()]),
    "cursor": _parameter("none bytes", "x", bytes(65), bytearray(b"x")),
    "expected_cursor": _parameter("none bytes", bytes(65), bytearray(b"x")),
    "replace_items.expected_cursor": _parameter("bytes", b"", bytes(65), bytearray(b"x")),
    "window": _parameter(
        "",
        *(ItemsWindow(limit=limit) for limit in (*_INTEGERS, 1.5, True)),
        *(ItemsWindow(limit_turns=limit) for limit in (*_INTEGERS, 1.5, "x")),
        *(ItemsWindow(whole_exchanges=value) for value in _FLAGS),
    ),
    "include_metadata": _parameter("bool"),
    "all_branches": _parameter("bool"),
    "labels": _parameter(
        "", ["a"], {"k": None}, {"k": 5}, {"k": b"v"}, {5: "v"}, {None: "v"}, {"k": "\ud800"}, {"\ud800": "v"}
    ),
    "remove_labels": _parameter("list", "k", b"k", [5], [None], [b"k"], ["\ud800"], {"k": "v"}),
    "expiry": _parameter("none", "never", timedelta(0), timedelta(days=36_526)),
    "active_since": _parameter("none"),
    "active_before": _parameter("none"),
    "recorded_since": _parameter("none"),
    "recorded_before": _parameter("none"),
    "origin": _parameter(
        "",
        *(BeforeTurn(turn) for turn in (*_INTEGERS, None, True)),
        *(model.AfterTurn(turn) for turn in (*_INTEGERS, None, True)),
        *(BeforeContent(content) for content in (5, None, b"x", *_TEXTS)),
    ),
    "letter_case": _parameter("", "x", "ascii", UsageMode.ADD),
    "page_size": _parameter("number", *_INTEGERS, 10_001),
    "turn": _parameter("none number", *_INTEGERS),
    "usage": _parameter(
        "",
        *(Usage(requests=count) for count in (*_INTEGERS, None, 1.5)),
        *(Usage(input_tokens_details=details) for details in _DETAILS),
        *(Usage(output_tokens_details=details) for details in _DETAILS),
    ),
    "mode": _parameter("", "x", "add", LetterCase.ASCII),
    "grouping": _parameter("", "x", "session", LetterCase.ASCII),
}
"""For each parameter of `Store`, or of one method of it as `method.parameter`."""

METHODS: Mapping[str, Mapping[str, Any]] = {
    "add_items": {"items": [b"1"]},
    "replace_items": {"remove_count": 0, "items": [b"1"], "expected_cursor": b"x"},
    "create_branch": {"origin": model.AtHead()},
    "get_branch": {"branch_id": "main"},
    "delete_branch": {"branch_id": "b"},
    "compare_branches": {"branch_id": "main", "other_branch_id": "b"},
    "search_turns": {"content": "q"},
    "record_usage": {"usage": Usage(1)},
    "summarize_usage": {"grouping": model.UsageGrouping.SESSION},
}
"""What those methods of `Store` need beside a session id that do."""
