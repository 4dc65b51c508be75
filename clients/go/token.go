package turntree

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

const tokenVariable = "TURNTREE_TOKEN"

// TokenSource gives a fresh token. It is asked for each call and each retry, and may be asked at the same time from
// several goroutines.
type TokenSource func(ctx context.Context) (string, error)

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
