"""A server that refuses every session with the reason that stands in its id; started as `turntree serve` is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
from turntree.rpc_errors import to_status, to_status_message
from turntree.v1 import pipeline_pb2, session_pb2
from turntree.v1.pipeline_pb2_grpc import PipelineServiceServicer, add_PipelineServiceServicer_to_server
from turntree.v1.session_pb2_grpc import SessionServiceServicer, add_SessionServiceServicer_to_server

from tests.support.reasons import STATED


class RefusingSessions(SessionServiceServicer):
    """Describes no session."""

    async def GetSession(self, request: session_pb2.GetSessionRequest, context: Any) -> session_pb2.GetSessionResponse:
        await context.abort(*to_status(STATED[request.session_id]))
        raise AssertionError("abort does not return")


class RefusingPipeline(PipelineServiceServicer):
    """Describes no session on a stream either."""

    async def Pipeline(
        self, requests: AsyncIterator[pipeline_pb2.PipelineRequest], context: Any
    ) -> AsyncIterator[pipeline_pb2.PipelineResponse]:
        async for request in requests:
            yield pipeline_pb2.PipelineResponse(
                replies=[
                    pipeline_pb2.PipelineReply(
                        call_id=call.call_id, error=to_status_message(STATED[call.get_session.session_id])
                    )
                    for call in request.calls
                ]
            )


async def main(listen: str) -> None:
    """Serve until the process is ended."""
    server = grpc.aio.server()
    add_SessionServiceServicer_to_server(RefusingSessions(), server)  # type: ignore[abstract]
    add_PipelineServiceServicer_to_server(RefusingPipeline(), server)
    host, _, _ = listen.rpartition(":")
    port = server.add_insecure_port(listen)
    await server.start()
    print(f"turntree refusing listening on {host}:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[sys.argv.index("--listen") + 1]))
