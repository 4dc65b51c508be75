"""What operations are made of: statements, the rows that come back, and the circumstances of a call."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from turntree.errors import ErrorReason, Unavailable

if TYPE_CHECKING:
    from turntree_server.operations.branch_counts import BranchCounts

T = TypeVar("T")

Row = tuple[Any, ...]


class Rows(list[Row]):
    """The rows of a statement. `left_out` is the row at which a query with `bytes_max` stopped, or None."""

    left_out: Row | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """One statement with its parameters.

    With `bytes_max`, fetching stops before the row whose first column would make the first columns' bytes exceed it;
    the first row always comes. With `counts_last`, the bytes of the last column count too.
    """

    sql: str
    parameters: Sequence[Any] = ()
    bytes_max: int | None = None
    counts_last: bool = False


@dataclass(frozen=True, slots=True)
class Many:
    """One statement, carried out once for each set of parameters; the rows of all come back in order."""

    sql: str
    parameters: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Insert:
    """New rows of a table that numbers them itself; their ids come back in order, as rows of one column."""

    table: str
    columns: str
    rows: Sequence[Sequence[Any]]


BRIEF_BYTES_MAX = 64 * 1024
"""What an operation that is to be brief may read or write."""


@dataclass(frozen=True, slots=True)
class Long:
    """What follows may take long; nothing is done for this one."""


Statement = Query | Many | Insert | Long

Operation = Generator[Statement, Rows, T]
"""Yields statements, receives rows, returns the result of the transaction."""

OperationFactory = Callable[[], Operation[T]]
"""Makes the operation anew, so that an engine can run it again when a transaction has to be repeated."""


@dataclass(frozen=True)
class Context:
    """The circumstances of a call: when, on which database, and how long its answer is kept for repeats.

    Cursors and page tokens are those of the database.
    """

    now: datetime
    database_id: bytes
    request_window: timedelta
    branch_counts: BranchCounts
    when_committed: list[Callable[[], None]] = field(default_factory=list)
    """What an operation wants done once its transaction is committed, and never if that fails."""

    @cached_property
    def timestamp(self) -> str:
        """The time as the SDK's tables keep it: UTC, to the second."""
        return to_timestamp(self.now)

    @cached_property
    def now_ms(self) -> int:
        """The time in milliseconds since the epoch, as turntree's own tables keep it."""
        return to_ms(self.now)


def to_timestamp(time: datetime) -> str:
    """Write a time as SQLite's CURRENT_TIMESTAMP does."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "seconds")


@lru_cache(maxsize=1024)
def from_timestamp(text: str) -> datetime:
    """Read a time that SQLite's CURRENT_TIMESTAMP wrote.

    Raises:
        Unavailable: STORE_FAILED, when it is none: the row is damaged.
    """
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except (TypeError, ValueError) as error:
        raise Unavailable(ErrorReason.STORE_FAILED, "a time in the database is damaged") from error


def to_ms(time: datetime) -> int:
    """A time in whole milliseconds since the epoch."""
    return round(time.timestamp() * 1000)


def from_ms(milliseconds: int) -> datetime:
    """The time that is so many milliseconds after the epoch."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
