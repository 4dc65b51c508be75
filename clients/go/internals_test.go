package turntree

import (
	"context"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"turntree/turntreepb"
)

func sent(t *testing.T, code codes.Code, domain, reason string) error {
	t.Helper()
	with, err := status.New(code, "slow down").WithDetails(
		&errdetails.ErrorInfo{Domain: domain, Reason: reason, Metadata: map[string]string{"limit": "1"}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
	)
	if err != nil {
		t.Fatal(err)
	}
	return with.Err()
}

// A server's error keeps its code, reason, facts, message and the time to wait; a reason of a newer server keeps the rest.
func TestErrorsOfTheServer(t *testing.T) {
	for name, reason := range map[string]Reason{
		"ERROR_REASON_RATE_EXCEEDED": ReasonRateExceeded, "ERROR_REASON_OF_TOMORROW": ReasonUnspecified,
	} {
		failure := fromRPC(t.Context(), sent(t, codes.ResourceExhausted, "turntree", name), "h:1")
		expected := &Error{
			Code: codes.ResourceExhausted, Reason: reason, Facts: map[string]string{"limit": "1"}, Message: "slow down",
			RetryAfter: 1500 * time.Millisecond, isAnswered: true,
		}
		if !reflect.DeepEqual(failure, expected) {
			t.Errorf("%#v", failure)
		}
	}
}

// What gRPC says of a connection that broke is a server that could not be reached, and is retried; the rest is not.
func TestErrorsOfGRPC(t *testing.T) {
	for _, code := range []codes.Code{codes.Unavailable, codes.Internal, codes.Unknown, codes.Canceled} {
		for _, err := range []error{status.Error(code, "cut"), sent(t, code, "elsewhere", "ERROR_REASON_INTERNAL")} {
			failure := fromRPC(t.Context(), err, "h:1")
			if !errors.Is(failure, ReasonServerUnreachable) || failure.Facts["target"] != "h:1" || !failure.isRetryable() {
				t.Errorf("%v: %v", code, failure)
			}
		}
	}
	for code, reason := range map[codes.Code]Reason{
		codes.ResourceExhausted: ReasonMessageTooLarge, codes.Unimplemented: ReasonInternal,
		codes.Unauthenticated: ReasonCredentialInvalid, codes.DeadlineExceeded: ReasonDeadlineExceeded,
	} {
		failure := fromRPC(t.Context(), status.Error(code, "no"), "h:1")
		if failure.Code != code || failure.Reason != reason || failure.isRetryable() {
			t.Errorf("%v: %v", code, failure)
		}
	}
	if failure := fromRPC(t.Context(), sent(t, codes.Internal, "turntree", "ERROR_REASON_INTERNAL"), "h:1"); failure.Code != codes.Internal {
		t.Errorf("%v", failure)
	}
}

// Every reason of the protos has a name in Go, and a value in an error is cut after 64 characters.
func TestReasons(t *testing.T) {
	source, err := os.ReadFile("reasons.go")
	if err != nil {
		t.Fatal(err)
	}
	for name, number := range turntreepb.ErrorReason_value {
		if !strings.Contains(string(source), "Reason(turntreepb.ErrorReason_"+name+")\n") || Reason(number).Error() != name {
			t.Errorf("%s has no name", name)
		}
	}
	if value := invalid("url", strings.Repeat("ü", 100), "short").Facts["value"]; value != strings.Repeat("ü", 64) {
		t.Errorf("%s", value)
	}
}

func unavailable() *Error { return &Error{Code: codes.Unavailable} }

// tries counts the retries until there are no more, and the time that they take.
func tries(ctx context.Context, retries *retries) (count int, elapsed time.Duration) {
	begin := time.Now()
	for retries.pause(ctx, unavailable()) == nil {
		count++
	}
	return count, time.Since(begin)
}

// Tries go on for the time that is set and no longer, with waits that grow; a success gives all the time again.
func TestRetriesForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retries := newRetries(t.Context(), newBudget(), 8*time.Second, callDelayMax)
		for range 2 {
			count, elapsed := tries(t.Context(), retries)
			if count < 8 || count > 20 || elapsed < 6*time.Second || elapsed >= 8*time.Second {
				t.Errorf("%d tries in %v", count, elapsed)
			}
			time.Sleep(2 * time.Second)
			if retries.pause(t.Context(), unavailable()) == nil {
				t.Error("it goes on")
			}
			retries.succeeded()
		}
	})
}

