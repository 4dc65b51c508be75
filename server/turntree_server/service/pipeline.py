"""PipelineService: the unary calls of the other services on one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import grpc.aio
from turntree.errors import ErrorReason, InvalidArgument, Unauthenticated, stopping
from turntree.rpc_errors import to_status_message
from turntree.v1 import pipeline_pb2 as pb
from turntree.v1.pipeline_pb2_grpc import PipelineServiceServicer

from turntree_server import failpoints
from turntree_server.access.caller import Caller
from turntree_server.service.gate import Gate, caller_of_call
from turntree_server.service.interceptor import Context, to_turntree_error, well_formed
from turntree_server.service.room import Room

CALLS_AT_WORK_MAX = 1_024
_CALLS_AT_ONCE = 16  # so that client and server work at the same time, and not one after the other

Handler = Callable[[Any, Any], Awaitable[Any]]


class _Refused(Exception):
    """A call that waited was not carried out, since its credential is no longer valid."""


class PipelineService(PipelineServiceServicer):
    """Runs the calls of a stream side by side, on the handlers of the services they belong to."""

    def __init__(self, services: Iterable[object], gate: Gate) -> None:
        self._gate = gate
        self._ending = asyncio.Event()
        by_name = {name: getattr(service, name) for service in services for name in dir(service) if name[0].isupper()}
        fields = pb.PipelineCall.DESCRIPTOR.oneofs_by_name["request"].fields
        names = {field.name: field.message_type.name.removesuffix("Request") for field in fields if field.message_type}
        self._handlers: dict[str, tuple[str, Handler]] = {field: (name, by_name[name]) for field, name in names.items()}

    async def Pipeline(self, request_iterator: AsyncIterator[pb.PipelineRequest], context: Context) -> None:  # type: ignore[override]
        calls = _Calls(context, self._handlers, self._gate, caller_of_call())
        reading = asyncio.create_task(self._read(context, calls))
        ending = asyncio.create_task(self._ending.wait())
        try:
            ends: set[asyncio.Future[Any]] = {reading, ending, calls.refused}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            is_read = reading.done()
            error = reading.exception() if is_read else None
            if error is not None and not isinstance(error, Unauthenticated):
                raise error
            reading.cancel()
            await asyncio.wait({reading})
            await calls.finish()  # what was begun is answered
            if calls.refused.done():
                raise calls.refused.result()
            if error is not None:
                raise error
            if not is_read:
                raise stopping()
        finally:
            reading.cancel()
            ending.cancel()
            await calls.cancel()

    def end(self) -> None:
        """End every stream once its calls at work are done, so that clients go on elsewhere."""
        self._ending.set()

    @staticmethod
    async def _read(context: Context, calls: _Calls) -> None:
        """Start every call that comes in."""
        while (request := await context.read()) is not grpc.aio.EOF:
            for position, call in enumerate(well_formed(request).calls, 1):
                while calls.at_work >= CALLS_AT_WORK_MAX:
                    await calls.one_done()
                calls.recognize_caller()
                calls.start(call)
                if position % _CALLS_AT_ONCE == 0:
                    await asyncio.sleep(0)  # the first answers are on their way before the last calls are begun


class _Calls:
    """The calls of one stream that are at work, and the replies that wait to be sent.

    `refused` is done when a call that waited found that its credential is no longer valid: the stream is to end then,
    so that the client opens another one with a new credential.
    """

    def __init__(self, context: Context, handlers: dict[str, tuple[str, Handler]], gate: Gate, caller: Caller) -> None:
        self._context = context
        self._handlers = handlers
        self._gate = gate
        self._caller = caller
        self._tasks: set[asyncio.Task[None]] = set()
        self._replies: list[tuple[pb.PipelineReply, bool]] = []
        self._room = Room()
        self._is_sending = False
        self.refused: asyncio.Future[Unauthenticated] = asyncio.get_running_loop().create_future()

    @property
    def at_work(self) -> int:
        """How many calls are not done yet, or their replies not sent."""
        return len(self._tasks) + len(self._replies)

    def recognize_caller(self) -> None:
        """Look again whose stream this is; one whose credential is no longer valid ends with Unauthenticated."""
        self._caller = self._gate.still(self._caller)

    def start(self, call: pb.PipelineCall) -> None:
        """Start a call."""
        task = asyncio.create_task(self._carry_out(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def one_done(self) -> None:
        """Wait until a call is done."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def finish(self) -> None:
        """Wait until every call is done and its reply sent."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Give up what is at work, since nobody waits for it; nothing uses the stream any more then."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry_out(self, call: pb.PipelineCall) -> None:
        try:
            reply = await self._reply(call)
        except _Refused:
            return
        self._replies.append(reply)
        if self._is_sending:
            return
        self._is_sending = True
        try:
            if len(self._tasks) > 1:
                await asyncio.sleep(0)  # calls that are done at the same time are answered in one message
            while self._replies:
                replies, self._replies = self._replies, []
                if failpoints.ON:
                    failpoints.hit("reply.begin")
                await self._context.write(pb.PipelineResponse(replies=(reply for reply, _ in replies)))
                for _, is_large in replies:
                    if is_large:
                        self._room.taken()
                if failpoints.ON:
                    failpoints.hit("reply.end")
        finally:
            self._is_sending = False

    async def _reply(self, call: pb.PipelineCall) -> tuple[pb.PipelineReply, bool]:
        """The reply to a call, and whether it takes up room until it is sent.

        Raises:
            _Refused: It was not carried out.
        """
        field = call.WhichOneof("request")
        try:
            if field is None:
                limit = "one of the calls"
                raise InvalidArgument(
                    ErrorReason.FIELD_REQUIRED, f"request is required: {limit}", field="request", limit=limit
                )
            if failpoints.ON:
                failpoints.hit("call.begin")
            timeout_s = call.timeout.seconds + call.timeout.nanos / 1e9 if call.HasField("timeout") else None
            name, handler = self._handlers[field]
            request = getattr(call, field)

            async def answer() -> Any:
                try:
                    self.recognize_caller()  # it may have waited for room
                except Unauthenticated as error:
                    if not self.refused.done():
                        self.refused.set_result(error)
                    raise _Refused from error
                return await handler(request, self._context)

            async with asyncio.timeout(timeout_s), self._gate.call(self._caller, name):
                answered, is_large = await self._room.carry_out(request, answer)
            return pb.PipelineReply(call_id=call.call_id, **{field: answered}), is_large
        except _Refused:
            raise
        except Exception as error:
            return pb.PipelineReply(call_id=call.call_id, error=to_status_message(to_turntree_error(error))), False
