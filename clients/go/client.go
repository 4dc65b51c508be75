package turntree

import (
	"context"
	"errors"
	"math"
	"os"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"turntree/turntreepb"
)

const (
	version        = "0.1.0"
	timeoutDefault = 30 * time.Second

	// A connection that died without a word is noticed within twelve seconds, also by a watch that only listens. gRPC
	// pings no more often than that.
	pingEvery   = 10 * time.Second
	pingTimeout = 2 * time.Second
	// connectTimeout is how long one try to connect may take.
	connectTimeout = 5 * time.Second
)

// Client is a connection to a turntree server. It may be used by several goroutines at once.
//
// It has one method for each call of the server. On every call:
//
//   - A mutation without a request_id gets one, so that its retries have one effect.
//   - A server that is unavailable is tried again for 8 seconds, with growing and random waits and within a budget of
//     retries over all calls; and a server that asks to wait is asked again after that time.
//   - A context without a deadline gets one of 30 seconds. Streams get none.
//   - A call that is cancelled happens whole or not at all.
//   - It shares one stream with the others, and goes alone when it is large or has metadata of its own.
//
// Every method fails with an [*Error]. Beyond the reasons that the call lists, its codes are InvalidArgument when a field
// breaks its rule, with the facts field, value and limit; Unauthenticated and PermissionDenied when the server asks for
// another credential; Unavailable when no server answered, or the client was closed, and DeadlineExceeded when none did in
// time: a mutation may have happened then, and is safe to repeat with the same request_id; ResourceExhausted when a limit
// of the server was reached; Internal for a fault in turntree itself.
type Client struct {
	options  options
	target   string
	budget   *budget
	life     context.Context
	end      context.CancelFunc
	conn     *grpc.ClientConn
	pipeline *pipeline
	sessions turntreepb.SessionServiceClient
	branches turntreepb.BranchServiceClient
	turns    turntreepb.TurnServiceClient
	usage    turntreepb.UsageServiceClient
}

type options struct {
	token     TokenSource
	isRenewed bool // whether the next try shows another token
	timeout   time.Duration
	retryFor  time.Duration
}

// Option changes how a client works.
type Option func(*options) error

// WithToken sets the credential. Without one, the environment's TURNTREE_TOKEN is used, if there is one.
func WithToken(token string) Option {
	return func(o *options) error {
		o.token, o.isRenewed = func(context.Context) (string, error) { return token, nil }, false
		return checkToken(token)
	}
}

// WithTokenSource sets a function that gives the credential. When it fails, the call fails with Unauthenticated.
func WithTokenSource(source TokenSource) Option {
	return func(o *options) error {
		o.token, o.isRenewed = source, true
		return nil
	}
}

// WithTimeout sets how long a call may take, its retries included, when its context says nothing; 30 seconds by default.
// More than 0.
func WithTimeout(timeout time.Duration) Option {
	return func(o *options) error {
		o.timeout = timeout
		if timeout <= 0 {
			return invalid("timeout", timeout.String(), "more than 0")
		}
		return nil
	}
}

// WithRetryFor sets how long a call, or a stream, that finds the server unavailable is tried again; 8 seconds by default.
// 0 for never.
func WithRetryFor(retryFor time.Duration) Option {
	return func(o *options) error {
		o.retryFor = retryFor
		if retryFor < 0 {
			return invalid("retryFor", retryFor.String(), "0 or more")
		}
		return nil
	}
}

