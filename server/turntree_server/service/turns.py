"""TurnService on a store."""

from __future__ import annotations

from collections.abc import AsyncIterator

from turntree import columns, wire
from turntree.v1 import turn_pb2 as pb
from turntree.v1.turn_pb2_grpc import TurnServiceServicer

from turntree_server.service.deltas import turns_delta
from turntree_server.service.gate import StoreOfCall
from turntree_server.service.interceptor import Context


class TurnService(StoreOfCall, TurnServiceServicer):
    """Reads conversations by turns."""

    async def ListTurns(self, request: pb.ListTurnsRequest, context: Context) -> pb.ListTurnsResponse:
        page = await self.store.list_turns(
            request.session_id,
            branch=wire.read_pointer(request),
            cursor=wire.optional(request, "cursor"),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListTurnsResponse(turns=columns.write_turns(page.entries), **wire.page_fields(page))

    async def StreamTurns(  # type: ignore[override]  # ready-made bytes of its messages
        self, request: pb.StreamTurnsRequest, context: Context
    ) -> AsyncIterator[bytes]:
        async for delta in self.store.stream_turn_deltas(
            request.session_id,
            branch=wire.read_pointer(request),
            cursor=wire.optional(request, "cursor"),
            native_dialect=wire.optional(request, "native_dialect"),
        ):
            yield turns_delta(delta)

    async def SearchTurns(self, request: pb.SearchTurnsRequest, context: Context) -> pb.SearchTurnsResponse:
        page = await self.store.search_turns(
            request.session_id,
            request.content,
            branch=wire.read_pointer(request),
            all_branches=request.all_branches,
            letter_case=wire.read_letter_case(request.letter_case),
            cursor=wire.optional(request, "cursor"),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.SearchTurnsResponse(turns=columns.write_turns(page.entries), **wire.page_fields(page))

    async def GetConversationByTurns(
        self, request: pb.GetConversationByTurnsRequest, context: Context
    ) -> pb.GetConversationByTurnsResponse:
        page = await self.store.get_conversation_by_turns(
            request.session_id,
            branch=wire.read_pointer(request),
            cursor=wire.optional(request, "cursor"),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.GetConversationByTurnsResponse(items=columns.write_metadata(page.entries), **wire.page_fields(page))

    async def ListToolUsage(self, request: pb.ListToolUsageRequest, context: Context) -> pb.ListToolUsageResponse:
        page = await self.store.list_tool_usage(
            request.session_id,
            branch=wire.read_pointer(request),
            cursor=wire.optional(request, "cursor"),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListToolUsageResponse(tools=columns.write_tools(page.entries), **wire.page_fields(page))
