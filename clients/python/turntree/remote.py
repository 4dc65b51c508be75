"""The store behind a server: every call of `Store` as a call over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import grpc
import grpc.aio

from turntree import columns, wire
from turntree.address import TlsFiles
from turntree.connection import Connection
from turntree.errors import (
    ErrorReason,
    TurntreeError,
    Unavailable,
    stopping,
)
from turntree.last_events import last_events
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
from turntree.own_process import grpc_process
from turntree.probe import what_is_wrong
from turntree.request_ids import new_request_id
from turntree.responses import Responses
from turntree.retries import RESUMABLE, RETRY_FOR_S_DEFAULT, Resumption, RetryBudget
from turntree.seen_turns import SeenTurns
from turntree.store import Store
from turntree.token import Credentials, TokenSource
from turntree.v1 import branch_pb2, session_pb2, turn_pb2, usage_pb2

T = TypeVar("T")

_NO_LABELS: Mapping[str, str] = {}

TIMEOUT_S_DEFAULT = 30.0
_RESUME_DELAY_S_MAX = 2.0


class RemoteStore(Store):
    """A store on a turntree server.

    Calls that find the server unavailable are retried, with the same `request_id`, and streams resume by cursor, as far
    as the client's budget of retries goes. One channel is used for each event loop, so that a store outlives the loop
    it was first used on.

    Args:
        target: `host:port` of the server.
        credentials: For TLS; without them the connection is plain.
        timeout_s: How long a call may take, its retries included, before it raises `DeadlineExceeded`. Streams and
            watches have no limit.
        retry_for_s: How long a call, or a stream, that finds the server unavailable is tried again, from its first
            failure on; 0 for not at all. A watch that has begun is tried again for ever.
        token: Whose calls these are, for a server that asks.
        tls: The files behind `credentials`, to say what is wrong with them when there is no connection.

    Raises:
        InvalidArgument: FIELD_INVALID, when a token would go over the network in plaintext, or a time is none.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout_s: float = TIMEOUT_S_DEFAULT,
        retry_for_s: float = RETRY_FOR_S_DEFAULT,
        token: TokenSource | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self.target = target
        self._tls = credentials
        self._tls_files = tls
        self._credentials = Credentials(token, target, is_private=credentials is not None)
        check(timeout_s=timeout_s, retry_for_s=retry_for_s)
        self._timeout_s = timeout_s
        self._retry_for_s = retry_for_s
        self._connections: WeakKeyDictionary[asyncio.AbstractEventLoop, Connection] = WeakKeyDictionary()
        self._closed = False
        self._budget = RetryBudget()

    async def ready(self, timeout_s: float) -> None:
        """Wait until the server can be reached.

        Raises:
            Unavailable: SERVER_UNREACHABLE, when it could not be in that time.
        """
        try:
            await asyncio.wait_for(self._connection().channel.channel_ready(), timeout_s)
        except TimeoutError:
            message = f"no turntree server answers at {self.target}"
            raise await self._explained(
                Unavailable(ErrorReason.SERVER_UNREACHABLE, message, target=self.target)
            ) from None

    async def _explained(self, error: Unavailable) -> Unavailable:
        """An error that also says why there is no connection, where that can be found out."""
        if error.reason is not ErrorReason.SERVER_UNREACHABLE:
            return error
        files = self._tls_files or TlsFiles() if self._tls is not None else None
        wrong = await what_is_wrong(self.target, files)
        return error if wrong is None else Unavailable(error.reason, f"{self.target}: {wrong}", **error.facts)

    def _connection(self) -> Connection:
        if self._closed:
            raise stopping()
        grpc_process().require()
        loop = asyncio.get_running_loop()
        connection = self._connections.get(loop)
        if connection is None:
            connection = Connection(self.target, self._tls, self._budget, self._credentials, self._retry_for_s)
            self._connections[loop] = connection
        return connection

    async def _call(self, request: Any, response_type: type[T]) -> T:
        try:
            response = await self._connection().pipeline.call(request, self._timeout_s)
        except Unavailable as error:
            raise await self._explained(error) from None
        assert isinstance(response, response_type)
        return response

    def _resumption(self) -> Resumption:
        return Resumption(self._budget, self._credentials.is_fresh, self._retry_for_s, _RESUME_DELAY_S_MAX)

    def _stream(self, method: Callable[..., Any], request: Any) -> Responses:
        async def begin() -> Any:
            return method(request, metadata=await self._credentials.metadata())

        return Responses(begin, self._connection(), self.target, lambda: self._closed)

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
        check_natives(natives, items)
        request = wire.request(
            session_pb2.AddItemsRequest,
            session_id=session_id,
            branch=wire.write_pointer(branch),
            items=items,
            expected_cursor=expected_cursor,
            request_id=_request_id(request_id),
            natives=wire.write_natives(natives),
        )
        response = await self._call(request, session_pb2.AddItemsResponse)
        return Written(wire.read_pointer(response), response.cursor, response.turn, response.previous_cursor)

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
        request = wire.request(
            session_pb2.GetItemsRequest,
            session_id=session_id,
            branch=wire.write_pointer(branch),
            cursor=cursor,
            window=wire.write_window(window),
            include_metadata=include_metadata,
            native_dialect=native_dialect,
        )
        response = await self._call(request, session_pb2.GetItemsResponse)
        return wire.read_delta(response.delta)

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
        resumption = self._resumption()
        more = True
        while True:
            request = wire.request(
                session_pb2.StreamItemsRequest,
                session_id=session_id,
                branch=wire.write_pointer(branch),
                cursor=cursor,
                window=wire.write_window(window),
                include_metadata=include_metadata,
                native_dialect=native_dialect,
            )
            try:
                async with aclosing(self._stream(self._connection().sessions.StreamItems, request)) as responses:
                    async for response in responses:
                        delta = wire.read_delta(response.delta)
                        if delta.cursor != cursor:
                            resumption.heard()
                        branch, cursor, more = delta.branch, delta.cursor, delta.more
                        yield delta
                return
            except RESUMABLE as error:
                if self._closed:
                    raise
                if not more:
                    return
                await resumption.pause(error)

    async def watch(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        include_metadata: bool = False,
        native_dialect: str | None = None,
    ) -> AsyncGenerator[ItemsDelta, None]:
        """See `Store.watch`. Once it has begun, it goes on by cursor whenever a server that went away is back."""
        check(session_id=session_id, branch=branch, cursor=cursor)
        check(include_metadata=include_metadata, native_dialect=native_dialect)
        resumption = self._resumption()
        begun = resumed = False
        while True:
            request = wire.request(
                session_pb2.WatchRequest,
                session_id=session_id,
                branch=wire.write_pointer(branch),
                cursor=cursor,
                include_metadata=include_metadata,
                native_dialect=native_dialect,
            )
            lost: TurntreeError = stopping()
            try:
                async with aclosing(self._stream(self._connection().sessions.Watch, request)) as responses:
                    async for response in responses:
                        resumption.heard()
                        resumption.persist()
                        delta = wire.read_delta(response.delta)
                        is_news = not resumed or delta.kind is not DeltaKind.UNCHANGED or delta.branch != branch
                        branch, cursor, begun, resumed = delta.branch, delta.cursor, True, False
                        if is_news:
                            yield delta
            except RESUMABLE as error:
                if self._closed:
                    raise
                lost = error
            resumed = begun
            await resumption.pause(lost)

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
        request = wire.request(
            session_pb2.PopItemRequest,
            session_id=session_id,
            branch=wire.write_pointer(branch),
            expected_cursor=expected_cursor,
            request_id=_request_id(request_id),
            native_dialect=native_dialect,
        )
        response = await self._call(request, session_pb2.PopItemResponse)
        pointer = wire.read_pointer(response)
        return Popped(wire.optional(response, "item"), pointer, response.cursor, wire.optional(response, "native"))

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
        check_natives(natives, items)
        request = wire.request(
            session_pb2.ReplaceItemsRequest,
            session_id=session_id,
            branch=wire.write_pointer(branch),
            remove_count=remove_count,
            items=items,
            expected_cursor=expected_cursor,
            request_id=_request_id(request_id),
            natives=wire.write_natives(natives),
        )
        response = await self._call(request, session_pb2.ReplaceItemsResponse)
        return Written(wire.read_pointer(response), response.cursor, response.turn)

    # Sessions

    async def clear_session(self, session_id: str, *, request_id: str | None = None) -> BranchPointer:
        check(session_id=session_id)
        request = wire.request(
            session_pb2.ClearSessionRequest,
            session_id=session_id,
            request_id=_request_id(request_id),
        )
        response = await self._call(request, session_pb2.ClearSessionResponse)
        return wire.read_pointer(response)

    async def get_session(self, session_id: str) -> Session:
        check(session_id=session_id)
        request = wire.request(session_pb2.GetSessionRequest, session_id=session_id)
        response = await self._call(request, session_pb2.GetSessionResponse)
        return wire.read_session(response.session)

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
        request = wire.request(
            session_pb2.ListSessionsRequest,
            labels=labels,
            active_since=wire.write_time(active_since),
            active_before=wire.write_time(active_before),
            page_size=page_size,
            page_token=page_token,
        )
        response = await self._call(request, session_pb2.ListSessionsResponse)
        return Page(tuple(wire.read_session(session) for session in response.sessions), response.next_page_token)

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
        request = wire.request(
            session_pb2.UpdateSessionRequest,
            session_id=session_id,
            labels=labels,
            remove_labels=remove_labels,
            request_id=_request_id(request_id),
            **wire.write_expiry(expiry),
        )
        response = await self._call(request, session_pb2.UpdateSessionResponse)
        return wire.read_session(response.session)

    async def delete_session(self, session_id: str, *, request_id: str | None = None) -> None:
        check(session_id=session_id)
        request = wire.request(
            session_pb2.DeleteSessionRequest,
            session_id=session_id,
            request_id=_request_id(request_id),
        )
        await self._call(request, session_pb2.DeleteSessionResponse)

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
        request = wire.request(
            branch_pb2.CreateBranchRequest,
            session_id=session_id,
            branch=wire.write_pointer(branch),
            new_branch_id=new_branch_id,
            request_id=_request_id(request_id),
            **wire.write_origin(origin),
        )
        response = await self._call(request, branch_pb2.CreateBranchResponse)
        return CreatedBranch(wire.read_branch(response.branch), wire.read_pointer_message(response.source))

    async def get_branch(self, session_id: str, branch_id: str) -> Branch:
        check(session_id=session_id, branch_id=branch_id)
        request = wire.request(branch_pb2.GetBranchRequest, session_id=session_id, branch_id=branch_id)
        response = await self._call(request, branch_pb2.GetBranchResponse)
        return wire.read_branch(response.branch)

    async def list_branches(
        self, session_id: str, *, branch: BranchPointer = MAIN, page_size: int = 0, page_token: str = ""
    ) -> Page[Branch]:
        check(session_id=session_id, branch=branch, page_size=page_size, page_token=page_token)
        request = wire.request(
            branch_pb2.ListBranchesRequest,
            session_id=session_id,
            branch=wire.write_pointer(branch),
            page_size=page_size,
            page_token=page_token,
        )
        response = await self._call(request, branch_pb2.ListBranchesResponse)
        branches = tuple(wire.read_branch(branch) for branch in response.branches)
        return Page(branches, response.next_page_token, wire.read_pointer(response))

    async def delete_branch(self, session_id: str, branch_id: str, *, request_id: str | None = None) -> DeletedBranch:
        check(session_id=session_id, branch_id=branch_id)
        request = wire.request(
            branch_pb2.DeleteBranchRequest,
            session_id=session_id,
            branch_id=branch_id,
            request_id=_request_id(request_id),
        )
        response = await self._call(request, branch_pb2.DeleteBranchResponse)
        return DeletedBranch(response.item_count, response.orphan_count, response.usage_count)

    async def compare_branches(self, session_id: str, branch_id: str, other_branch_id: str) -> BranchComparison:
        check(session_id=session_id, branch_id=branch_id, other_branch_id=other_branch_id)
        request = wire.request(
            branch_pb2.CompareBranchesRequest,
            session_id=session_id,
            branch_id=branch_id,
            other_branch_id=other_branch_id,
        )
        response = await self._call(request, branch_pb2.CompareBranchesResponse)
        return BranchComparison(
            response.common_item_count,
            response.common_turn,
            wire.read_difference(response.difference),
            wire.read_difference(response.other_difference),
        )

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
        request = wire.request(
            turn_pb2.ListTurnsRequest,
            session_id=session_id,
            branch=wire.write_pointer(branch),
            cursor=cursor,
            page_size=page_size,
            page_token=page_token,
        )
        response = await self._call(request, turn_pb2.ListTurnsResponse)
        return wire.read_page(columns.read_turns(response.turns), response)

    async def stream_turn_deltas(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        native_dialect: str | None = None,
    ) -> AsyncGenerator[TurnsDelta, None]:
        check(session_id=session_id, branch=branch, cursor=cursor, native_dialect=native_dialect)
        resumption = self._resumption()
        seen = SeenTurns()
        lost: TurntreeError = stopping()
        while True:
            request = wire.request(
                turn_pb2.StreamTurnsRequest,
                session_id=session_id,
                branch=wire.write_pointer(branch),
                cursor=cursor,
                native_dialect=native_dialect,
            )
            try:
                async with aclosing(self._stream(self._connection().turns.StreamTurns, request)) as responses:
                    async for response in responses:
                        delta = seen.take(wire.read_turns_delta(response))
                        if delta is None:
                            raise lost
                        if delta.cursor != cursor:
                            resumption.heard()
                        branch, cursor = delta.branch, delta.cursor
                        yield delta
                return
            except RESUMABLE as error:
                if self._closed or error is lost:
                    raise
                await resumption.pause(error)
                seen.resume()
                lost = error

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
        request = wire.request(
            turn_pb2.SearchTurnsRequest,
            session_id=session_id,
            branch=wire.write_pointer(branch),
            all_branches=all_branches,
            content=content,
            letter_case=wire.write_letter_case(letter_case),
            cursor=cursor,
            page_size=page_size,
            page_token=page_token,
        )
        response = await self._call(request, turn_pb2.SearchTurnsResponse)
        return wire.read_page(columns.read_turns(response.turns), response)

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
        request = wire.request(
            turn_pb2.GetConversationByTurnsRequest,
            session_id=session_id,
            branch=wire.write_pointer(branch),
            cursor=cursor,
            page_size=page_size,
            page_token=page_token,
        )
        response = await self._call(request, turn_pb2.GetConversationByTurnsResponse)
        return wire.read_page(columns.read_metadata(response.items), response)

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
        request = wire.request(
            turn_pb2.ListToolUsageRequest,
            session_id=session_id,
            branch=wire.write_pointer(branch),
            cursor=cursor,
            page_size=page_size,
            page_token=page_token,
        )
        response = await self._call(request, turn_pb2.ListToolUsageResponse)
        return wire.read_page(columns.read_tools(response.tools), response)

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
        request = wire.request(
            usage_pb2.RecordUsageRequest,
            session_id=session_id,
            branch=wire.write_pointer(branch),
            usage=wire.write_usage(usage),
            mode=wire.write_usage_mode(mode),
            request_id=_request_id(request_id),
        )
        response = await self._call(request, usage_pb2.RecordUsageResponse)
        return RecordedUsage(response.recorded, response.turn, wire.read_pointer(response))

    async def get_session_usage(self, session_id: str, *, branch_id: str | None = None) -> UsageTotal | None:
        check(session_id=session_id, only_branch_id=branch_id)
        request = wire.request(usage_pb2.GetSessionUsageRequest, session_id=session_id, branch_id=branch_id)
        response = await self._call(request, usage_pb2.GetSessionUsageResponse)
        return wire.read_usage_total(response.total) if response.HasField("total") else None

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
        request = wire.request(
            usage_pb2.ListTurnUsageRequest,
            session_id=session_id,
            branch=wire.write_pointer(branch),
            turn=turn,
            page_size=page_size,
            page_token=page_token,
        )
        response = await self._call(request, usage_pb2.ListTurnUsageResponse)
        turns = tuple(wire.read_turn_usage(usage) for usage in response.turns)
        return Page(turns, response.next_page_token, wire.read_pointer(response))

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
        request = wire.request(
            usage_pb2.SummarizeUsageRequest,
            grouping=wire.write_usage_grouping(grouping),
            label_key=label_key,
            labels=labels,
            recorded_since=wire.write_time(recorded_since),
            recorded_before=wire.write_time(recorded_before),
            page_size=page_size,
            page_token=page_token,
        )
        response = await self._call(request, usage_pb2.SummarizeUsageResponse)
        return Page(tuple(wire.read_summary(summary) for summary in response.summaries), response.next_page_token)

    async def close(self) -> None:
        self._closed = True
        if not grpc_process().is_here():
            return
        connection = self._connections.pop(asyncio.get_running_loop(), None)
        if connection is not None:
            streams = tuple(connection.streams)
            for call in streams:
                call.cancel()
            await connection.pipeline.close()
            if streams:
                await last_events(connection.channel)
            await connection.channel.close(grace=self._timeout_s)
        self._connections.clear()


def _request_id(given: str | None) -> str:
    """What names a mutation: the id that the caller gave, or a new one."""
    if given is None:
        return new_request_id()
    check(request_id=given)
    return given
