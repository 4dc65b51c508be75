"""The outermost layer of every call: a gate on the way in, statuses for errors on the way out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio
from turntree.errors import DeadlineExceeded, ErrorReason, Internal, InvalidArgument, TurntreeError
from turntree.limits import MESSAGE_FIELDS_MAX
from turntree.rpc_errors import to_status

from turntree_server import failpoints
from turntree_server.service.gate import Gate, caller_of_call
from turntree_server.service.parts import Shape, has_more_fields
from turntree_server.service.room import Rooms

log = logging.getLogger(__name__)

_OPEN = "/grpc.health."
_FIRST_MESSAGE_S = 1.0

Context = grpc.aio.ServicerContext[Any, Any]


class Malformed:
    """Stands for a request that is not a message of its type."""

    def refuse(self) -> NoReturn:
        """Raise what its sender is to be told."""
        limit = "a message of the request's type, with text in UTF-8"
        raise InvalidArgument(
            ErrorReason.FIELD_INVALID, f"the request is not {limit}", field="request", value="", limit=limit
        )


class Crowded(Malformed):
    """Stands for a request of too many fields, which was not read."""

    def refuse(self) -> NoReturn:
        """Raise what its sender is to be told."""
        limit = f"{MESSAGE_FIELDS_MAX} fields"
        raise InvalidArgument(
            ErrorReason.FIELD_TOO_LARGE,
            f"the request has more than {limit}, which is the limit",
            field="request",
            value=f"more than {limit}",
            limit=limit,
        )


class Interceptor(grpc.aio.ServerInterceptor):
    """Leads every call through the gate, and maps errors on the way out.

    Errors of turntree become gRPC statuses with `ErrorInfo`, and any other becomes INTERNAL without its text. Health is
    open to all. Cancellation passes through: a stream that swallowed it would leak.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._rooms = Rooms()
        self._handlers: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        method = handler_call_details.method
        led = self._handlers.get(method)
        if led is None:
            handler: Any = await continuation(handler_call_details)
            if handler is None or method.startswith(_OPEN):
                return handler
            led = self._handlers[method] = self._led(method.rpartition("/")[2], handler)
        try:
            await self._gate.identify(handler_call_details.invocation_metadata)
        except Exception as error:
            return _refusing(error, waits=led.request_streaming)
        return led

    def _led(self, name: str, handler: Any) -> Any:
        """A handler whose calls are led through the gate.

        The caller is known before gRPC takes any of a message. A request is taken as bytes, and read when its sender
        was let in: a message may take fifty times its bytes.
        """
        read = _tolerant(handler.request_deserializer)
        write = handler.response_serializer
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(self._stream_of_calls(handler.stream_stream), read, write)
        if handler.response_streaming:
            stream = self._stream(name, handler.unary_stream, read)
            return grpc.unary_stream_rpc_method_handler(stream, None, _unless_bytes(write))
        return grpc.unary_unary_rpc_method_handler(self._call(name, handler.unary_unary, read), None, write)

    def _call(self, name: str, handler: Callable[[Any, Context], Awaitable[Any]], read: Callable[[bytes], Any]) -> Any:
        async def call(message: bytes, context: Context) -> Any:
            try:
                caller = self._gate.still(caller_of_call())  # the message may have taken long
                room = self._rooms.of(context.peer(), caller)
                async with self._gate.call(caller, name):
                    request = well_formed(read(message))

                    async def answer() -> Any:
                        self._gate.still(caller)  # it may have waited for room
                        return await handler(request, context)

                    response, is_large = await room.carry_out(request, answer)
                if is_large:
                    context.add_done_callback(lambda _: room.taken())  # type: ignore[arg-type]  # the stub wants a class
                if failpoints.ON:
                    failpoints.hit("unary.end")
                return response
            except Exception as error:
                await _abort(context, error)

        return call

    def _stream(
        self, name: str, handler: Callable[[Any, Context], AsyncGenerator[Any, None]], read: Callable[[bytes], Any]
    ) -> Any:
        async def stream(message: bytes, context: Context) -> None:
            try:
                caller = self._gate.still(caller_of_call())  # the message may have taken long
                async with self._gate.call(caller, name):
                    request = well_formed(read(message))
                    await _begin(context)
                    async with self._gate.while_valid(caller):
                        await _send(handler(request, context), context)
            except Exception as error:
                await _abort(context, error)

        return stream

    def _stream_of_calls(self, handler: Callable[[Any, Context], Any]) -> Any:
        async def stream(requests: Any, context: Context) -> None:
            try:
                caller = caller_of_call()
                await _begin(context)
                answer: Any = handler(_all_well_formed(requests), context)
                if hasattr(answer, "__aiter__"):
                    async with self._gate.while_valid(caller):
                        await _send(answer, context)
                else:  # the pipeline, which looks again for each of its calls
                    await answer
            except Exception as error:
                await _abort(context, error)

        return stream


def well_formed(request: Any) -> Any:
    """A request that came in; one that is not what it should be is refused.

    Raises:
        InvalidArgument: FIELD_INVALID or FIELD_TOO_LARGE, of `request`.
    """
    if isinstance(request, Malformed):
        request.refuse()
    return request


def _refusing(error: Exception, *, waits: bool) -> Any:
    """A handler of a call whose caller is not let in. As a stream it takes no message of its own accord."""

    async def refuse(_: Any, context: Context) -> None:
        if waits:
            await _first_message(context)
        await _abort(context, error)

    return grpc.stream_stream_rpc_method_handler(refuse)


async def _begin(context: Context) -> None:
    """Send what precedes the first message: gRPC can tell no status after a first write that was cut within it."""
    await context.send_initial_metadata(())


async def _first_message(context: Context) -> None:
    """Let a client end its first write before it is refused: gRPC in Python does not tell the status to who writes."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(context.read(), _FIRST_MESSAGE_S)


async def _all_well_formed(requests: AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    async for request in requests:
        yield well_formed(request)


async def _send(responses: AsyncGenerator[Any, None], context: Context) -> None:
    async with contextlib.aclosing(responses):
        async for response in responses:
            if failpoints.ON:
                failpoints.hit("stream.message")
            await context.write(response)


def _tolerant(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    message_type: Any = read.__self__  # type: ignore[attr-defined]  # it is the FromString of a type
    shape = Shape.of(message_type.DESCRIPTOR)

    def read_or_mark(data: bytes) -> Any:
        if has_more_fields(data, shape, MESSAGE_FIELDS_MAX):
            return Crowded()
        try:
            return read(data)
        except Exception:  # whatever the parser raises, the request is at fault
            return Malformed()

    return read_or_mark


def _unless_bytes(write: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def serialized(response: Any) -> bytes:
        return response if isinstance(response, bytes) else write(response)

    return serialized


async def _abort(context: Context, error: Exception) -> NoReturn:
    code, message, metadata = to_status(to_turntree_error(error))
    await context.abort(code, message, metadata)
    raise AssertionError("abort does not return")


def to_turntree_error(error: Exception) -> TurntreeError:
    """The error that a client may see: itself, or INTERNAL without its text, which goes to the log."""
    if isinstance(error, TurntreeError):
        return error
    if isinstance(error, TimeoutError):
        return DeadlineExceeded(ErrorReason.DEADLINE_EXCEEDED, "no answer in time")
    log.error("a call failed", exc_info=error)
    return Internal(ErrorReason.INTERNAL, "internal error")
