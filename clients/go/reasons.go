package turntree

import "turntree/turntreepb"

// Reason is why a call was refused: a turntreepb.ErrorReason that [errors.Is] can look for.
type Reason turntreepb.ErrorReason

// Error is the name of the reason in the protos.
func (r Reason) Error() string {
	return turntreepb.ErrorReason(r).String()
}

// The reasons; the comments of turntreepb.ErrorReason say what each means, and which facts it has.
const (
	ReasonUnspecified         = Reason(turntreepb.ErrorReason_ERROR_REASON_UNSPECIFIED)
	ReasonFieldRequired       = Reason(turntreepb.ErrorReason_ERROR_REASON_FIELD_REQUIRED)
	ReasonFieldInvalid        = Reason(turntreepb.ErrorReason_ERROR_REASON_FIELD_INVALID)
	ReasonFieldTooLarge       = Reason(turntreepb.ErrorReason_ERROR_REASON_FIELD_TOO_LARGE)
	ReasonItemNotJSON         = Reason(turntreepb.ErrorReason_ERROR_REASON_ITEM_NOT_JSON)
	ReasonCursorInvalid       = Reason(turntreepb.ErrorReason_ERROR_REASON_CURSOR_INVALID)
	ReasonPageTokenInvalid    = Reason(turntreepb.ErrorReason_ERROR_REASON_PAGE_TOKEN_INVALID)
	ReasonSessionNotFound     = Reason(turntreepb.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	ReasonBranchNotFound      = Reason(turntreepb.ErrorReason_ERROR_REASON_BRANCH_NOT_FOUND)
	ReasonTurnNotFound        = Reason(turntreepb.ErrorReason_ERROR_REASON_TURN_NOT_FOUND)
	ReasonContentNotFound     = Reason(turntreepb.ErrorReason_ERROR_REASON_CONTENT_NOT_FOUND)
	ReasonBranchIDUsed        = Reason(turntreepb.ErrorReason_ERROR_REASON_BRANCH_ID_USED)
	ReasonBranchProtected     = Reason(turntreepb.ErrorReason_ERROR_REASON_BRANCH_PROTECTED)
	ReasonCursorMismatch      = Reason(turntreepb.ErrorReason_ERROR_REASON_CURSOR_MISMATCH)
	ReasonRequestIDReused     = Reason(turntreepb.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED)
	ReasonMessageTooLarge     = Reason(turntreepb.ErrorReason_ERROR_REASON_MESSAGE_TOO_LARGE)
	ReasonStoreBusy           = Reason(turntreepb.ErrorReason_ERROR_REASON_STORE_BUSY)
	ReasonServerStopping      = Reason(turntreepb.ErrorReason_ERROR_REASON_SERVER_STOPPING)
	ReasonStoreFailed         = Reason(turntreepb.ErrorReason_ERROR_REASON_STORE_FAILED)
	ReasonInternal            = Reason(turntreepb.ErrorReason_ERROR_REASON_INTERNAL)
	ReasonDeadlineExceeded    = Reason(turntreepb.ErrorReason_ERROR_REASON_DEADLINE_EXCEEDED)
	ReasonServerUnreachable   = Reason(turntreepb.ErrorReason_ERROR_REASON_SERVER_UNREACHABLE)
	ReasonCredentialRequired  = Reason(turntreepb.ErrorReason_ERROR_REASON_CREDENTIAL_REQUIRED)
	ReasonCredentialInvalid   = Reason(turntreepb.ErrorReason_ERROR_REASON_CREDENTIAL_INVALID)
	ReasonRoleInsufficient    = Reason(turntreepb.ErrorReason_ERROR_REASON_ROLE_INSUFFICIENT)
	ReasonNamespaceNotServed  = Reason(turntreepb.ErrorReason_ERROR_REASON_NAMESPACE_NOT_SERVED)
	ReasonRateExceeded        = Reason(turntreepb.ErrorReason_ERROR_REASON_RATE_EXCEEDED)
	ReasonConcurrencyExceeded = Reason(turntreepb.ErrorReason_ERROR_REASON_CONCURRENCY_EXCEEDED)
	ReasonOverloaded          = Reason(turntreepb.ErrorReason_ERROR_REASON_OVERLOADED)
	ReasonQuotaExceeded       = Reason(turntreepb.ErrorReason_ERROR_REASON_QUOTA_EXCEEDED)
	ReasonStoreFull           = Reason(turntreepb.ErrorReason_ERROR_REASON_STORE_FULL)
)
