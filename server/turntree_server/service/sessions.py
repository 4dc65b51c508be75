"""SessionService on a store."""

from __future__ import annotations

from collections.abc import AsyncIterator

from turntree import wire
from turntree.v1 import session_pb2 as pb
from turntree.v1.session_pb2_grpc import SessionServiceServicer

from turntree_server.service.deltas import with_delta
from turntree_server.service.gate import StoreOfCall
from turntree_server.service.interceptor import Context


class SessionService(StoreOfCall, SessionServiceServicer):
    """Writes, reads and watches conversations."""

    async def AddItems(self, request: pb.AddItemsRequest, context: Context) -> pb.AddItemsResponse:
        written = await self.store.add_items(
            request.session_id,
            request.items,
            branch=wire.read_pointer(request),
            expected_cursor=wire.optional(request, "expected_cursor"),
            request_id=request.request_id,
            natives=wire.read_natives(request.natives),
        )
        return pb.AddItemsResponse(
            branch=wire.write_pointer(written.branch),
            cursor=written.cursor,
            turn=written.turn,
            previous_cursor=written.previous_cursor,
        )

    async def GetItems(self, request: pb.GetItemsRequest, context: Context) -> pb.GetItemsResponse:
        delta = await self.store.get_items(
            request.session_id,
            branch=wire.read_pointer(request),
            cursor=wire.optional(request, "cursor"),
            window=wire.read_window(request.window),
            include_metadata=request.include_metadata,
            native_dialect=wire.optional(request, "native_dialect"),
        )
        return with_delta(pb.GetItemsResponse(), delta)

    async def StreamItems(
        self, request: pb.StreamItemsRequest, context: Context
    ) -> AsyncIterator[pb.StreamItemsResponse]:
        async for delta in self.store.stream_items(
            request.session_id,
            branch=wire.read_pointer(request),
            cursor=wire.optional(request, "cursor"),
            window=wire.read_window(request.window),
            include_metadata=request.include_metadata,
            native_dialect=wire.optional(request, "native_dialect"),
        ):
            yield with_delta(pb.StreamItemsResponse(), delta)

    async def PopItem(self, request: pb.PopItemRequest, context: Context) -> pb.PopItemResponse:
        popped = await self.store.pop_item(
            request.session_id,
            branch=wire.read_pointer(request),
            expected_cursor=wire.optional(request, "expected_cursor"),
            request_id=request.request_id,
            native_dialect=wire.optional(request, "native_dialect"),
        )
        return pb.PopItemResponse(
            item=popped.item,
            branch=wire.write_pointer(popped.branch),
            cursor=popped.cursor,
            native=popped.native,
        )

    async def ReplaceItems(self, request: pb.ReplaceItemsRequest, context: Context) -> pb.ReplaceItemsResponse:
        written = await self.store.replace_items(
            request.session_id,
            request.remove_count,
            request.items,
            branch=wire.read_pointer(request),
            expected_cursor=request.expected_cursor,
            request_id=request.request_id,
            natives=wire.read_natives(request.natives),
        )
        return pb.ReplaceItemsResponse(
            branch=wire.write_pointer(written.branch), cursor=written.cursor, turn=written.turn
        )

    async def ClearSession(self, request: pb.ClearSessionRequest, context: Context) -> pb.ClearSessionResponse:
        branch = await self.store.clear_session(request.session_id, request_id=request.request_id)
        return pb.ClearSessionResponse(branch=wire.write_pointer(branch))

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.GetSessionResponse:
        session = await self.store.get_session(request.session_id)
        return pb.GetSessionResponse(session=wire.write_session(session))

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:
        page = await self.store.list_sessions(
            labels=dict(request.labels),
            active_since=wire.read_time(request, "active_since"),
            active_before=wire.read_time(request, "active_before"),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListSessionsResponse(
            sessions=[wire.write_session(session) for session in page.entries],
            next_page_token=page.next_page_token,
        )

    async def UpdateSession(self, request: pb.UpdateSessionRequest, context: Context) -> pb.UpdateSessionResponse:
        session = await self.store.update_session(
            request.session_id,
            labels=dict(request.labels),
            remove_labels=request.remove_labels,
            expiry=wire.read_expiry(request),
            request_id=request.request_id,
        )
        return pb.UpdateSessionResponse(session=wire.write_session(session))

    async def DeleteSession(self, request: pb.DeleteSessionRequest, context: Context) -> pb.DeleteSessionResponse:
        await self.store.delete_session(request.session_id, request_id=request.request_id)
        return pb.DeleteSessionResponse()

    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.WatchResponse]:
        async for delta in self.store.watch(
            request.session_id,
            branch=wire.read_pointer(request),
            cursor=wire.optional(request, "cursor"),
            include_metadata=request.include_metadata,
            native_dialect=wire.optional(request, "native_dialect"),
        ):
            yield with_delta(pb.WatchResponse(), delta)
