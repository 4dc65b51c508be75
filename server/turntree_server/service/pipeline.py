"""PipelineService: the unary calls of the other services on one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from turntree.errors import ErrorReason, InvalidArgument
from turntree.rpc_errors import to_status_message
from turntree.v1 import pipeline_pb2 as pb
from turntree.v1.pipeline_pb2_grpc import PipelineServiceServicer

from turntree_server.service.interceptor import Context, to_turntree_error

CALLS_AT_WORK_MAX = 1_024

Handler = Callable[[Any, Any], Awaitable[Any]]


class PipelineService(PipelineServiceServicer):
    """Runs the calls of a stream side by side, on the handlers of the services they belong to."""

    def __init__(self, services: Iterable[object]) -> None:
        by_name = {name: getattr(service, name) for service in services for name in dir(service) if name[0].isupper()}
        fields = pb.PipelineCall.DESCRIPTOR.oneofs_by_name["request"].fields
        self._handlers: dict[str, Handler] = {
            field.name: by_name[field.message_type.name.removesuffix("Request")]
            for field in fields
            if field.message_type is not None
        }

    async def Pipeline(
        self, request_iterator: AsyncIterator[pb.PipelineRequest], context: Context
    ) -> AsyncIterator[pb.PipelineResponse]:
        replies = _Replies()
        reading = asyncio.create_task(self._read(request_iterator, replies))
        try:
            while (batch := await replies.next_batch()) is not None:
                yield pb.PipelineResponse(replies=batch)
            await reading
        finally:
            reading.cancel()
            replies.cancel_calls()

    async def _read(self, requests: AsyncIterator[pb.PipelineRequest], replies: _Replies) -> None:
        """Start every call that comes in."""
        try:
            async for request in requests:
                for call in request.calls:
                    if replies.at_work >= CALLS_AT_WORK_MAX:
                        await replies.room()
                    replies.start(self._carry_out(call))
        finally:
            replies.end()

    async def _carry_out(self, call: pb.PipelineCall) -> pb.PipelineReply:
        name = call.WhichOneof("request")
        try:
            if name is None:
                limit = "one of the calls"
                raise InvalidArgument(
                    ErrorReason.FIELD_REQUIRED, f"request is required: {limit}", field="request", limit=limit
                )
            answer = self._handlers[name](getattr(call, name), None)
            if call.HasField("timeout"):
                answer = asyncio.wait_for(answer, call.timeout.seconds + call.timeout.nanos / 1e9)
            return pb.PipelineReply(call_id=call.call_id, **{name: await answer})
        except Exception as error:
            status = to_status_message(to_turntree_error(error))
            return pb.PipelineReply(call_id=call.call_id, error=status)


class _Replies:
    """The calls of one stream that are at work, and the replies that wait to be sent."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[pb.PipelineReply]] = set()
        self._done: list[pb.PipelineReply] = []
        self._changed = asyncio.Event()
        self._ended = False

    @property
    def at_work(self) -> int:
        """How many calls are not done yet."""
        return len(self._tasks)

    def start(self, call: Any) -> None:
        """Start a call."""
        task = asyncio.create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[pb.PipelineReply]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self._done.append(task.result())
        self._changed.set()

    async def room(self) -> None:
        """Wait until a call is done."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def next_batch(self) -> list[pb.PipelineReply] | None:
        """Wait for replies and take all there are; None when no more will come."""
        while not self._done:
            if self._ended and not self._tasks:
                return None
            self._changed.clear()
            await self._changed.wait()
        batch, self._done = self._done, []
        return batch

    def end(self) -> None:
        """No more calls will come."""
        self._ended = True
        self._changed.set()

    def cancel_calls(self) -> None:
        """Give up what is at work; nobody waits for it."""
        for task in self._tasks:
            task.cancel()
