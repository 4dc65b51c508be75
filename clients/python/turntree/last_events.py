"""The end of calls that were cut."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc
import grpc.aio

_NO_METHOD = "/turntree.v1.PipelineService/None"
_ANSWER_S_MAX = 1.0
_LAST_EVENTS_S = 0.02


async def last_events(channel: grpc.aio.Channel) -> None:
    """Wait until gRPC has nothing more to tell this event loop about calls that were cut.

    gRPC says that such a call is done before its last events have come, on threads of gRPC's. They would come to a
    closed loop if it closed before, which whoever runs the next one is told. They come soon after those threads have
    had their turn, however busy the machine is. They have had it when a call that is made now, on the same connection,
    has ended: with the answer of a server that does not know it, or at once where there is no connection.
    """
    call: Any = channel.unary_unary(_NO_METHOD)
    with contextlib.suppress(grpc.aio.AioRpcError, grpc.aio.UsageError):
        await call(b"", timeout=_ANSWER_S_MAX)
    await asyncio.sleep(_LAST_EVENTS_S)
