"""The errors of turntree as gRPC statuses and back."""

from __future__ import annotations

from datetime import timedelta

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from turntree.errors import (
    CLASS_BY_REASON,
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    ErrorReason,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    TurntreeError,
    Unauthenticated,
    Unavailable,
)

DOMAIN = "turntree"
DETAILS_KEY = "grpc-status-details-bin"

CODE_BY_CLASS: dict[type[TurntreeError], grpc.StatusCode] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    Conflict: grpc.StatusCode.ABORTED,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    Internal: grpc.StatusCode.INTERNAL,
}

_REASON_BY_CODE = {
    grpc.StatusCode.DEADLINE_EXCEEDED: ErrorReason.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ErrorReason.MESSAGE_TOO_LARGE,
    grpc.StatusCode.UNAVAILABLE: ErrorReason.SERVER_UNREACHABLE,
    # A server of turntree says these with its ErrorInfo or never. Without one they are gRPC's own words for a stream
    # that was reset, that ended while something was read or written, or that a server on its way out did not take.
    grpc.StatusCode.INTERNAL: ErrorReason.SERVER_UNREACHABLE,
    grpc.StatusCode.UNKNOWN: ErrorReason.SERVER_UNREACHABLE,
    grpc.StatusCode.CANCELLED: ErrorReason.SERVER_UNREACHABLE,
    grpc.StatusCode.UNAUTHENTICATED: ErrorReason.CREDENTIAL_INVALID,
}


def to_status(error: TurntreeError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """The code, the message and the trailing metadata that carry an error to a client."""
    status = to_status_message(error)
    return CODE_BY_CLASS[type(error)], error.message, ((DETAILS_KEY, status.SerializeToString()),)


def to_status_message(error: TurntreeError) -> status_pb2.Status:
    """An error as a status with its `ErrorInfo`, and with `RetryInfo` when a retry is worth while."""
    code = CODE_BY_CLASS[type(error)]
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.facts)
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=error.message)
    status.details.add().Pack(info)
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(timedelta(seconds=error.retry_after_s))
        status.details.add().Pack(retry)
    return status


def from_status_message(status: status_pb2.Status) -> TurntreeError:
    """The error in a status that a server sent."""
    return _from_details(status, status.message) or Internal(ErrorReason.INTERNAL, status.message)


def from_rpc_error(error: grpc.aio.AioRpcError, target: str) -> TurntreeError:
    """The error that a server sent, or the one that describes why there was no answer from it."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:  # made or cut by something in between
                continue
            if (sent := _from_details(status, error.details() or "")) is not None:
                return sent
    reason = _REASON_BY_CODE.get(error.code(), ErrorReason.INTERNAL)
    facts = {"target": target} if reason is ErrorReason.SERVER_UNREACHABLE else {}
    message = f"{target}: {error.details() or error.code().name}"
    return CLASS_BY_REASON[reason](reason, message, **facts)


def _from_details(status: status_pb2.Status, message: str) -> TurntreeError | None:
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    error = None
    retry_after_s = None
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            reason = ErrorReason(info.reason) if info.reason in set(ErrorReason) else ErrorReason.INTERNAL
            error = CLASS_BY_REASON[reason](reason, message, **info.metadata)
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    if error is not None:
        error.retry_after_s = retry_after_s
    return error
