package turntree

import (
	"context"
	"errors"
	"io"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"turntree/turntreepb"
)

// StreamItems reads a branch of any length in parts of about 1 MiB, each with the cursor that resumes after it.
//
// When it is cut, it goes on by itself after the last part. Apply the parts in the order they come, as the comment of
// turntreepb.ItemsDelta says. An error is the last thing that comes.
func (c *Client) StreamItems(
	ctx context.Context, request *turntreepb.StreamItemsRequest,
) iter.Seq2[*turntreepb.StreamItemsResponse, error] {
	return resuming(ctx, c, c.sessions.StreamItems, func() reader[*turntreepb.StreamItemsRequest, *turntreepb.StreamItemsResponse] {
		return &itemsReader{next: proto.CloneOf(request), more: true}
	})
}

// StreamTurns reads the turns of a branch with all their items, oldest first.
//
// When it is cut, it goes on by itself with nothing twice and nothing left out. When that is not possible, because the
// turn that was last has changed meanwhile, it fails with what cut it, and is to be begun again.
func (c *Client) StreamTurns(
	ctx context.Context, request *turntreepb.StreamTurnsRequest,
) iter.Seq2[*turntreepb.StreamTurnsResponse, error] {
	return resuming(ctx, c, c.turns.StreamTurns, func() reader[*turntreepb.StreamTurnsRequest, *turntreepb.StreamTurnsResponse] {
		return &turnsReader{next: proto.CloneOf(request)}
	})
}

// Watch follows a branch: its state by cursor first, then a delta for every change.
//
// It never ends by itself. Once it has begun, it goes on whenever it is cut, however long the server is away, and reports
// no change twice. It fails when the server refuses it, and when its context ends or the client is closed.
func (c *Client) Watch(
	ctx context.Context, request *turntreepb.WatchRequest,
) iter.Seq2[*turntreepb.WatchResponse, error] {
	return resuming(ctx, c, c.sessions.Watch, func() reader[*turntreepb.WatchRequest, *turntreepb.WatchResponse] {
		return &watcher{next: proto.CloneOf(request)}
	})
}

// news is what a response is to the reader of a stream.
type news int

const (
	isNews   news = iota // it brings the reader on
	isStale              // it is the reader's, but brings it no further
	isKnown              // the reader has it already
	isBroken             // the stream cannot go on with it
)

// reader is what is known of a stream: enough to ask for the rest of it.
type reader[Request, Response any] interface {
	// request asks for what was not read yet.
	request() Request
	// take notes a response.
	take(response Response) news
	// resume notes that the stream was cut, and that what comes next is of a new one.
	resume()
	// isComplete tells whether all was read, even if the end of the stream did not come.
	isComplete() bool
	// isEndless tells whether the stream has no end.
	isEndless() bool
}

// resuming reads a stream to its end, and asks for the rest of it when it is cut.
func resuming[Request any, Response any](
	ctx context.Context,
	c *Client,
	open func(context.Context, Request, ...grpc.CallOption) (grpc.ServerStreamingClient[Response], error),
	begin func() reader[Request, *Response],
) iter.Seq2[*Response, error] {
	return func(yield func(*Response, error) bool) {
		reading := begin()
		retries := newRetries(c.life, c.budget, c.options.retryFor, streamDelayMax)
		var cut *Error
		for {
			lost, goesOn := readOnce(ctx, c, open, reading, retries, cut, yield)
			if !goesOn {
				return
			}
			renews := lost.Code == codes.Unauthenticated && c.options.isRenewed && retries.isFirst()
			if (lost.isRetryable() || renews) && reading.isComplete() {
				return
			}
			cut = lost
			if renews {
				lost = &Error{Code: codes.Unavailable}
			}
			if failure := retries.pause(ctx, lost); failure != nil {
				if renews {
					failure = cut
				}
				yield(nil, failure)
				return
			}
			reading.resume()
		}
	}
}

// readOnce reads one stream until it is cut, and returns why; or that there is no more to do.
func readOnce[Request any, Response any](
	ctx context.Context,
	c *Client,
	open func(context.Context, Request, ...grpc.CallOption) (grpc.ServerStreamingClient[Response], error),
	reading reader[Request, *Response],
	retries *retries,
	cut *Error,
	yield func(*Response, error) bool,
) (lost *Error, goesOn bool) {
	living, cancel := c.living(ctx)
	defer cancel()
	stream, err := open(living, reading.request())
	if err != nil {
		return c.failure(ctx, err), true
	}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if !reading.isEndless() {
				return nil, false
			}
			return ended(c.target), true
		}
		if err != nil {
			return c.failure(ctx, err), true
		}
		c.budget.answered()
		kind := reading.take(response)
		if kind == isBroken {
			yield(nil, cut)
			return nil, false
		}
		if kind != isStale {
			retries.succeeded()
			retries.endless = reading.isEndless()
		}
		if kind != isKnown && !yield(response, nil) {
			return nil, false
		}
	}
}

// ended is the error of a stream that ended although it never does.
func ended(target string) *Error {
	return &Error{Code: codes.Unavailable, Reason: ReasonServerStopping, Message: target + ": the stream ended"}
}
