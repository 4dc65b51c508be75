"""The model as protobuf messages and back: the one place that knows both.

Reading a message that breaks a rule raises `InvalidArgument`; an absent branch pointer means `main`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from turntree.limits import TIME_LIMIT, TTL_LIMIT, invalid
from turntree.model import (
    MAIN,
    NEVER,
    AfterTurn,
    AtHead,
    BeforeContent,
    BeforeTurn,
    Branch,
    BranchDifference,
    BranchPointer,
    DeltaKind,
    Expiry,
    ItemMetadata,
    ItemsDelta,
    ItemsWindow,
    LetterCase,
    NativeItem,
    Origin,
    Page,
    Session,
    Turn,
    TurnsDelta,
    TurnUsage,
    Usage,
    UsageGrouping,
    UsageMode,
    UsageSummary,
    UsageTotal,
)
from turntree.v1 import branch_pb2, item_pb2, session_pb2, turn_pb2, usage_pb2

T = TypeVar("T")

_DELTA_KINDS = {
    DeltaKind.UNCHANGED: item_pb2.DELTA_KIND_UNCHANGED,
    DeltaKind.APPENDED: item_pb2.DELTA_KIND_APPENDED,
    DeltaKind.REPLACED: item_pb2.DELTA_KIND_REPLACED,
}
_LETTER_CASES = {
    LetterCase.ASCII: turn_pb2.LETTER_CASE_ASCII,
    LetterCase.UNICODE: turn_pb2.LETTER_CASE_UNICODE,
}
_USAGE_MODES = {
    UsageMode.REPLACE: usage_pb2.USAGE_MODE_REPLACE,
    UsageMode.ADD: usage_pb2.USAGE_MODE_ADD,
}
_USAGE_GROUPINGS = {
    UsageGrouping.SESSION: usage_pb2.USAGE_GROUPING_SESSION,
    UsageGrouping.LABEL: usage_pb2.USAGE_GROUPING_LABEL,
    UsageGrouping.DAY: usage_pb2.USAGE_GROUPING_DAY,
}
_KINDS_READ = {number: kind for kind, number in _DELTA_KINDS.items()}
_LETTER_CASES_READ: dict[int, LetterCase] = {number: case for case, number in _LETTER_CASES.items()}
_USAGE_MODES_READ: dict[int, UsageMode] = {number: mode for mode, number in _USAGE_MODES.items()}
_USAGE_GROUPINGS_READ: dict[int, UsageGrouping] = {number: grouping for grouping, number in _USAGE_GROUPINGS.items()}


class _Message(Protocol):
    def HasField(self, field_name: Any) -> bool: ...


def request(message_type: Callable[..., T], **fields: Any) -> T:
    """Make a request.

    Raises:
        InvalidArgument: FIELD_INVALID, naming the first field whose value its type cannot hold.
    """
    try:
        return message_type(**fields)
    except (TypeError, ValueError):
        for name, value in fields.items():
            try:
                message_type(**{name: value})
            except (TypeError, ValueError):
                invalid(name, type(value).__name__, "a value that the field's type can hold")
        raise


def optional(message: _Message, field: str) -> Any:
    """A field's value, or None when it is absent."""
    return getattr(message, field) if message.HasField(field) else None


def write_pointer(pointer: BranchPointer) -> item_pb2.BranchPointer:
    """A branch pointer as a message."""
    return item_pb2.BranchPointer(branch_id=pointer.branch_id, generation=pointer.generation)


def read_pointer(message: Any) -> BranchPointer:
    """The branch pointer in a message's field `branch`; `main` when it is absent."""
    if not message.HasField("branch"):
        return MAIN
    return read_pointer_message(message.branch)


def read_pointer_message(message: item_pb2.BranchPointer) -> BranchPointer:
    """A branch pointer from its own message."""
    return BranchPointer(message.branch_id, optional(message, "generation"))


def write_time(time: datetime | None) -> Timestamp | None:
    """A time as a message."""
    return _timestamp(time) if time is not None else None


