package turntree_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"turntree"
	"turntree/internal/testserver"
	"turntree/turntreepb"
)

// Close fails the calls at work and those that come later at once, and leaves no goroutine behind.
func TestClose(t *testing.T) {
	arrived := make(chan struct{}, 1)
	fake := startPipeline(t, func(stream pipelineStream) error {
		_, _ = stream.Recv()
		arrived <- struct{}{}
		<-stream.Context().Done()
		return nil
	})
	client := must(turntree.New(fake.address, turntree.WithTimeout(patience), turntree.WithRetryFor(patience)))(t)
	failure := make(chan error)
	go func() {
		_, err := client.AddItems(t.Context(), adding(user("a")))
		failure <- err
	}()
	<-arrived
	begin := time.Now()
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	closed(t, <-failure)
	_, err := client.AddItems(t.Context(), adding(user("b")))
	closed(t, err)
	if elapsed := time.Since(begin); elapsed > patience/2 {
		t.Errorf("it took %v", elapsed)
	}
	noneAtWork(t)
}

// closed checks that the error is what the caller of a closed client is told.
func closed(t *testing.T, err error) {
	t.Helper()
	equal(t, failed(t, err, codes.Unavailable, turntree.ReasonServerStopping).Message, "the client is closed")
}

// last gives the last error of a stream.
func last[Response any](stream iter.Seq2[Response, error]) (err error) {
	for _, err = range stream {
	}
	return err
}

// lasts reads each kind of stream to its end, at the same time, and gives what they end with.
func lasts(t *testing.T, client *turntree.Client) <-chan error {
	errs := make(chan error, 3)
	go func() { errs <- last(client.Session(sessionID).Watch(t.Context())) }()
	go func() { errs <- last(client.Session(sessionID).StreamTurns(t.Context())) }()
	go func() {
		errs <- last(client.StreamItems(t.Context(), &turntreepb.StreamItemsRequest{SessionId: sessionID}))
	}()
	return errs
}

// soon waits for an error for much less than a retry takes.
func soon(t *testing.T, errs <-chan error) error {
	t.Helper()
	select {
	case err := <-errs:
		return err
	case <-time.After(patience / 4):
		t.Fatal("it goes on")
		return nil
	}
}

// A watch that waits for changes ends when its client is closed; calls and streams that come later fail at once.
func TestCloseEndsStreams(t *testing.T) {
	server := testserver.Start(t)
	client := connected(t, server.Address, turntree.WithRetryFor(patience))
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for _, err := range client.Session(sessionID).Watch(t.Context()) {
			if err != nil {
				ended <- err
				return
			}
			close(began)
		}
	}()
	<-began
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	closed(t, soon(t, ended))
	streams := lasts(t, client)
	for range 3 {
		closed(t, soon(t, streams))
	}
	_, err := client.GetSession(t.Context(), &turntreepb.GetSessionRequest{SessionId: sessionID})
	closed(t, err)
	noneAtWork(t)
}

// Calls and streams that wait for a server that is away, or for their token, end when their client is closed.
func TestCloseEndsWaits(t *testing.T) {
	server := testserver.Start(t)
	server.Kill()
	asked := make(chan struct{}, 5)
	hanging := func(ctx context.Context) (string, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return "", ctx.Err()
	}
	patiently := []turntree.Option{turntree.WithRetryFor(patience), turntree.WithTimeout(patience)}
	for _, options := range [][]turntree.Option{patiently, append(patiently, turntree.WithTokenSource(hanging))} {
		client := connected(t, server.Address, options...)
		calls := make(chan error, 2)
		streams := lasts(t, client)
		for _, ctx := range []context.Context{t.Context(), metadata.AppendToOutgoingContext(t.Context(), "goes", "alone")} {
			go func() {
				_, err := client.GetSession(ctx, &turntreepb.GetSessionRequest{SessionId: sessionID})
				calls <- err
			}()
		}
		if len(options) > len(patiently) {
			for range 5 {
				<-asked
			}
		} else {
			<-time.After(short) // while they find that the server is away
		}
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			closed(t, soon(t, streams))
		}
		for range 2 {
			closed(t, soon(t, calls))
		}
		noneAtWork(t)
	}
}
