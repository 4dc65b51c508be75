"""The words of turntree as frozen values: what a Store takes and gives.

Items are JSON texts in UTF-8 (`bytes`), kept byte for byte. Times are aware datetimes in UTC, to the second where the
database keeps seconds. Cursors and page tokens are opaque: keep them, send them back, never look inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

MAIN_BRANCH_ID = "main"


@dataclass(frozen=True, slots=True)
class BranchPointer:
    """Where a caller stands: a branch, and the generation of the session it knows it from.

    Without a generation the branch is meant by name. With one, the pointer resolves to `main` once the session was
    cleared, because the branch it names is gone.
    """

    branch_id: str = MAIN_BRANCH_ID
    generation: int | None = None


MAIN = BranchPointer()


class DeltaKind(StrEnum):
    """How a delta relates to what the caller already has."""

    UNCHANGED = "unchanged"
    APPENDED = "appended"
    REPLACED = "replaced"


class ItemMetadata(NamedTuple):
    """What was derived from an item when it was written; never part of the item.

    `type` is `user`, `assistant`, the item's own type or `other`; `tool_name` is None for items without a tool; `turn`
    counts from 1 on the branch, 0 before the first user item.
    """

    type: str
    tool_name: str | None
    turn: int
    create_time: datetime


@dataclass(frozen=True, slots=True)
class NativeItem:
    """An SDK's own form of an item: a JSON text in UTF-8, kept byte for byte beside the item and never part of it.

    `index` is the item's position among the items it comes with; `dialect` names the form.
    """

    index: int
    dialect: str
    native: bytes


def moved_natives(natives: Iterable[NativeItem], by: int) -> tuple[NativeItem, ...]:
    """Native items as they are when their items stand `by` positions later; those before the first are left out."""
    return tuple([replace(native, index=native.index + by) for native in natives if native.index + by >= 0])


@dataclass(frozen=True, slots=True)
class ItemsDelta:
    """A part of a branch, as a change to what the caller already has.

    Apply deltas in order: UNCHANGED keeps, APPENDED extends, REPLACED starts anew; `cursor` names the result. `more`
    says that the same read with this cursor goes on. `metadata` is empty, or as long as `items`. `natives` are the
    native forms of `items` in the dialect that was asked for, of those that have one, in order.
    """

    kind: DeltaKind
    items: tuple[bytes, ...]
    cursor: bytes
    branch: BranchPointer
    more: bool = False
    metadata: tuple[ItemMetadata, ...] = ()
    natives: tuple[NativeItem, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemsWindow:
    """Which of a branch's items to read: the newest `limit`, the newest `limit_turns` turns, whole exchanges only."""

    limit: int | None = None
    limit_turns: int | None = None
    whole_exchanges: bool = False


ALL_ITEMS = ItemsWindow()


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did: the branch it went to, the cursor it left, and the turn of the branch's last item.

    `previous_cursor` names the branch as it was just before: who held that, and knows what was written, holds `cursor`
    now.
    """

    branch: BranchPointer
    cursor: bytes
    turn: int
    previous_cursor: bytes = b""


@dataclass(frozen=True, slots=True)
class Popped:
    """The item that was removed, or None, and where that left the branch.

    `native` is the item's native form in the dialect that was asked for, or None.
    """

    item: bytes | None
    branch: BranchPointer
    cursor: bytes
    native: bytes | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation history."""

    session_id: str
    create_time: datetime
    update_time: datetime
    generation: int = 0
    expire_time: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Branch:
    """One line of a session. Source and fork turn are None for `main` and for branches that other software made."""

    branch_id: str
    item_count: int
    turn_count: int
    generation: int
    create_time: datetime | None = None
    source_branch_id: str | None = None
    fork_turn: int | None = None

    @property
    def pointer(self) -> BranchPointer:
        """A pointer to this branch in the generation it was read in."""
        return BranchPointer(self.branch_id, self.generation)


@dataclass(frozen=True, slots=True)
class BeforeTurn:
    """Fork before the user item of this turn."""

    turn: int


@dataclass(frozen=True, slots=True)
class AfterTurn:
    """Fork after the last item of this turn."""

    turn: int


