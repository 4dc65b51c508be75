"""BranchService on a store."""

from __future__ import annotations

from typing import cast

from turntree import wire
from turntree.model import Origin
from turntree.v1 import branch_pb2 as pb
from turntree.v1.branch_pb2_grpc import BranchServiceServicer

from turntree_server.service.gate import StoreOfCall
from turntree_server.service.interceptor import Context


class BranchService(StoreOfCall, BranchServiceServicer):
    """Forks, lists, compares and removes branches."""

    async def CreateBranch(self, request: pb.CreateBranchRequest, context: Context) -> pb.CreateBranchResponse:
        created = await self.store.create_branch(
            request.session_id,
            cast(Origin, wire.read_origin(request)),
            branch=wire.read_pointer(request),
            new_branch_id=wire.optional(request, "new_branch_id"),
            request_id=request.request_id,
        )
        return pb.CreateBranchResponse(
            branch=wire.write_branch(created.branch), source=wire.write_pointer(created.source)
        )

    async def GetBranch(self, request: pb.GetBranchRequest, context: Context) -> pb.GetBranchResponse:
        branch = await self.store.get_branch(request.session_id, request.branch_id)
        return pb.GetBranchResponse(branch=wire.write_branch(branch))

    async def ListBranches(self, request: pb.ListBranchesRequest, context: Context) -> pb.ListBranchesResponse:
        page = await self.store.list_branches(
            request.session_id,
            branch=wire.read_pointer(request),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListBranchesResponse(
            branches=[wire.write_branch(branch) for branch in page.entries],
            next_page_token=page.next_page_token,
            branch=wire.write_pointer(page.branch),
        )

    async def DeleteBranch(self, request: pb.DeleteBranchRequest, context: Context) -> pb.DeleteBranchResponse:
        deleted = await self.store.delete_branch(request.session_id, request.branch_id, request_id=request.request_id)
        return pb.DeleteBranchResponse(
            item_count=deleted.item_count, orphan_count=deleted.orphan_count, usage_count=deleted.usage_count
        )

    async def CompareBranches(self, request: pb.CompareBranchesRequest, context: Context) -> pb.CompareBranchesResponse:
        comparison = await self.store.compare_branches(request.session_id, request.branch_id, request.other_branch_id)
        return pb.CompareBranchesResponse(
            common_item_count=comparison.common_item_count,
            common_turn=comparison.common_turn,
            difference=wire.write_difference(comparison.difference),
            other_difference=wire.write_difference(comparison.other_difference),
        )
