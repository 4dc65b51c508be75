"""UsageService on a store."""

from __future__ import annotations

from typing import cast

from turntree import wire
from turntree.model import Usage, UsageGrouping
from turntree.v1 import usage_pb2 as pb
from turntree.v1.usage_pb2_grpc import UsageServiceServicer

from turntree_server.service.gate import StoreOfCall
from turntree_server.service.interceptor import Context


class UsageService(StoreOfCall, UsageServiceServicer):
    """Records and adds up token usage."""

    async def RecordUsage(self, request: pb.RecordUsageRequest, context: Context) -> pb.RecordUsageResponse:
        recorded = await self.store.record_usage(
            request.session_id,
            cast(Usage, wire.read_usage(request.usage) if request.HasField("usage") else None),
            branch=wire.read_pointer(request),
            mode=wire.read_usage_mode(request.mode),
            request_id=request.request_id,
        )
        return pb.RecordUsageResponse(
            recorded=recorded.recorded, turn=recorded.turn, branch=wire.write_pointer(recorded.branch)
        )

    async def GetSessionUsage(self, request: pb.GetSessionUsageRequest, context: Context) -> pb.GetSessionUsageResponse:
        total = await self.store.get_session_usage(request.session_id, branch_id=wire.optional(request, "branch_id"))
        return pb.GetSessionUsageResponse(total=wire.write_usage_total(total) if total is not None else None)

    async def ListTurnUsage(self, request: pb.ListTurnUsageRequest, context: Context) -> pb.ListTurnUsageResponse:
        page = await self.store.list_turn_usage(
            request.session_id,
            branch=wire.read_pointer(request),
            turn=wire.optional(request, "turn"),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListTurnUsageResponse(
            turns=[wire.write_turn_usage(usage) for usage in page.entries],
            next_page_token=page.next_page_token,
            branch=wire.write_pointer(page.branch),
        )

    async def SummarizeUsage(self, request: pb.SummarizeUsageRequest, context: Context) -> pb.SummarizeUsageResponse:
        page = await self.store.summarize_usage(
            cast(UsageGrouping, wire.read_usage_grouping(request.grouping)),
            label_key=wire.optional(request, "label_key"),
            labels=dict(request.labels),
            recorded_since=wire.read_time(request, "recorded_since"),
            recorded_before=wire.read_time(request, "recorded_before"),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.SummarizeUsageResponse(
            summaries=[wire.write_summary(summary) for summary in page.entries],
            next_page_token=page.next_page_token,
        )