// New makes a client of the server at an address: host:port, turntree://host:port, or with TLS
// turntrees://host:port?ca_file=…&cert_file=…&key_file=…. It connects with the first call.
//
// It fails with InvalidArgument and ReasonFieldInvalid when the address is none, one of its files cannot be read, an
// option is out of its range, or a token would be sent to another machine without TLS.
func New(url string, opts ...Option) (*Client, error) {
	where, err := parseAddress(url)
	if err != nil {
		return nil, err
	}
	chosen := options{timeout: timeoutDefault, retryFor: retryForDefault}
	for _, option := range opts {
		if err := option(&chosen); err != nil {
			return nil, err
		}
	}
	if token := os.Getenv(tokenVariable); token != "" && chosen.token == nil {
		if err := WithToken(token)(&chosen); err != nil {
			return nil, err
		}
	}
	chosen.token = chosen.token.within(chosen.timeout)
	if chosen.token != nil && !where.isPrivate() {
		return nil, invalid(urlField, url, "turntrees://… where there is a token, except on this machine itself")
	}
	secure, err := where.credentials()
	if err != nil {
		return nil, err
	}
	c := &Client{options: chosen, target: where.target, budget: newBudget()}
	c.conn, err = grpc.NewClient(where.target,
		grpc.WithTransportCredentials(secure),
		grpc.WithUserAgent("turntree-go/"+version),
		grpc.WithUnaryInterceptor(c.unary),
		grpc.WithStreamInterceptor(c.stream),
		grpc.WithDisableServiceConfig(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: delayMin, Multiplier: 2, Jitter: 0.5, MaxDelay: callDelayMax},
			MinConnectTimeout: connectTimeout,
		}),
		// The server has its own limits, and says what they are.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
	)
	if err != nil {
		return nil, invalid(urlField, url, urlForms)
	}
	c.life, c.end = context.WithCancel(context.Background())
	c.pipeline = newPipeline(c.life, c.conn, c.target)
	c.sessions = turntreepb.NewSessionServiceClient(c.conn)
	c.branches = turntreepb.NewBranchServiceClient(c.conn)
	c.turns = turntreepb.NewTurnServiceClient(c.conn)
	c.usage = turntreepb.NewUsageServiceClient(c.conn)
	return c, nil
}

// Close ends the connection, and every call and stream on it.
func (c *Client) Close() error {
	c.end()
	return c.conn.Close()
}

// Session gives a handle for one session, which keeps the current branch.
func (c *Client) Session(sessionID string) *Session {
	return &Session{client: c, id: sessionID, branch: &turntreepb.BranchPointer{BranchId: Main}}
}

// unary is the one way that every unary call goes.
func (c *Client) unary(
	ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	opts ...grpc.CallOption,
) error {
	if _, ok := ctx.Deadline(); !ok {
		bounded, cancel := context.WithTimeout(ctx, c.options.timeout)
		defer cancel()
		ctx = bounded
	}
	message := named(request.(proto.Message))
	retries := newRetries(c.life, c.budget, c.options.retryFor, callDelayMax)
	mayRenew := c.options.isRenewed
	for {
		failure := c.attempt(ctx, func() error {
			if err := c.pipeline.call(ctx, message, reply.(proto.Message)); !errors.Is(err, errAlone) {
				return err
			}
			living, cancel := c.living(ctx)
			defer cancel()
			ready, err := authorized(living, c.options.token)
			if err != nil {
				return err
			}
			return invoke(ready, method, message, reply, conn, opts...)
		})
		if failure == nil {
			return nil
		}
		if mayRenew && failure.Code == codes.Unauthenticated && !failure.again.IsZero() && hasTime(ctx, time.Now()) {
			mayRenew = false
			continue // on a stream that is opened with a fresh token
		}
		if failure = retries.pause(ctx, failure); failure != nil {
			return failure
		}
	}
}

// stream opens a stream, once; resuming asks again.
func (c *Client) stream(
	ctx context.Context, description *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer,
	opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	ctx, err := authorized(ctx, c.options.token)
	if err != nil {
		return nil, err
	}
	return open(ctx, description, conn, method, opts...)
}

// attempt asks once, and notes whether the server answered.
func (c *Client) attempt(ctx context.Context, ask func() error) *Error {
	err := ask()
	if err == nil {
		c.budget.answered()
		return nil
	}
	return c.failure(ctx, err)
}

// failure says in the words of turntree what went wrong.
func (c *Client) failure(ctx context.Context, err error) *Error {
	failure := fromRPC(ctx, err, c.target)
	if failure.isAnswered {
		c.budget.answered()
	} else if c.life.Err() != nil && ctx.Err() == nil {
		return closed()
	}
	return failure
}

// living is a context that ends with the client, too.
func (c *Client) living(ctx context.Context) (context.Context, context.CancelFunc) {
	living, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.life, cancel)
	return living, func() { stop(); cancel() }
}

// named gives a mutation without a name one of its own, and leaves the caller's message as it is.
func named(request proto.Message) proto.Message {
	message := request.ProtoReflect()
	field := message.Descriptor().Fields().ByName("request_id")
	if field == nil || message.Get(field).String() != "" {
		return request
	}
	shallow := message.New()
	copyFields(shallow, message)
	shallow.Set(field, protoreflect.ValueOfString(uuid.Must(uuid.NewV7()).String()))
	return shallow.Interface()
}

// copyFields gives an empty message what another one holds, without a copy of it.
func copyFields(to, from protoreflect.Message) {
	from.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		to.Set(field, value)
		return true
	})
	to.SetUnknown(from.GetUnknown())
}
