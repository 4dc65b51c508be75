package turntree

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"turntree/turntreepb"
)

const (
	domain        = "turntree"
	valueRunesMax = 64
	// deadlineSlack is how far apart two clocks of the same deadline may fire.
	deadlineSlack = 20 * time.Millisecond
)

// Error is why a call failed.
//
// Code says what to do and Reason why; the comments of turntreepb.ErrorReason say which facts each reason has. Neither
// message nor facts hold the content of items. Find it with [errors.As], and ask for a reason with
//
//	errors.Is(err, turntree.ReasonBranchNotFound)
//
// When the context of the call ended, errors.Is also finds context.Canceled or context.DeadlineExceeded.
type Error struct {
	// Code is the canonical code of gRPC.
	Code codes.Code
	// Reason is the cause; ReasonUnspecified when a newer server gives one that this client does not know, and for a call
	// that its caller cancelled.
	Reason Reason
	// Facts is what the cause is about, such as field, value and limit.
	Facts map[string]string
	// Message is one sentence for people.
	Message string
	// RetryAfter is how long the server asks to wait before a retry; 0 where it does not.
	RetryAfter time.Duration

	cause      error
	isAnswered bool      // whether the server itself said so of this call, with its reason and facts
	again      time.Time // when the stream that ended under the call may be opened again; zero when none did
}

// Error is the message with the reason.
func (e *Error) Error() string {
	return fmt.Sprintf("%s (%s)", e.Message, e.Reason)
}

// Is tells whether the target is the error's reason.
func (e *Error) Is(target error) bool {
	reason, ok := target.(Reason)
	return ok && reason == e.Reason
}

// Unwrap gives what the error comes from, such as context.Canceled.
func (e *Error) Unwrap() error {
	return e.cause
}

func (e *Error) isRetryable() bool {
	return e.Code == codes.Unavailable || e.RetryAfter > 0
}

// invalid is the error of a value that the client cannot take.
func invalid(field, value, limit string) *Error {
	if runes := []rune(value); len(runes) > valueRunesMax {
		value = string(runes[:valueRunesMax])
	}
	return &Error{
		Code:    codes.InvalidArgument,
		Reason:  ReasonFieldInvalid,
		Facts:   map[string]string{"field": field, "value": value, "limit": limit},
		Message: fmt.Sprintf("%s is '%s', and must be %s", field, value, limit),
	}
}

// stopped is the error of a call whose context has ended.
func stopped(ctx context.Context) *Error {
	cause := ctx.Err()
	if errors.Is(cause, context.Canceled) {
		return &Error{Code: codes.Canceled, Message: "the caller cancelled the call", cause: context.Canceled}
	}
	return &Error{
		Code:    codes.DeadlineExceeded,
		Reason:  ReasonDeadlineExceeded,
		Message: "no answer in time",
		cause:   context.DeadlineExceeded,
	}
}

// closed is the error of what is still asked of a client that was closed.
func closed() *Error {
	return &Error{Code: codes.Unavailable, Reason: ReasonServerStopping, Message: "the client is closed"}
}

// fromRPC is the error that a server sent, or the one that describes why there was no answer from it.
func fromRPC(ctx context.Context, err error, target string) *Error {
	var lost *streamLost
	if errors.As(err, &lost) {
		failure := *fromRPC(context.Background(), lost.cause, target)
		failure.isAnswered, failure.again = false, lost.again
		return &failure
	}
	var own *Error
	if errors.As(err, &own) { // of the token's source, or of the client itself
		return own
	}
	sent := status.Convert(err)
	if failure := fromStatus(sent); failure != nil {
		return failure
	}
	if ctx.Err() != nil {
		return stopped(ctx)
	}
	failure := &Error{Code: sent.Code(), Message: target + ": " + sent.Message()}
	// The two ends of a call have clocks of their own, and the server's is told as a call that was cancelled.
	deadline, ok := ctx.Deadline()
	if sent.Code() == codes.DeadlineExceeded || ok && time.Until(deadline) < deadlineSlack {
		failure.Code, failure.Reason, failure.cause = codes.DeadlineExceeded, ReasonDeadlineExceeded, context.DeadlineExceeded
		return failure
	}
	switch sent.Code() {
	case codes.Unavailable, codes.Internal, codes.Unknown, codes.Canceled:
		// A server of turntree says the last three with its ErrorInfo or never. Without one they are gRPC's own words for
		// a stream that was reset, or that ended while something was read or written.
		failure.Code, failure.Reason = codes.Unavailable, ReasonServerUnreachable
		failure.Facts = map[string]string{"target": target}
	case codes.ResourceExhausted:
		failure.Reason = ReasonMessageTooLarge
	case codes.Unauthenticated:
		failure.Reason = ReasonCredentialInvalid
	default:
		failure.Reason = ReasonInternal
	}
	return failure
}

// fromStatus is the error that a server of turntree put into a status; nil when there is none in it.
func fromStatus(sent *status.Status) *Error {
	var failure *Error
	var retryAfter time.Duration
	for _, detail := range sent.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.Domain == domain {
				failure = &Error{
					Code:       sent.Code(),
					Reason:     Reason(turntreepb.ErrorReason_value[detail.Reason]),
					Facts:      detail.Metadata,
					Message:    sent.Message(),
					isAnswered: true,
				}
			}
		case *errdetails.RetryInfo:
			retryAfter = detail.RetryDelay.AsDuration()
		}
	}
	if failure != nil {
		failure.RetryAfter = retryAfter
		if failure.Code == codes.DeadlineExceeded {
			failure.cause = context.DeadlineExceeded
		}
	}
	return failure
}
