"""The errors of turntree: one class for each canonical code, one reason for each cause, and the facts of the case.

Catch by class (`NotFound`), tell apart by `error.reason` (`ErrorReason.BRANCH_NOT_FOUND`), and read `error.facts`.
Every Store raises these and no others, whether it is embedded or behind a server.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class ErrorReason(StrEnum):
    """Why a call was refused; the values of `turntree.v1.ErrorReason`, where each is explained with its facts."""

    FIELD_REQUIRED = "ERROR_REASON_FIELD_REQUIRED"
    FIELD_INVALID = "ERROR_REASON_FIELD_INVALID"
    FIELD_TOO_LARGE = "ERROR_REASON_FIELD_TOO_LARGE"
    ITEM_NOT_JSON = "ERROR_REASON_ITEM_NOT_JSON"
    CURSOR_INVALID = "ERROR_REASON_CURSOR_INVALID"
    PAGE_TOKEN_INVALID = "ERROR_REASON_PAGE_TOKEN_INVALID"  # noqa: S105 - not a secret
    SESSION_NOT_FOUND = "ERROR_REASON_SESSION_NOT_FOUND"
    BRANCH_NOT_FOUND = "ERROR_REASON_BRANCH_NOT_FOUND"
    TURN_NOT_FOUND = "ERROR_REASON_TURN_NOT_FOUND"
    CONTENT_NOT_FOUND = "ERROR_REASON_CONTENT_NOT_FOUND"
    BRANCH_ID_USED = "ERROR_REASON_BRANCH_ID_USED"
    BRANCH_PROTECTED = "ERROR_REASON_BRANCH_PROTECTED"
    CURSOR_MISMATCH = "ERROR_REASON_CURSOR_MISMATCH"
    REQUEST_ID_REUSED = "ERROR_REASON_REQUEST_ID_REUSED"
    MESSAGE_TOO_LARGE = "ERROR_REASON_MESSAGE_TOO_LARGE"
    STORE_BUSY = "ERROR_REASON_STORE_BUSY"
    SERVER_STOPPING = "ERROR_REASON_SERVER_STOPPING"
    STORE_FAILED = "ERROR_REASON_STORE_FAILED"
    INTERNAL = "ERROR_REASON_INTERNAL"
    DEADLINE_EXCEEDED = "ERROR_REASON_DEADLINE_EXCEEDED"
    SERVER_UNREACHABLE = "ERROR_REASON_SERVER_UNREACHABLE"
    CREDENTIAL_REQUIRED = "ERROR_REASON_CREDENTIAL_REQUIRED"
    CREDENTIAL_INVALID = "ERROR_REASON_CREDENTIAL_INVALID"
    ROLE_INSUFFICIENT = "ERROR_REASON_ROLE_INSUFFICIENT"
    NAMESPACE_NOT_SERVED = "ERROR_REASON_NAMESPACE_NOT_SERVED"
    RATE_EXCEEDED = "ERROR_REASON_RATE_EXCEEDED"
    CONCURRENCY_EXCEEDED = "ERROR_REASON_CONCURRENCY_EXCEEDED"
    OVERLOADED = "ERROR_REASON_OVERLOADED"
    QUOTA_EXCEEDED = "ERROR_REASON_QUOTA_EXCEEDED"
    STORE_FULL = "ERROR_REASON_STORE_FULL"


class TurntreeError(Exception):
    """The root of all errors of turntree.

    Attributes:
        reason: The cause.
        message: One sentence for people.
        facts: What the cause is about, such as `field`, `value` and `limit`; all text.
        retry_after_s: How long to wait before a retry, in seconds, where the server says so.
    """

    reasons: ClassVar[frozenset[ErrorReason]] = frozenset()
    retry_after_s: float | None = None

    def __init__(self, reason: ErrorReason, message: str, **facts: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.facts = {name: str(fact) for name, fact in facts.items()}


class InvalidArgument(TurntreeError, ValueError):
    """The request is wrong in itself; nothing was done, and a repeat fails the same way."""

    reasons = frozenset(
        {
            ErrorReason.FIELD_REQUIRED,
            ErrorReason.FIELD_INVALID,
            ErrorReason.FIELD_TOO_LARGE,
            ErrorReason.ITEM_NOT_JSON,
            ErrorReason.CURSOR_INVALID,
            ErrorReason.PAGE_TOKEN_INVALID,
        }
    )


class NotFound(TurntreeError, LookupError):
    """What the request names does not exist; nothing was done."""

    reasons = frozenset(
        {
            ErrorReason.SESSION_NOT_FOUND,
            ErrorReason.BRANCH_NOT_FOUND,
            ErrorReason.TURN_NOT_FOUND,
            ErrorReason.CONTENT_NOT_FOUND,
        }
    )


class AlreadyExists(TurntreeError):
    """What the request would make exists, or did; nothing was done."""

    reasons = frozenset({ErrorReason.BRANCH_ID_USED})


class FailedPrecondition(TurntreeError):
    """The store is not in a state for this request; nothing was done."""

    reasons = frozenset({ErrorReason.BRANCH_PROTECTED, ErrorReason.REQUEST_ID_REUSED})


class Conflict(TurntreeError):
    """Somebody else wrote first; nothing was done. Read again, then decide."""

    reasons = frozenset({ErrorReason.CURSOR_MISMATCH})


class Unauthenticated(TurntreeError):
    """The server asks for a credential, and this is none, or no longer one; nothing was done."""

    reasons = frozenset({ErrorReason.CREDENTIAL_REQUIRED, ErrorReason.CREDENTIAL_INVALID})


class PermissionDenied(TurntreeError):
    """The credential may not do this; nothing was done."""

    reasons = frozenset({ErrorReason.ROLE_INSUFFICIENT, ErrorReason.NAMESPACE_NOT_SERVED})


class ResourceExhausted(TurntreeError):
    """A limit was passed; nothing was done. With `retry_after_s` it passes by itself, and a retry is safe."""

    reasons = frozenset(
        {
            ErrorReason.MESSAGE_TOO_LARGE,
            ErrorReason.RATE_EXCEEDED,
            ErrorReason.CONCURRENCY_EXCEEDED,
            ErrorReason.OVERLOADED,
            ErrorReason.QUOTA_EXCEEDED,
            ErrorReason.STORE_FULL,
        }
    )


class Unavailable(TurntreeError):
    """The store cannot answer now. A retry is safe: a read has no effect, and a mutation has one `request_id`."""

    reasons = frozenset(
        {
            ErrorReason.STORE_BUSY,
            ErrorReason.SERVER_STOPPING,
            ErrorReason.STORE_FAILED,
            ErrorReason.SERVER_UNREACHABLE,
        }
    )


class DeadlineExceeded(TurntreeError, TimeoutError):
    """No answer in time; a mutation may have happened, and is safe to retry with the same `request_id`."""

    reasons = frozenset({ErrorReason.DEADLINE_EXCEEDED})


class Internal(TurntreeError):
    """A fault in turntree itself."""

    reasons = frozenset({ErrorReason.INTERNAL})


CLASSES: tuple[type[TurntreeError], ...] = (
    InvalidArgument,
    NotFound,
    AlreadyExists,
    FailedPrecondition,
    Conflict,
    Unauthenticated,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
    DeadlineExceeded,
    Internal,
)

CLASS_BY_REASON: dict[ErrorReason, type[TurntreeError]] = {
    reason: error_class for error_class in CLASSES for reason in error_class.reasons
}


def stopping() -> Unavailable:
    """The error of a call to a store that was closed, or to a server on its way out."""
    return Unavailable(ErrorReason.SERVER_STOPPING, "the store is closed")


def exhausted(reason: ErrorReason, limit: str, *, retry_after_s: float | None = None) -> ResourceExhausted:
    """The error of a call that a limit stops; with `retry_after_s` the limit is one of load, and passes."""
    wait = f"; retry after {retry_after_s:.3g} s" if retry_after_s is not None else ""
    error = ResourceExhausted(reason, f"the limit is {limit}{wait}", limit=limit)
    error.retry_after_s = retry_after_s
    return error