@dataclass(frozen=True, slots=True)
class BeforeContent:
    """Fork before the first turn whose user item contains this text."""

    content: str


@dataclass(frozen=True, slots=True)
class AtHead:
    """Fork at the end of the branch."""


Origin = BeforeTurn | AfterTurn | BeforeContent | AtHead


@dataclass(frozen=True, slots=True)
class CreatedBranch:
    """The new branch, and the branch it was forked from after a stale pointer was resolved."""

    branch: Branch
    source: BranchPointer


@dataclass(frozen=True, slots=True)
class DeletedBranch:
    """What went with a branch: the items it showed, those no other branch showed, and the turns with usage."""

    item_count: int
    orphan_count: int
    usage_count: int


@dataclass(frozen=True, slots=True)
class BranchDifference:
    """What one branch has beyond a common prefix. A read with `common_cursor` returns the items that differ."""

    branch_id: str
    item_count: int
    turn_count: int
    common_cursor: bytes


@dataclass(frozen=True, slots=True)
class BranchComparison:
    """What two branches share, and where they part. `common_turn` is the turn of the last common item, or 0."""

    common_item_count: int
    common_turn: int
    difference: BranchDifference
    other_difference: BranchDifference


class Turn(NamedTuple):
    """A user item and what follows it. `items`, `metadata` and `natives` are filled by `stream_turns` only."""

    turn: int
    branch_id: str
    create_time: datetime
    user_item: bytes | None = None
    items: tuple[bytes, ...] = ()
    metadata: tuple[ItemMetadata, ...] = ()
    natives: tuple[NativeItem, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnsDelta:
    """Turns of a stream and the cursor that resumes after them.

    `restarted` says that the branch was rewritten and the turns begin again from the first. `continued` says that the
    last of `turns` goes on in the next delta.
    """

    turns: tuple[Turn, ...]
    cursor: bytes
    branch: BranchPointer
    restarted: bool = False
    continued: bool = False


class LetterCase(StrEnum):
    """How search compares letters: ASCII letters in either case (the SDK's rule), or Unicode case folding."""

    ASCII = "ascii"
    UNICODE = "unicode"


class ToolUsage(NamedTuple):
    """How often a tool was called in a turn. `tool_name` is None for a call that names none."""

    tool_name: str | None
    call_count: int
    turn: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a turn cost. Counts of tokens are not negative; details are JSON objects, or None when not known."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    input_tokens_details: bytes | None = None
    output_tokens_details: bytes | None = None


class UsageMode(StrEnum):
    """What to do with usage that the turn already has: replace it, or add to it."""

    REPLACE = "replace"
    ADD = "add"


@dataclass(frozen=True, slots=True)
class RecordedUsage:
    """Whether there was a turn to record usage for, and which; `turn` is 0 when there was none."""

    recorded: bool
    turn: int
    branch: BranchPointer


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """Usage added up over `turn_count` turns."""

    requests: int
    input_tokens: int
    output_tokens: int
    total_tokens: int
    turn_count: int


@dataclass(frozen=True, slots=True)
class TurnUsage:
    """The usage of one turn and when it was last recorded."""

    turn: int
    usage: Usage
    create_time: datetime


class UsageGrouping(StrEnum):
    """How usage over sessions is grouped: by session, by the value of a label, or by UTC day."""

    SESSION = "session"
    LABEL = "label"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """One group of a summary: a session id, a label's value (empty without the label) or a day, and its sum."""

    group: str
    total: UsageTotal


class Never(StrEnum):
    """The expiry of a session that is to have none."""

    NEVER = "never"


NEVER = Never.NEVER

Expiry = datetime | timedelta | Never
"""When a session is to expire: at a time, a while after now, or never."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some entries, the token that asks for the next page (empty on the last), and the branch read, resolved.

    Where an answer depends on a branch's items alone, `cursor` names the branch as the page shows it, and `kind` tells
    how the page changes what the caller has; every page after the first is APPENDED.
    """

    entries: tuple[T, ...]
    next_page_token: str = ""
    branch: BranchPointer = MAIN
    cursor: bytes = b""
    kind: DeltaKind = DeltaKind.REPLACED
