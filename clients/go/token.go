package turntree

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

const tokenVariable = "TURNTREE_TOKEN"

// TokenSource gives a fresh token. It is asked for each stream that is opened, the one that the calls share included,
// and for each call that goes alone; and may be asked at the same time from several goroutines. Its context ends after
// the time that a call may take.
type TokenSource func(ctx context.Context) (string, error)

// within is the same source with a bound on its time, which a stream itself does not have.
func (s TokenSource) within(timeout time.Duration) TokenSource {
	if s == nil {
		return nil
	}
	return func(ctx context.Context) (string, error) {
		bounded, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return s(bounded)
	}
}

// authorized adds the credential to the metadata of a call.
func authorized(ctx context.Context, source TokenSource) (context.Context, error) {
	if source == nil {
		return ctx, nil
	}
	token, err := source(ctx)
	if err != nil {
		return nil, &Error{
			Code:    codes.Unauthenticated,
			Reason:  ReasonCredentialRequired,
			Message: fmt.Sprintf("no token: %v", err),
			cause:   err,
		}
	}
	if err := checkToken(token); err != nil {
		return nil, err
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), nil
}

// checkToken refuses what cannot be sent, without showing it.
func checkToken(token string) error {
	for _, letter := range []byte(token) {
		if letter <= ' ' || letter > '~' {
			return invalid("token", "(hidden)", "visible ASCII")
		}
	}
	if token == "" {
		return invalid("token", "(hidden)", "not empty")
	}
	return nil
}