@lru_cache(maxsize=1024)  # the items of a page often share their second
def _timestamp(time: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(time.astimezone(UTC))
    return message


def read_time(message: _Message, field: str) -> datetime | None:
    """The time in a message's field, or None when it is absent.

    Raises:
        InvalidArgument: FIELD_INVALID, when it is out of the range of times.
    """
    if not message.HasField(field):
        return None
    timestamp: Timestamp = getattr(message, field)
    try:
        return _datetime(timestamp.seconds, timestamp.nanos)
    except (ValueError, OverflowError):
        invalid(field, f"{timestamp.seconds}.{timestamp.nanos:09}", TIME_LIMIT)


@lru_cache(maxsize=1024)
def _datetime(seconds: int, nanos: int) -> datetime:
    return Timestamp(seconds=seconds, nanos=nanos).ToDatetime(UTC)


def _time(message: _Message, field: str) -> datetime:
    time = read_time(message, field)
    return time if time is not None else datetime.fromtimestamp(0, UTC)


def read_metadata(message: item_pb2.ItemMetadata) -> ItemMetadata:
    """An item's metadata from its message."""
    return ItemMetadata(message.type, optional(message, "tool_name"), message.turn, _time(message, "create_time"))


def write_natives(natives: Iterable[NativeItem]) -> list[item_pb2.NativeItem]:
    """Native items as messages."""
    return [
        request(item_pb2.NativeItem, index=item.index, dialect=item.dialect, native=item.native) for item in natives
    ]


def read_natives(messages: Iterable[item_pb2.NativeItem]) -> tuple[NativeItem, ...]:
    """Native items from their messages."""
    return tuple([NativeItem(message.index, message.dialect, message.native) for message in messages])


def write_kind(kind: DeltaKind) -> item_pb2.DeltaKind.ValueType:
    """How to apply a delta, as it is on the wire."""
    return _DELTA_KINDS[kind]


def page_fields(page: Page[Any]) -> dict[str, Any]:
    """What a page of an answer about a branch has beside its entries, as the fields of a response."""
    return {
        "next_page_token": page.next_page_token,
        "branch": write_pointer(page.branch),
        "cursor": page.cursor,
        "kind": write_kind(page.kind),
    }


def read_page(entries: tuple[T, ...], response: Any) -> Page[T]:
    """A page of an answer about a branch. A server that does not read lists conditionally has no kind: it is whole."""
    kind = _KINDS_READ.get(response.kind, DeltaKind.REPLACED)
    return Page(entries, response.next_page_token, read_pointer(response), response.cursor, kind)


def read_delta(message: item_pb2.ItemsDelta) -> ItemsDelta:
    """A delta from its message."""
    return ItemsDelta(
        _KINDS_READ[message.kind],
        tuple(message.items),
        message.cursor,
        read_pointer(message),
        message.more,
        tuple([read_metadata(metadata) for metadata in message.metadata]),
        read_natives(message.natives),
    )


def write_window(window: ItemsWindow) -> session_pb2.ItemsWindow:
    """A window as a message."""
    return session_pb2.ItemsWindow(
        limit=window.limit, limit_turns=window.limit_turns, whole_exchanges=window.whole_exchanges
    )


def read_window(message: session_pb2.ItemsWindow) -> ItemsWindow:
    """A window from its message."""
    return ItemsWindow(optional(message, "limit"), optional(message, "limit_turns"), message.whole_exchanges)


def write_session(session: Session) -> session_pb2.Session:
    """A session as a message."""
    return session_pb2.Session(
        session_id=session.session_id,
        create_time=write_time(session.create_time),
        update_time=write_time(session.update_time),
        expire_time=write_time(session.expire_time),
        labels=session.labels,
        generation=session.generation,
    )


def read_session(message: session_pb2.Session) -> Session:
    """A session from its message."""
    return Session(
        message.session_id,
        _time(message, "create_time"),
        _time(message, "update_time"),
        message.generation,
        read_time(message, "expire_time"),
        dict(message.labels),
    )


def write_expiry(expiry: Expiry | None) -> dict[str, Any]:
    """An expiry as the arguments of an UpdateSessionRequest."""
    if expiry is None:
        return {}
    if expiry is NEVER:
        return {"never_expire": True}
    if isinstance(expiry, timedelta):
        duration = Duration()
        duration.FromTimedelta(expiry)
        return {"ttl": duration}
    assert isinstance(expiry, datetime)
    return {"expire_time": write_time(expiry)}


def read_expiry(request: session_pb2.UpdateSessionRequest) -> Expiry | None:
    """The expiry in an UpdateSessionRequest.

    Raises:
        InvalidArgument: FIELD_INVALID.
    """
    match request.WhichOneof("expiry"):
        case "expire_time":
            return read_time(request, "expire_time")
        case "ttl":
            return _read_ttl(request.ttl)
        case "never_expire":
            return NEVER if request.never_expire else invalid("never_expire", False, "true when present")
        case None:
            return None


def _read_ttl(ttl: Duration) -> timedelta:
    try:
        ttl.ToJsonString()  # the check of seconds, nanoseconds and their signs that ToTimedelta leaves out
        return ttl.ToTimedelta()
    except (ValueError, OverflowError):
        invalid("ttl", f"{ttl.seconds}s {ttl.nanos}ns", TTL_LIMIT)


def write_branch(branch: Branch) -> branch_pb2.Branch:
    """A branch as a message."""
    return branch_pb2.Branch(
        branch_id=branch.branch_id,
        item_count=branch.item_count,
        turn_count=branch.turn_count,
        create_time=write_time(branch.create_time),
        source_branch_id=branch.source_branch_id,
        fork_turn=branch.fork_turn,
        generation=branch.generation,
    )


def read_branch(message: branch_pb2.Branch) -> Branch:
    """A branch from its message."""
    return Branch(
        message.branch_id,
        message.item_count,
        message.turn_count,
        message.generation,
        read_time(message, "create_time"),
        optional(message, "source_branch_id"),
        optional(message, "fork_turn"),
    )


def write_origin(origin: Origin) -> dict[str, Any]:
    """A fork's origin as the arguments of a CreateBranchRequest."""
    match origin:
        case BeforeTurn(turn):
            return {"turn": turn}
        case AfterTurn(turn):
            return {"after_turn": turn}
        case BeforeContent(content):
            return {"content": content}
        case AtHead():
            return {"head": branch_pb2.Head()}


def read_origin(request: branch_pb2.CreateBranchRequest) -> Origin | None:
    """The origin in a CreateBranchRequest; None when it is absent."""
    match request.WhichOneof("origin"):
        case "turn":
            return BeforeTurn(request.turn)
        case "after_turn":
            return AfterTurn(request.after_turn)
        case "content":
            return BeforeContent(request.content)
        case "head":
            return AtHead()
        case None:
            return None


def write_difference(difference: BranchDifference) -> branch_pb2.BranchDifference:
    """A branch's difference as a message."""
    return branch_pb2.BranchDifference(
        branch_id=difference.branch_id,
        item_count=difference.item_count,
        turn_count=difference.turn_count,
        common_cursor=difference.common_cursor,
    )


def read_difference(message: branch_pb2.BranchDifference) -> BranchDifference:
    """A branch's difference from its message."""
    return BranchDifference(message.branch_id, message.item_count, message.turn_count, message.common_cursor)


def read_turn(message: turn_pb2.Turn) -> Turn:
    """A turn from its message."""
    return Turn(
        message.turn,
        message.branch_id,
        _time(message, "create_time"),
        optional(message, "user_item"),
        tuple(message.items),
        tuple([read_metadata(metadata) for metadata in message.metadata]),
        read_natives(message.natives),
    )


def read_turns_delta(message: turn_pb2.StreamTurnsResponse) -> TurnsDelta:
    """Turns of a stream from their message."""
    turns = tuple([read_turn(turn) for turn in message.turns])
    return TurnsDelta(turns, message.cursor, read_pointer(message), message.restarted, message.continued)


def write_letter_case(letter_case: LetterCase) -> turn_pb2.LetterCase.ValueType:
    """A letter case as its number."""
    return _LETTER_CASES[letter_case]


def read_letter_case(number: int) -> LetterCase:
    """A letter case from its number; ASCII when it is unspecified.

    Raises:
        InvalidArgument: FIELD_INVALID, for a number that is none.
    """
    if number == turn_pb2.LETTER_CASE_UNSPECIFIED:
        return LetterCase.ASCII
    return _LETTER_CASES_READ.get(number) or invalid("letter_case", number, "ASCII or UNICODE")


def write_usage(usage: Usage) -> usage_pb2.Usage:
    """Usage as a message."""
    return usage_pb2.Usage(
        requests=usage.requests,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        input_tokens_details=usage.input_tokens_details or b"",
        output_tokens_details=usage.output_tokens_details or b"",
    )


def read_usage(message: usage_pb2.Usage) -> Usage:
    """Usage from its message."""
    return Usage(
        message.requests,
        message.input_tokens,
        message.output_tokens,
        message.total_tokens,
        message.input_tokens_details or None,
        message.output_tokens_details or None,
    )


def write_usage_mode(mode: UsageMode) -> usage_pb2.UsageMode.ValueType:
    """A usage mode as its number."""
    return _USAGE_MODES[mode]


def read_usage_mode(number: int) -> UsageMode:
    """A usage mode from its number; REPLACE when it is unspecified.

    Raises:
        InvalidArgument: FIELD_INVALID, for a number that is none.
    """
    if number == usage_pb2.USAGE_MODE_UNSPECIFIED:
        return UsageMode.REPLACE
    return _USAGE_MODES_READ.get(number) or invalid("mode", number, "REPLACE or ADD")


def write_usage_total(total: UsageTotal) -> usage_pb2.UsageTotal:
    """A sum of usage as a message."""
    return usage_pb2.UsageTotal(
        requests=total.requests,
        input_tokens=total.input_tokens,
        output_tokens=total.output_tokens,
        total_tokens=total.total_tokens,
        turn_count=total.turn_count,
    )


def read_usage_total(message: usage_pb2.UsageTotal) -> UsageTotal:
    """A sum of usage from its message."""
    return UsageTotal(
        message.requests, message.input_tokens, message.output_tokens, message.total_tokens, message.turn_count
    )


def write_turn_usage(usage: TurnUsage) -> usage_pb2.TurnUsage:
    """The usage of a turn as a message."""
    return usage_pb2.TurnUsage(
        turn=usage.turn, usage=write_usage(usage.usage), create_time=write_time(usage.create_time)
    )


def read_turn_usage(message: usage_pb2.TurnUsage) -> TurnUsage:
    """The usage of a turn from its message."""
    return TurnUsage(message.turn, read_usage(message.usage), _time(message, "create_time"))


def write_usage_grouping(grouping: UsageGrouping) -> usage_pb2.UsageGrouping.ValueType:
    """A grouping as its number."""
    return _USAGE_GROUPINGS[grouping]


def read_usage_grouping(number: int) -> UsageGrouping | None:
    """A grouping from its number; None when it is unspecified.

    Raises:
        InvalidArgument: FIELD_INVALID, for a number that is none.
    """
    if number == usage_pb2.USAGE_GROUPING_UNSPECIFIED:
        return None
    return _USAGE_GROUPINGS_READ.get(number) or invalid("grouping", number, "SESSION, LABEL or DAY")


def write_summary(summary: UsageSummary) -> usage_pb2.UsageSummary:
    """A group of a summary as a message."""
    return usage_pb2.UsageSummary(group=summary.group, total=write_usage_total(summary.total))


def read_summary(message: usage_pb2.UsageSummary) -> UsageSummary:
    """A group of a summary from its message."""
    return UsageSummary(message.group, read_usage_total(message.total))
