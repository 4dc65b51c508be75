"""The store beside the database: checks what it is given, then runs operations on an engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from turntree.errors import stopping
from turntree.limits import check, check_natives
from turntree.model import (
    ALL_ITEMS,
    MAIN,
    Branch,
    BranchComparison,
    BranchPointer,
    CreatedBranch,
    DeletedBranch,
    DeltaKind,
    Expiry,
    ItemMetadata,
    ItemsDelta,
    ItemsWindow,
    LetterCase,
    NativeItem,
    Origin,
    Page,
    Popped,
    RecordedUsage,
    Session,
    ToolUsage,
    Turn,
    TurnsDelta,
    TurnUsage,
    Usage,
    UsageGrouping,
    UsageMode,
    UsageSummary,
    UsageTotal,
    Written,
)
from turntree.store import Store

from turntree_server.engine.engine import Engine
from turntree_server.operations import (
    branches,
    purge,
    read_items,
    requests,
    search,
    sessions,
    turns,
    write_items,
)
from turntree_server.operations import (
    usage as usage_operations,
)
from turntree_server.operations.branch_counts import BranchCounts
from turntree_server.operations.quota import NO_QUOTA, Quota, removing, within
from turntree_server.operations.requests import REQUEST_WINDOW_DEFAULT, once
from turntree_server.operations.statement import BRIEF_BYTES_MAX, Context, Operation

T = TypeVar("T")

Clock = Callable[[], datetime]

_MAY_MAKE_A_SESSION = {
    write_items.add_items,
    write_items.replace_items,
    sessions.update_session,
    branches.create_branch,
}
_ADDING = {*_MAY_MAKE_A_SESSION, usage_operations.record_usage}
_MAY_REMOVE_NOTHING = {write_items.pop_item, sessions.clear_session}
_NO_LABELS: Mapping[str, str] = {}
_EXPIRED_AT_ONCE = 100
_FEW_ITEMS = 32


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


class LocalStore(Store):
    """A store on an engine in this process."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock = utc_now,
        quota: Quota = NO_QUOTA,
        request_window: timedelta = REQUEST_WINDOW_DEFAULT,
    ) -> None:
        self.engine = engine
        self._request_window = request_window
        self._quota = quota
        self._clock = clock
        self._branch_counts = BranchCounts()
        self._watches: set[Callable[[], None]] = set()
        self._watching_ended = False

    def _context(self) -> Context:
        return Context(self._clock(), self.engine.database_id, self._request_window, self._branch_counts)

    async def _read(self, operation: Callable[..., Operation[T]], *arguments: Any, brief: bool = False) -> T:
        context = self._context()
        result = await self.engine.read(partial(operation, context, *arguments), brief=brief)
        return _committed(context, result)

    async def _write(
        self,
        result_type: type[T],
        request_id: str | None,
        operation: Callable[..., Operation[T]],
        session_id: str,
        *arguments: Any,
        brief: bool = False,
    ) -> T:
        """Run a mutation once for its request id."""
        if request_id is not None:
            check(request_id=request_id)
        context = self._context()
        kinds = tuple(type(argument).__name__ for argument in arguments)
        call = (operation.__name__, session_id, kinds, arguments)

        def mutation() -> Operation[T]:
            context.when_committed.clear()
            begun = operation(context, session_id, *arguments)
            if self._quota != NO_QUOTA and operation in _ADDING:
                begun = within(context, self._quota, session_id if operation in _MAY_MAKE_A_SESSION else None, begun)
            elif self._quota != NO_QUOTA and operation in _MAY_REMOVE_NOTHING:
                begun = removing(self._quota, session_id, begun)
            return once(context, request_id, session_id, call, result_type, begun)

        result = await self.engine.write(mutation, session_id, brief=brief)
        return _committed(context, result)

    # Items

    async def add_items(
        self,
        session_id: str,
        items: Sequence[bytes],
        *,
        branch: BranchPointer = MAIN,
        expected_cursor: bytes | None = None,
        request_id: str | None = None,
        natives: Sequence[NativeItem] = (),
    ) -> Written:
        check(session_id=session_id, branch=branch, items=items, expected_cursor=expected_cursor)
        arguments = (tuple(items), branch, expected_cursor, *_given(natives, items))
        brief = _are_few(items, natives)
        return await self._write(Written, request_id, write_items.add_items, session_id, *arguments, brief=brief)

    async def get_items(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        window: ItemsWindow = ALL_ITEMS,
        include_metadata: bool = False,
        native_dialect: str | None = None,
    ) -> ItemsDelta:
        check(session_id=session_id, branch=branch, cursor=cursor, window=window)
        check(include_metadata=include_metadata, native_dialect=native_dialect)
        arguments = (session_id, branch, cursor, window, include_metadata, native_dialect)
        return await self._read(read_items.get_items, *arguments, brief=cursor is not None)

    async def stream_items(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        window: ItemsWindow = ALL_ITEMS,
        include_metadata: bool = False,
        native_dialect: str | None = None,
    ) -> AsyncGenerator[ItemsDelta, None]:
        check(session_id=session_id, branch=branch, cursor=cursor, window=window)
        check(include_metadata=include_metadata, native_dialect=native_dialect)
        more, brief = True, cursor is not None
        while more:
            arguments = (session_id, branch, cursor, window, include_metadata, native_dialect)
            delta = await self._read(read_items.get_items, *arguments, brief=brief)
            branch, cursor, more, brief = delta.branch, delta.cursor, delta.more, False
            yield delta

    async def watch(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        include_metadata: bool = False,
        native_dialect: str | None = None,
    ) -> AsyncGenerator[ItemsDelta, None]:
        check(session_id=session_id)
        changed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_change() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, perhaps since a moment
                loop.call_soon_threadsafe(changed.set)

        stop_listening = self.engine.listen(session_id, on_change)
        self._watches.add(on_change)
        try:
            is_first = True
            while True:
                if self._watching_ended:
                    raise stopping()
                changed.clear()
                delta = await self.get_items(
                    session_id,
                    branch=branch,
                    cursor=cursor,
                    include_metadata=include_metadata,
                    native_dialect=native_dialect,
                )
                if is_first or delta.kind is not DeltaKind.UNCHANGED or delta.branch != branch:
                    is_first = False
                    branch, cursor = delta.branch, delta.cursor
                    yield delta
                if not delta.more:
                    await changed.wait()
        finally:
            self._watches.discard(on_change)
            stop_listening()

    def end_watches(self) -> None:
        """End every watch with `Unavailable`, so that its caller resumes elsewhere; all else goes on."""
        self._watching_ended = True
        for wake in tuple(self._watches):
            wake()

    async def pop_item(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        expected_cursor: bytes | None = None,
        request_id: str | None = None,
        native_dialect: str | None = None,
    ) -> Popped:
        check(session_id=session_id, branch=branch, expected_cursor=expected_cursor, native_dialect=native_dialect)
        arguments = (branch, expected_cursor, *([] if native_dialect is None else [native_dialect]))
        return await self._write(Popped, request_id, write_items.pop_item, session_id, *arguments, brief=True)

    async def replace_items(
        self,
        session_id: str,
        remove_count: int,
        items: Sequence[bytes],
        *,
        expected_cursor: bytes,
        branch: BranchPointer = MAIN,
        request_id: str | None = None,
        natives: Sequence[NativeItem] = (),
    ) -> Written:
        check(session_id=session_id, branch=branch, remove_count=remove_count, replacement=items)
        check(required_cursor=expected_cursor)
        arguments = (remove_count, tuple(items), branch, expected_cursor, *_given(natives, items))
        return await self._write(Written, request_id, write_items.replace_items, session_id, *arguments)

    # Sessions

    async def clear_session(self, session_id: str, *, request_id: str | None = None) -> BranchPointer:
        check(session_id=session_id)
        return await self._write(BranchPointer, request_id, sessions.clear_session, session_id)

    async def get_session(self, session_id: str) -> Session:
        check(session_id=session_id)
        return await self._read(sessions.get_session, session_id)

    async def list_sessions(
        self,
        *,
        labels: Mapping[str, str] = _NO_LABELS,
        active_since: datetime | None = None,
        active_before: datetime | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[Session]:
        check(labels=labels, active_since=active_since, active_before=active_before)
        check(page_size=page_size, page_token=page_token)
        return await self._read(sessions.list_sessions, labels, active_since, active_before, page_size, page_token)

    async def update_session(
        self,
        session_id: str,
        *,
        labels: Mapping[str, str] = _NO_LABELS,
        remove_labels: Sequence[str] = (),
        expiry: Expiry | None = None,
        request_id: str | None = None,
    ) -> Session:
        check(session_id=session_id, labels=labels, remove_labels=remove_labels, expiry=expiry)
        arguments = (session_id, dict(labels), tuple(remove_labels), expiry)
        return await self._write(Session, request_id, sessions.update_session, *arguments)

    async def delete_session(self, session_id: str, *, request_id: str | None = None) -> None:
        check(session_id=session_id)
        await self._write(type(None), request_id, sessions.delete_session, session_id)

    async def forget_old_requests(self) -> int:
        """Remove the answers to requests that are older than the window in which a repeat gets them, and count them.

        Mutations do this on their way; this does it for a store that nobody writes to.
        """
        count = 0
        while forgotten := await self.engine.write(partial(requests.forget_old_requests, self._context()), ""):
            count += forgotten
        return count

    async def delete_expired_sessions(self) -> int:
        """Remove the sessions whose expiry has passed from the database, and count them.

        They look absent from the moment they expire; this gives back their space.
        """
        count = 0
        while True:
            expired = await self._read(purge.expired_sessions, _EXPIRED_AT_ONCE)
            for session_id in expired:
                operation = partial(purge.purge_if_expired, self._context(), session_id)
                count += await self.engine.write(operation, session_id)
            if len(expired) < _EXPIRED_AT_ONCE:
                return count

    # Branches

    async def create_branch(
        self,
        session_id: str,
        origin: Origin,
        *,
        branch: BranchPointer = MAIN,
        new_branch_id: str | None = None,
        request_id: str | None = None,
    ) -> CreatedBranch:
        check(session_id=session_id, branch=branch, origin=origin, new_branch_id=new_branch_id)
        arguments = (session_id, origin, branch, new_branch_id)
        return await self._write(CreatedBranch, request_id, branches.create_branch, *arguments)

    async def get_branch(self, session_id: str, branch_id: str) -> Branch:
        check(session_id=session_id, branch_id=branch_id)
        return await self._read(branches.get_branch, session_id, branch_id)

    async def list_branches(
        self, session_id: str, *, branch: BranchPointer = MAIN, page_size: int = 0, page_token: str = ""
    ) -> Page[Branch]:
        check(session_id=session_id, branch=branch, page_size=page_size, page_token=page_token)
        return await self._read(branches.list_branches, session_id, branch, page_size, page_token)

    async def delete_branch(self, session_id: str, branch_id: str, *, request_id: str | None = None) -> DeletedBranch:
        check(session_id=session_id, branch_id=branch_id)
        return await self._write(DeletedBranch, request_id, branches.delete_branch, session_id, branch_id)

    async def compare_branches(self, session_id: str, branch_id: str, other_branch_id: str) -> BranchComparison:
        check(session_id=session_id, branch_id=branch_id, other_branch_id=other_branch_id)
        return await self._read(branches.compare_branches, session_id, branch_id, other_branch_id)

    # Turns

    async def list_turns(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[Turn]:
        check(session_id=session_id, branch=branch, cursor=cursor, page_size=page_size, page_token=page_token)
        arguments = (session_id, branch, cursor, page_size, page_token)
        return await self._read(turns.list_turns, *arguments, brief=_is_new_only(cursor, page_token))

    async def stream_turn_deltas(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        native_dialect: str | None = None,
    ) -> AsyncGenerator[TurnsDelta, None]:
        check(session_id=session_id, branch=branch, cursor=cursor, native_dialect=native_dialect)
        resumed_at, continued = cursor, None
        more = True
        while more:
            arguments = (session_id, branch, cursor, continued, resumed_at, native_dialect)
            delta, more = await self._read(turns.stream_turns, *arguments, brief=continued is None)
            branch, cursor, continued = delta.branch, delta.cursor, delta.continued
            if delta.restarted:
                resumed_at = None
            yield delta

    async def search_turns(
        self,
        session_id: str,
        content: str,
        *,
        branch: BranchPointer = MAIN,
        all_branches: bool = False,
        letter_case: LetterCase = LetterCase.ASCII,
        cursor: bytes | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[Turn]:
        check(session_id=session_id, branch=branch, content=content, letter_case=letter_case)
        check(all_branches=all_branches, page_size=page_size, page_token=page_token)
        if all_branches:
            check(all_branches_cursor=cursor)
        else:
            check(cursor=cursor)
        arguments = (session_id, content, branch, all_branches, letter_case, cursor, page_size, page_token)
        return await self._read(search.search_turns, *arguments, brief=_is_new_only(cursor, page_token))

    async def get_conversation_by_turns(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[ItemMetadata]:
        check(session_id=session_id, branch=branch, cursor=cursor, outline_page_size=page_size, page_token=page_token)
        arguments = (session_id, branch, cursor, page_size, page_token)
        return await self._read(turns.get_conversation_by_turns, *arguments, brief=_is_new_only(cursor, page_token))

    async def list_tool_usage(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[ToolUsage]:
        check(session_id=session_id, branch=branch, cursor=cursor, outline_page_size=page_size, page_token=page_token)
        arguments = (session_id, branch, cursor, page_size, page_token)
        return await self._read(turns.list_tool_usage, *arguments, brief=_is_new_only(cursor, page_token))

    # Usage

    async def record_usage(
        self,
        session_id: str,
        usage: Usage,
        *,
        branch: BranchPointer = MAIN,
        mode: UsageMode = UsageMode.REPLACE,
        request_id: str | None = None,
    ) -> RecordedUsage:
        check(session_id=session_id, branch=branch, usage=usage, mode=mode)
        arguments = (session_id, usage, branch, mode)
        return await self._write(RecordedUsage, request_id, usage_operations.record_usage, *arguments, brief=True)

    async def get_session_usage(self, session_id: str, *, branch_id: str | None = None) -> UsageTotal | None:
        check(session_id=session_id, only_branch_id=branch_id)
        return await self._read(usage_operations.get_session_usage, session_id, branch_id)

    async def list_turn_usage(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        turn: int | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[TurnUsage]:
        check(session_id=session_id, branch=branch, only_turn=turn, page_size=page_size, page_token=page_token)
        return await self._read(usage_operations.list_turn_usage, session_id, branch, turn, page_size, page_token)

    async def summarize_usage(
        self,
        grouping: UsageGrouping,
        *,
        label_key: str | None = None,
        labels: Mapping[str, str] = _NO_LABELS,
        recorded_since: datetime | None = None,
        recorded_before: datetime | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[UsageSummary]:
        check(grouping=grouping, label_key=label_key, labels=labels)
        check(recorded_since=recorded_since, recorded_before=recorded_before)
        check(page_size=page_size, page_token=page_token)
        arguments = (grouping, label_key, labels, recorded_since, recorded_before, page_size, page_token)
        return await self._read(usage_operations.summarize_usage, *arguments)

    async def close(self) -> None:
        self.end_watches()
        await self.engine.close()


def _is_new_only(cursor: bytes | None, page_token: str) -> bool:
    """Whether a list is asked for what is new: little, unless the operation finds that it is much."""
    return cursor is not None and not page_token


def _given(natives: Sequence[NativeItem], items: Sequence[bytes]) -> tuple[tuple[NativeItem, ...], ...]:
    """The natives as an argument; none, so that a write without them is the request that it always was."""
    check_natives(natives, items)
    return (tuple(natives),) if natives else ()


def _are_few(items: Sequence[bytes], natives: Sequence[NativeItem]) -> bool:
    """Whether to add these is brief work: a turn's items, and not a history."""
    return (
        len(items) <= _FEW_ITEMS
        and sum(map(len, items)) + sum(len(native.native) for native in natives) <= BRIEF_BYTES_MAX
    )


def _committed(context: Context, result: T) -> T:
    """The result of an operation, after what it wanted done once it is committed."""
    for callback in context.when_committed:
        callback()
    return result
