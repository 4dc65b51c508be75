"""Many calls on one stream: what waits is sent together, and each answer goes to its caller."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import grpc
import grpc.aio

from turntree.errors import (
    DeadlineExceeded,
    ErrorReason,
    ResourceExhausted,
    TurntreeError,
    Unauthenticated,
    Unavailable,
    stopping,
)
from turntree.last_events import last_events
from turntree.retries import TRY_S_MIN, Backoff, RetryBudget, wait_s
from turntree.rpc_errors import from_rpc_error, from_status_message
from turntree.token import Credentials, Metadata
from turntree.v1 import pipeline_pb2 as pb
from turntree.v1 import pipeline_pb2_grpc

_CALLS_A_MESSAGE_MAX = 64
_CALLS_AT_ONCE = 16  # so that client and server work at the same time, and not one after the other
_SENT_S_MAX = 1.0
_MESSAGE_BYTES_MAX = 4 * 1024 * 1024
_RETRY_DELAY_S_MAX = 1.0

_FIELD_BY_TYPE = {
    field.message_type.full_name: field.name
    for field in pb.PipelineCall.DESCRIPTOR.oneofs_by_name["request"].fields
    if field.message_type is not None
}


class _StreamBroken(Exception):
    """The stream ended before the answer came, for a reason that the caller is told if there is no other stream."""

    def __init__(self, reason: Unavailable) -> None:
        super().__init__(reason)
        self.reason = reason


class Pipeline:
    """The calls of one event loop to one server.

    The stream is opened with the first call. When it breaks, calls without an answer are sent again on a new one, which
    is safe: a read has no effect, and a mutation has its `request_id`. All wait for the same new stream, so that a
    server that is gone is asked for it about once a second, whatever the number of callers. Calls that the server
    itself says it cannot answer now are sent again as far as the budget goes. A server that does not know the pipeline
    gets each call by itself, with the methods of `unary`, by name.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        unary: Mapping[str, Any],
        target: str,
        budget: RetryBudget,
        credentials: Credentials,
        retry_for_s: float,
    ) -> None:
        self._channel = channel
        self._unary = unary
        self._is_unknown = False
        self._credentials = credentials
        self._stub: pipeline_pb2_grpc.PipelineServiceAsyncStub = pipeline_pb2_grpc.PipelineServiceStub(channel)
        self._target = target
        self._call_ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._unsent: list[pb.PipelineCall] = []
        self._has_unsent = asyncio.Event()
        self._stream: grpc.aio.StreamStreamCall[Any, Any] | None = None
        self._opening = asyncio.Lock()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._is_closed = False
        self._budget = budget
        self._retry_for_s = retry_for_s
        self._backoff = Backoff(_RETRY_DELAY_S_MAX)
        self._open_again_at = 0.0

    async def call(self, request: Any, timeout_s: float) -> Any:
        """Make a call and return its response.

        Raises:
            TurntreeError: The call's own error, or `Unavailable` when no server answered.
            DeadlineExceeded: No answer in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        last_try = deadline - TRY_S_MIN
        give_up: float | None = None
        backoff = Backoff(_RETRY_DELAY_S_MAX)
        may_be_renewed = self._credentials.is_fresh
        while True:
            await self._may_open(deadline)
            try:
                return await self._attempt(request, deadline)
            except TimeoutError as error:
                if isinstance(error, DeadlineExceeded):  # the server's own, which is a TimeoutError too
                    raise
                message = f"{self._target}: no answer in {timeout_s} s"
                raise DeadlineExceeded(ErrorReason.DEADLINE_EXCEEDED, message) from None
            except _StreamBroken as broken:
                give_up = give_up or min(last_try, loop.time() + self._retry_for_s)
                if self._is_closed or self._open_again_at >= give_up:
                    raise broken.reason from None
            except Unauthenticated:
                if not may_be_renewed or self._is_closed or loop.time() >= last_try:
                    raise
                may_be_renewed = False  # the stream is opened again with a fresh token, once
            except (Unavailable, ResourceExhausted) as error:
                give_up = give_up or min(last_try, loop.time() + self._retry_for_s)
                delay_s = wait_s(error, backoff.next_s())
                if delay_s is None or self._is_closed or loop.time() + delay_s >= give_up or not self._budget.spend():
                    raise
                await asyncio.sleep(delay_s)

    async def _may_open(self, deadline: float) -> None:
        """Wait until a stream that broke may be opened again, unless there is one, and until the deadline at most."""
        loop = asyncio.get_running_loop()
        while self._stream is None and (delay_s := min(self._open_again_at, deadline) - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(delay_s)

    async def _attempt(self, request: Any, deadline: float) -> Any:
        if self._is_unknown:
            return await self._attempt_alone(request, deadline)
        loop = asyncio.get_running_loop()
        call_id = next(self._call_ids)
        field = _FIELD_BY_TYPE[request.DESCRIPTOR.full_name]
        call = pb.PipelineCall(call_id=call_id, **{field: request})
        seconds, fraction = divmod(max(0.000_001, deadline - loop.time()), 1)
        call.timeout.seconds, call.timeout.nanos = int(seconds), int(fraction * 1e9)
        answer = self._waiting[call_id] = loop.create_future()
        timer = loop.call_at(deadline, _expire, answer)
        try:
            if self._stream is None:
                async with asyncio.timeout_at(deadline), self._opening:
                    if self._stream is None:  # one of those who wait asks for a token, and for the stream
                        self._open(await self._credentials.metadata())
            self._unsent.append(call)
            self._has_unsent.set()
            return getattr(await answer, field)
        finally:
            timer.cancel()
            self._waiting.pop(call_id, None)

    async def _attempt_alone(self, request: Any, deadline: float) -> Any:
        """Make a call that is not on a stream."""
        call = self._unary[request.DESCRIPTOR.name.removesuffix("Request")]
        async with asyncio.timeout_at(deadline):
            metadata = await self._credentials.metadata()
        try:
            return await call(request, timeout=deadline - asyncio.get_running_loop().time(), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self._target) from None
        except grpc.aio.UsageError:
            raise stopping() from None

    def _open(self, metadata: Metadata) -> None:
        if self._is_closed:
            raise stopping()
        try:
            self._stream = stream = self._stub.Pipeline(metadata=metadata)
        except grpc.aio.UsageError:
            self._is_closed = True
            raise stopping() from None
        sender = asyncio.create_task(self._send(stream))
        self._tasks = (sender, asyncio.create_task(self._receive(stream, sender)))

    async def _send(self, stream: grpc.aio.StreamStreamCall[Any, Any]) -> None:
        """Send what waits, all of it in one message as far as it fits, until the stream ends."""
        try:
            while True:
                await self._has_unsent.wait()
                if self._stream is not stream:
                    return
                if self._is_closed and not self._unsent:
                    await stream.done_writing()
                    return
                batch: list[pb.PipelineCall] = []
                size = 0
                while self._unsent and len(batch) < _CALLS_A_MESSAGE_MAX and size < _MESSAGE_BYTES_MAX:
                    call = self._unsent.pop(0)
                    size += call.ByteSize()
                    batch.append(call)
                if not self._unsent:
                    self._has_unsent.clear()
                await stream.write(pb.PipelineRequest(calls=batch))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the receiver knows why

    async def _receive(self, stream: Any, sender: asyncio.Task[None]) -> None:
        """Hand every reply to its caller, until the stream ends."""
        error: TurntreeError = Unavailable(ErrorReason.SERVER_STOPPING, f"{self._target}: the stream ended")
        try:
            while (response := await stream.read()) is not grpc.aio.EOF:
                self._backoff.reset()
                for position, reply in enumerate(response.replies, 1):
                    if position % _CALLS_AT_ONCE == 0:
                        await asyncio.sleep(0)  # who got an answer may go on before the last ones are handed out
                    self._budget.answered()
                    answer = self._waiting.get(reply.call_id)
                    if answer is None or answer.done():
                        continue
                    if reply.HasField("error"):
                        answer.set_exception(from_status_message(reply.error))
                    else:
                        answer.set_result(reply)
        except grpc.aio.AioRpcError as rpc_error:
            # When a stream ends during a write, gRPC may put an INTERNAL of its own in place of the status that came.
            # The next attempt learns the true one.
            if rpc_error.code() is grpc.StatusCode.UNIMPLEMENTED:
                self._is_unknown = True
            elif rpc_error.code() is not grpc.StatusCode.INTERNAL or rpc_error.trailing_metadata():
                error = from_rpc_error(rpc_error, self._target)
        finally:
            self._break(stream, error)
            # An event loop that closes cancels this task and waits for it. The stream must have ended by then, and
            # gRPC must have said of all that was sent that it was, which may come after the end of the stream.
            stream.cancel()
            await stream.code()
            if not stream.cancelled():
                await asyncio.wait({sender}, timeout=_SENT_S_MAX)
            # Of a stream that was cut, gRPC may leave who writes to it waiting for ever.
            if sender.cancel() or sender.cancelled() or stream.cancelled():
                await last_events(self._channel)

    def _break(self, stream: Any, error: TurntreeError) -> None:
        """Forget a stream that ended, and tell those who wait for answers from it."""
        if self._stream is not stream:
            return
        self._stream = None
        self._open_again_at = asyncio.get_running_loop().time() + self._backoff.next_s()
        self._unsent.clear()
        self._has_unsent.set()  # which the sender wakes up from, also when it is taken back at once
        self._has_unsent.clear()
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(_StreamBroken(error) if isinstance(error, Unavailable) else error)

    async def close(self) -> None:
        """Let the calls at work finish, then end the stream."""
        self._is_closed = True
        if self._waiting:
            await asyncio.wait(list(self._waiting.values()))
        if self._tasks:
            self._has_unsent.set()
            await asyncio.wait(self._tasks)


def _expire(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())
