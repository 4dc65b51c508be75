package turntree_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"turntree"
	"turntree/internal/testserver"
	"turntree/turntreepb"
)

const (
	sessionID = "conversation_123"
	// patience is longer than a server takes to start on a busy machine.
	patience = time.Minute
	short    = 300 * time.Millisecond
)

// serving starts a server, and a client that waits for it as long as it may take to start again.
func serving(t *testing.T) (*testserver.Server, *turntree.Client) {
	t.Helper()
	server := testserver.Start(t)
	return server, connected(t, server.Address, turntree.WithRetryFor(patience), turntree.WithTimeout(patience))
}

func connected(t *testing.T, address string, options ...turntree.Option) *turntree.Client {
	t.Helper()
	client := must(turntree.New(address, options...))(t)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// must gives a value, and ends the test when there is an error instead.
func must[Value any](value Value, err error) func(*testing.T) Value {
	return func(t *testing.T) Value {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func equal(t *testing.T, actual, expected any) {
	t.Helper()
	if !reflect.DeepEqual(actual, expected) {
		t.Fatalf("is %v, and must be %v", actual, expected)
	}
}

// failed gives the typed error, which must have this code and reason.
func failed(t *testing.T, err error, code codes.Code, reason turntree.Reason) *turntree.Error {
	t.Helper()
	var failure *turntree.Error
	if !errors.As(err, &failure) {
		t.Fatalf("the error is %#v", err)
	}
	if failure.Code != code || failure.Reason != reason || !errors.Is(err, reason) {
		t.Fatalf("the error is %v: %v", failure.Code, failure)
	}
	return failure
}

func user(text string) []byte      { return message("user", text) }
func assistant(text string) []byte { return message("assistant", text) }

func message(role, text string) []byte {
	item, err := json.Marshal(map[string]string{"role": role, "content": text})
	if err != nil {
		panic(err)
	}
	return item
}

func adding(items ...[]byte) *turntreepb.AddItemsRequest {
	return &turntreepb.AddItemsRequest{SessionId: sessionID, Items: items}
}

// allItems reads the session from begin to end.
func allItems(t *testing.T, client *turntree.Client) [][]byte {
	t.Helper()
	return must(client.Session(sessionID).Items(t.Context()))(t)
}
