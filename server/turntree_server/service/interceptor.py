"""The outermost layer of every call: errors become statuses, and nothing else leaves the server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio
from turntree.errors import DeadlineExceeded, ErrorReason, Internal, InvalidArgument, TurntreeError
from turntree.rpc_errors import to_status

from turntree_server import failpoints

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


class Malformed:
    """Stands for a request that is not a message of its type."""

    def refuse(self) -> NoReturn:
        """Raise what its sender is to be told."""
        limit = "a message of the request's type, with text in UTF-8"
        raise InvalidArgument(
            ErrorReason.FIELD_INVALID, f"the request is not {limit}", field="request", value="", limit=limit
        )


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Maps the errors of turntree to gRPC statuses with `ErrorInfo`, and any other to INTERNAL without its text.

    Cancellation passes through: a stream that swallowed it would leak.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler: Any = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith("/turntree."):
            return handler
        read = _tolerant(handler.request_deserializer)
        write = handler.response_serializer
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(_guarded_call(handler.stream_stream), read, write)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(_guarded_stream(handler.unary_stream), read, write)
        return grpc.unary_unary_rpc_method_handler(_guarded_call(handler.unary_unary), read, write)


def _tolerant(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read_or_mark(data: bytes) -> Any:
        try:
            return read(data)
        except Exception:  # whatever the parser raises, the request is at fault
            return Malformed()

    return read_or_mark


def _guarded_call(handler: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
    async def call(request: Any, context: Context) -> Any:
        try:
            if isinstance(request, Malformed):
                request.refuse()
            response = await handler(request, context)
            if failpoints.ON:
                failpoints.hit("unary.end")
            return response
        except Exception as error:
            await _abort(context, error)

    return call


def _guarded_stream(
    handler: Callable[[Any, Context], AsyncIterator[Any]],
) -> Callable[[Any, Context], AsyncIterator[Any]]:
    async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            if isinstance(request, Malformed):
                request.refuse()
            async for response in handler(request, context):
                if failpoints.ON:
                    failpoints.hit("stream.message")
                yield response
        except Exception as error:
            await _abort(context, error)

    return stream


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