// No try begins in the last tenth of a second before the deadline, and one is made before that; a wait ends with the
// context.
func TestRetriesWithinTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, elapsed := tries(ctx, newRetries(t.Context(), newBudget(), 8*time.Second, callDelayMax))
			cancel()
			if elapsed > 900*time.Millisecond {
				t.Errorf("%v", elapsed)
			}
		}
		for wait, isTried := range map[time.Duration]bool{899 * time.Millisecond: true, 901 * time.Millisecond: false} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			lost := &Error{Code: codes.Unavailable, again: time.Now().Add(wait)} // with its stream
			failure := newRetries(t.Context(), newBudget(), 8*time.Second, callDelayMax).pause(ctx, lost)
			cancel()
			if isTried && failure != nil || !isTried && failure != lost {
				t.Errorf("after %v: %v", wait, failure)
			}
		}
		cancelled, stop := context.WithCancel(t.Context())
		stop()
		failure := newRetries(t.Context(), newBudget(), 8*time.Second, callDelayMax).pause(cancelled, unavailable())
		if !errors.Is(failure, context.Canceled) {
			t.Errorf("%v", failure)
		}
	})
}

// A wait ends when the client is closed, and there is no other try.
func TestRetriesOfAClosedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, end := context.WithCancel(t.Context())
		retries := newRetries(life, newBudget(), 8*time.Second, callDelayMax)
		begin := time.Now()
		time.AfterFunc(2*time.Second, end)
		limited := &Error{Code: codes.ResourceExhausted, RetryAfter: 4 * time.Second}
		if failure := retries.pause(t.Context(), limited); !errors.Is(failure, ReasonServerStopping) {
			t.Errorf("%v", failure)
		}
		if elapsed := time.Since(begin); elapsed != 2*time.Second {
			t.Errorf("%v", elapsed)
		}
	})
}

// All calls together make no more retries than the budget has; answers and seconds give some back.
func TestRetriesWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := newBudget()
		spend := func() (count int) {
			for budget.spend() {
				count++
			}
			return count
		}
		counts := []int{spend()}
		for range 11 {
			budget.answered()
		}
		counts = append(counts, spend())
		time.Sleep(1001 * time.Millisecond)
		counts = append(counts, spend())
		if !reflect.DeepEqual(counts, []int{100, 1, 1}) {
			t.Errorf("%v", counts)
		}
		endless := newRetries(t.Context(), budget, 0, streamDelayMax)
		endless.endless = true
		if failure := endless.pause(t.Context(), unavailable()); failure != nil {
			t.Errorf("%v", failure)
		}
	})
}

// A wait is at least as long as the server asks for, and what is not to be retried is not.
func TestRetriesAsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retries := newRetries(t.Context(), newBudget(), 8*time.Second, callDelayMax)
		if retries.pause(t.Context(), &Error{Code: codes.ResourceExhausted}) == nil {
			t.Error("it is retried")
		}
		begin := time.Now()
		limited := &Error{Code: codes.ResourceExhausted, RetryAfter: 3 * time.Second}
		if failure := retries.pause(t.Context(), limited); failure != nil {
			t.Fatal(failure)
		}
		if elapsed := time.Since(begin); elapsed < 3*time.Second || elapsed > 4500*time.Millisecond {
			t.Errorf("%v", elapsed)
		}
	})
}
