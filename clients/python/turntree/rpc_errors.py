"""The errors of turntree as gRPC statuses and back."""

from __future__ import annotations

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
    ResourceExhausted,
    TurntreeError,
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
}


def to_status(error: TurntreeError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """The code, the message and the trailing metadata that carry an error to a client."""
    status = to_status_message(error)
    return CODE_BY_CLASS[type(error)], error.message, ((DETAILS_KEY, status.SerializeToString()),)


def to_status_message(error: TurntreeError) -> status_pb2.Status:
    """An error as a status with its `ErrorInfo`."""
    code = CODE_BY_CLASS[type(error)]
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.facts)
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=error.message)
    status.details.add().Pack(info)
    return status


def from_status_message(status: status_pb2.Status) -> TurntreeError:
    """The error in a status that a server sent."""
    info = _error_info(status)
    if info is None:
        return Internal(ErrorReason.INTERNAL, status.message)
    return _from_error_info(info, status.message)


def from_rpc_error(error: grpc.aio.AioRpcError, target: str) -> TurntreeError:
    """The error that a server sent, or the one that describes why there was no answer from it."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                info = _error_info(status_pb2.Status.FromString(value))
            except DecodeError:  # made or cut by something in between
                continue
            if info is not None:
                return _from_error_info(info, error.details() or "")
    reason = _REASON_BY_CODE.get(error.code(), ErrorReason.INTERNAL)
    facts = {"target": target} if reason is ErrorReason.SERVER_UNREACHABLE else {}
    message = f"{target}: {error.details() or error.code().name}"
    return CLASS_BY_REASON[reason](reason, message, **facts)


def _error_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo | None:
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            return info
    return None


def _from_error_info(info: error_details_pb2.ErrorInfo, message: str) -> TurntreeError:
    reason = ErrorReason(info.reason) if info.reason in set(ErrorReason) else ErrorReason.INTERNAL
    return CLASS_BY_REASON[reason](reason, message, **info.metadata)
