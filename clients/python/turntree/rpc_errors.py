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
}


def to_status(error: TurntreeError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """The code, the message and the trailing metadata that carry an error to a client."""
    code = CODE_BY_CLASS[type(error)]
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.facts)
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=error.message)
    status.details.add().Pack(info)
    return code, error.message, ((DETAILS_KEY, status.SerializeToString()),)


def from_rpc_error(error: grpc.aio.AioRpcError, target: str) -> TurntreeError:
    """The error that a server sent, or the one that describes why there was no answer from it."""
    info = _error_info(error)
    if info is not None:
        reason = ErrorReason(info.reason) if info.reason in set(ErrorReason) else ErrorReason.INTERNAL
        return CLASS_BY_REASON[reason](reason, error.details() or reason, **info.metadata)
    reason = _REASON_BY_CODE.get(error.code(), ErrorReason.INTERNAL)
    facts = {"target": target} if reason is ErrorReason.SERVER_UNREACHABLE else {}
    message = f"{target}: {error.details() or error.code().name}"
    return CLASS_BY_REASON[reason](reason, message, **facts)


def _error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo | None:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            try:
                status = status_pb2.Status.FromString(value if isinstance(value, bytes) else value.encode())
            except DecodeError:  # made or cut by something in between
                return None
            for detail in status.details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info) and info.domain == DOMAIN:
                    return info
    return None
