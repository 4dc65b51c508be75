package turntree_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"turntree"
	"turntree/internal/testserver"
	"turntree/turntreepb"
)

type (
	pipelineStream = grpc.BidiStreamingServer[turntreepb.PipelineRequest, turntreepb.PipelineResponse]
	pipelineCall   = turntreepb.PipelineCall
	pipelineReply  = turntreepb.PipelineReply
)

// fakePipeline is a server with nothing but the pipeline; the stream i is served by streams[i], later ones by the last.
type fakePipeline struct {
	turntreepb.UnimplementedPipelineServiceServer
	address string
	opened  atomic.Int64
	streams []func(pipelineStream) error
}

func startPipeline(t *testing.T, streams ...func(pipelineStream) error) *fakePipeline {
	t.Helper()
	fake := &fakePipeline{streams: streams}
	fake.address = startServing(t, func(server *grpc.Server) { turntreepb.RegisterPipelineServiceServer(server, fake) })
	return fake
}

func startServing(t *testing.T, register func(*grpc.Server)) (address string) {
	t.Helper()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	server := grpc.NewServer()
	register(server)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func (f *fakePipeline) Pipeline(stream pipelineStream) error {
	number := int(f.opened.Add(1)) - 1
	return f.streams[min(number, len(f.streams)-1)](stream)
}

// answering serves a stream: each call is answered by what reply gives.
func answering(reply func(*pipelineCall) *pipelineReply) func(pipelineStream) error {
	return func(stream pipelineStream) error {
		for {
			request, err := stream.Recv()
			if err != nil {
				return err
			}
			response := &turntreepb.PipelineResponse{}
			for _, call := range request.Calls {
				response.Replies = append(response.Replies, reply(call))
			}
			if err := stream.Send(response); err != nil {
				return err
			}
		}
	}
}

// added is the answer to a write.
func added(call *pipelineCall) *pipelineReply {
	response := &turntreepb.AddItemsResponse{Turn: int64(len(call.GetAddItems().GetItems()))}
	return &pipelineReply{CallId: call.CallId, Response: &turntreepb.PipelineReply_AddItems{AddItems: response}}
}

// refused is a status of turntree's.
func refused(code codes.Code, reason turntree.Reason, retryAfter time.Duration) *status.Status {
	with, err := status.New(code, "refused").WithDetails(
		&errdetails.ErrorInfo{Domain: "turntree", Reason: reason.Error(), Metadata: map[string]string{"limit": "1"}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)},
	)
	if err != nil {
		panic(err)
	}
	return with
}

func refusing(sent *status.Status) func(*pipelineCall) *pipelineReply {
	return func(call *pipelineCall) *pipelineReply {
		return &pipelineReply{CallId: call.CallId, Response: &turntreepb.PipelineReply_Error{Error: sent.Proto()}}
	}
}

// addAtOnce writes from so many goroutines, and gives the errors.
func addAtOnce(t *testing.T, client *turntree.Client, count int) []error {
	t.Helper()
	errs := make([]error, count)
	var callers sync.WaitGroup
	for number := range count {
		callers.Go(func() { _, errs[number] = client.AddItems(t.Context(), adding(user(fmt.Sprint(number)))) })
	}
	callers.Wait()
	return errs
}

// Calls that wait are sent together on one stream, at most 64 and 4 MiB in a message, and each gets its own answer.
func TestCallsShareMessages(t *testing.T) {
	var messages, largest atomic.Int64
	fake := startPipeline(t, func(stream pipelineStream) error {
		for {
			request, err := stream.Recv()
			if err != nil {
				return err
			}
			size := 0
			for _, call := range request.Calls {
				size += len(call.GetAddItems().Items[0])
			}
			if len(request.Calls) > 64 || size > 4<<20 {
				return status.Errorf(codes.InvalidArgument, "%d calls of %d bytes", len(request.Calls), size)
			}
			messages.Add(1)
			largest.Store(max(largest.Load(), int64(len(request.Calls))))
			response := &turntreepb.PipelineResponse{}
			for _, call := range slices.Backward(request.Calls) { // in another order
				response.Replies = append(response.Replies, &pipelineReply{
					CallId: call.CallId,
					Response: &turntreepb.PipelineReply_AddItems{
						AddItems: &turntreepb.AddItemsResponse{Turn: int64(len(call.GetAddItems().Items[0]))},
					},
				})
			}
			if err := stream.Send(response); err != nil {
				return err
			}
		}
	})
	source := func(context.Context) (string, error) {
		<-time.After(short) // while the calls come in
		return "token", nil
	}
	client := connected(t, fake.address, turntree.WithTokenSource(source))
	var callers sync.WaitGroup
	const large, small = 12, 200
	for number := range large + small {
		callers.Go(func() {
			text := strings.Repeat("x", number)
			if number < large {
				text = strings.Repeat("x", 900_000+number)
			}
			response, err := client.AddItems(t.Context(), adding(user(text)))
			if err != nil || response.Turn != int64(len(user(text))) {
				t.Errorf("%v: %v", response, err)
			}
		})
	}
	callers.Wait()
	equal(t, fake.opened.Load(), int64(1))
	if messages.Load() > (large+small)/4 || largest.Load() < 16 {
		t.Errorf("%d messages, of %d calls at most", messages.Load(), largest.Load())
	}
}

// Callers whose replies came together send their next calls together.
func TestCallersStayTogether(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that chance has no part in who runs when
	var messages atomic.Int64
	fake := startPipeline(t, func(stream pipelineStream) error {
		for {
			request, err := stream.Recv()
			if err != nil {
				return err
			}
			messages.Add(1)
			response := &turntreepb.PipelineResponse{}
			for _, call := range request.Calls {
				response.Replies = append(response.Replies, added(call))
			}
			if err := stream.Send(response); err != nil {
				return err
			}
		}
	})
	client := connected(t, fake.address)
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			for range 20 {
				if _, err := client.AddItems(t.Context(), adding(user("a"))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if messages.Load() > 24 {
		t.Errorf("%d messages of 400 calls", messages.Load())
	}
}

// The status in a reply is the call's error, with code, reason, facts and the time to wait, and others on the stream go on.
func TestErrorsInReplies(t *testing.T) {
	fake := startPipeline(t, answering(refusing(refused(codes.Aborted, turntree.ReasonCursorMismatch, 0))))
	client := connected(t, fake.address)
	for range 2 {
		_, err := client.AddItems(t.Context(), adding(user("a")))
		equal(t, failed(t, err, codes.Aborted, turntree.ReasonCursorMismatch).Facts, map[string]string{"limit": "1"})
	}
	equal(t, fake.opened.Load(), int64(1))
	fake = startPipeline(t, answering(refusing(refused(codes.ResourceExhausted, turntree.ReasonRateExceeded, patience))))
	_, err := connected(t, fake.address).AddItems(t.Context(), adding(user("a")))
	equal(t, failed(t, err, codes.ResourceExhausted, turntree.ReasonRateExceeded).RetryAfter, patience)
	fake = startPipeline(t, answering(refusing(refused(codes.DeadlineExceeded, turntree.ReasonDeadlineExceeded, 0))))
	_, err = connected(t, fake.address).AddItems(t.Context(), adding(user("a")))
	failed(t, err, codes.DeadlineExceeded, turntree.ReasonDeadlineExceeded)
	equal(t, errors.Is(err, context.DeadlineExceeded), true)
}

// What the server cannot answer now is asked again on the same stream under the same name, as far as the budget goes.
func TestRefusedRepliesAreRetried(t *testing.T) {
	var calls atomic.Int64
	var names sync.Map
	unavailable := refusing(refused(codes.Unavailable, turntree.ReasonOverloaded, 0))
	fake := startPipeline(t, answering(func(call *pipelineCall) *pipelineReply {
		names.Store(call.GetAddItems().RequestId, true)
		if calls.Add(1) == 1 {
			return unavailable(call)
		}
		return added(call)
	}))
	must(connected(t, fake.address).AddItems(t.Context(), adding(user("a"))))(t)
	equal(t, []int64{calls.Load(), fake.opened.Load()}, []int64{2, 1})
	count := 0
	names.Range(func(any, any) bool { count++; return true })
	equal(t, count, 1)

	calls.Store(0)
	fake = startPipeline(t, answering(func(call *pipelineCall) *pipelineReply {
		calls.Add(1)
		return unavailable(call)
	}))
	for _, err := range addAtOnce(t, connected(t, fake.address), 200) {
		failed(t, err, codes.Unavailable, turntree.ReasonOverloaded)
	}
	if asked := calls.Load(); asked < 290 || asked > 360 {
		t.Errorf("the server was asked %d times", asked)
	}
}

// When a stream breaks, all calls without an answer are sent again on one new stream, under the names that they had. No
// budget bounds how many they are.
func TestBrokenStream(t *testing.T) {
	const callers = 150
	var first, second sync.Map
	var received atomic.Int64
	fake := startPipeline(t,
		func(stream pipelineStream) error {
			for received.Load() < callers {
				request, err := stream.Recv()
				if err != nil {
					return err
				}
				for _, call := range request.Calls {
					received.Add(1)
					first.Store(call.GetAddItems().RequestId, string(call.GetAddItems().Items[0]))
				}
			}
			return refused(codes.Unavailable, turntree.ReasonServerStopping, 0).Err()
		},
		answering(func(call *pipelineCall) *pipelineReply {
			second.Store(call.GetAddItems().RequestId, string(call.GetAddItems().Items[0]))
			return added(call)
		}),
	)
	for _, err := range addAtOnce(t, connected(t, fake.address), callers) {
		if err != nil {
			t.Fatal(err)
		}
	}
	equal(t, fake.opened.Load(), int64(2))
	count := 0
	second.Range(func(name, item any) bool {
		before, _ := first.Load(name)
		equal(t, item, before)
		count++
		return true
	})
	equal(t, count, callers)
}

// A server that ends every stream is asked for one about once a second, however many callers there are; they fail with
// what ended it, when their time is over, and nothing is left of the streams.
func TestBrokenStreamsAreNoStorm(t *testing.T) {
	fake := startPipeline(t, func(pipelineStream) error {
		return refused(codes.Unavailable, turntree.ReasonServerStopping, 0).Err()
	})
	begin := time.Now()
	client := connected(t, fake.address, turntree.WithRetryFor(3*time.Second))
	for _, err := range addAtOnce(t, client, 100) {
		failed(t, err, codes.Unavailable, turntree.ReasonServerStopping)
	}
	if opened, elapsed := fake.opened.Load(), time.Since(begin); opened < 3 || opened > 10 || elapsed < 2*time.Second {
		t.Errorf("%d streams in %v", opened, elapsed)
	}
	noneAtWork(t)
}

// Calls that happened before their answers were cut off happen once, whoever shares the stream with them.
func TestCutPipelineHasOneEffect(t *testing.T) {
	server, reader := serving(t)
	proxy := testserver.StartProxy(t, server.Address, 300, 700, 1500, 3000)
	for _, err := range addAtOnce(t, connected(t, proxy.Address, turntree.WithRetryFor(patience)), 64) {
		if err != nil {
			t.Fatal(err)
		}
	}
	items := allItems(t, reader)
	slices.SortFunc(items, slices.Compare)
	equal(t, []int{len(items), len(slices.CompactFunc(items, slices.Equal))}, []int{64, 64})
}

// A caller gets its deadline or cancellation at once while it waits for an answer; the server is told the time that was
// left, and an answer that comes late is nobody's.
func TestCallersWhoLeave(t *testing.T) {
	held := make(chan *pipelineCall, 3)
	fake := startPipeline(t, func(stream pipelineStream) error {
		for {
			request, err := stream.Recv()
			if err != nil {
				return err
			}
			for _, call := range request.Calls {
				if string(call.GetAddItems().Items[0]) != string(user("answer")) {
					held <- call
					continue
				}
				response := &turntreepb.PipelineResponse{}
				for len(held) > 0 {
					response.Replies = append(response.Replies, added(<-held))
				}
				response.Replies = append(response.Replies, added(call))
				if err := stream.Send(response); err != nil {
					return err
				}
			}
		}
	})
	const timeout = 2 * time.Second
	hasty := connected(t, fake.address, turntree.WithTimeout(timeout))
	must(hasty.AddItems(t.Context(), adding(user("answer"))))(t)
	begin := time.Now()
	_, err := hasty.AddItems(t.Context(), adding(user("late")))
	failed(t, err, codes.DeadlineExceeded, turntree.ReasonDeadlineExceeded)
	equal(t, errors.Is(err, context.DeadlineExceeded), true)
	if told := (<-held).Timeout.AsDuration(); told > timeout || told <= 0 || time.Since(begin) > patience/2 {
		t.Errorf("the server was told %v, and it took %v", told, time.Since(begin))
	}

	client := connected(t, fake.address, turntree.WithTimeout(patience))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(short, cancel)
	_, err = client.AddItems(ctx, adding(user("cancelled")))
	failed(t, err, codes.Canceled, turntree.ReasonUnspecified)
	equal(t, errors.Is(err, context.Canceled), true)
	equal(t, must(client.AddItems(t.Context(), adding(user("answer"))))(t).Turn, int64(1))
	equal(t, fake.opened.Load(), int64(2)) // one for each client
}

// A call whose caller left before it was sent is not sent.
func TestCallersWhoLeaveBeforeTheyAreSent(t *testing.T) {
	begin, opening := make(chan struct{}), make(chan struct{}, 10)
	source := func(ctx context.Context) (string, error) {
		opening <- struct{}{}
		<-begin
		return "token", nil
	}
	var sent atomic.Int64
	fake := startPipeline(t, answering(func(call *pipelineCall) *pipelineReply {
		sent.Add(1)
		return added(call)
	}))
	client := connected(t, fake.address, turntree.WithTokenSource(source))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(short, cancel)
	_, err := client.AddItems(ctx, adding(user("never")))
	failed(t, err, codes.Canceled, turntree.ReasonUnspecified)
	close(begin)
	must(client.AddItems(t.Context(), adding(user("sent"))))(t)
	equal(t, []int64{sent.Load(), int64(len(opening))}, []int64{1, 1})
}

// When the server ends the stream because its credential is over, the calls go on with a fresh token; a call that is
// refused with a fresh one too fails, and so does one whose token cannot be another.
func TestExpiredToken(t *testing.T) {
	var asked atomic.Int64
	source := func(context.Context) (string, error) { return fmt.Sprint("token-", asked.Add(1)), nil }
	expired := refused(codes.Unauthenticated, turntree.ReasonCredentialInvalid, 0).Err()
	var tokens sync.Map
	welcome := func(stream pipelineStream) error {
		arriving, _ := metadata.FromIncomingContext(stream.Context())
		tokens.Store(arriving.Get("authorization")[0], true)
		return answering(added)(stream)
	}
	fake := startPipeline(t, func(stream pipelineStream) error {
		if request, err := stream.Recv(); err != nil || stream.Send(&turntreepb.PipelineResponse{
			Replies: []*pipelineReply{added(request.Calls[0])},
		}) != nil {
			return err
		}
		_, _ = stream.Recv()
		return expired
	}, welcome)
	client := connected(t, fake.address, turntree.WithTokenSource(source))
	for range 3 {
		must(client.AddItems(t.Context(), adding(user("a"))))(t)
	}
	_, isFresh := tokens.Load("Bearer token-2")
	equal(t, []any{isFresh, asked.Load(), fake.opened.Load()}, []any{true, int64(2), int64(2)})

	for options, opened := range map[*turntree.Option]int64{
		new(turntree.WithTokenSource(source)): 2, new(turntree.WithToken("fixed")): 1,
	} {
		fake = startPipeline(t, func(pipelineStream) error { return expired })
		_, err := connected(t, fake.address, *options).AddItems(t.Context(), adding(user("a")))
		failed(t, err, codes.Unauthenticated, turntree.ReasonCredentialInvalid)
		equal(t, fake.opened.Load(), opened)
	}
}

// A call that loses its stream so late that no other try has time fails with that, and not at its deadline.
func TestNoTimeForAnotherStream(t *testing.T) {
	const timeout = 2 * time.Second
	lost := refused(codes.Unavailable, turntree.ReasonStoreFailed, timeout-100*time.Millisecond).Err()
	fake := startPipeline(t, func(pipelineStream) error { return lost }, func(stream pipelineStream) error {
		<-stream.Context().Done()
		return nil
	})
	_, err := connected(t, fake.address, turntree.WithTimeout(timeout)).AddItems(t.Context(), adding(user("a")))
	failed(t, err, codes.Unavailable, turntree.ReasonStoreFailed)
	equal(t, fake.opened.Load(), int64(1))
}

// A source of tokens that hangs is given up after the time of a call, and asked again by the next one.
func TestHangingTokenSource(t *testing.T) {
	var asked atomic.Int64
	source := func(ctx context.Context) (string, error) {
		if asked.Add(1) == 1 {
			<-ctx.Done()
			return "", ctx.Err()
		}
		return "token", nil
	}
	fake := startPipeline(t, answering(added))
	client := connected(t, fake.address, turntree.WithTokenSource(source), turntree.WithTimeout(short))
	if _, err := client.AddItems(t.Context(), adding(user("a"))); err == nil {
		t.Fatal("there was no token")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(client.AddItems(ctx, adding(user("a"))))(t)
}

// unarySessions answers writes as unary calls.
type unarySessions struct {
	turntreepb.UnimplementedSessionServiceServer
	metadata atomic.Value
	calls    atomic.Int64
}

func (s *unarySessions) AddItems(
	ctx context.Context, request *turntreepb.AddItemsRequest,
) (*turntreepb.AddItemsResponse, error) {
	arriving, _ := metadata.FromIncomingContext(ctx)
	s.metadata.Store(arriving)
	s.calls.Add(1)
	return &turntreepb.AddItemsResponse{Turn: int64(len(request.Items))}, nil
}

// A server that does not know the pipeline is asked for it once, and its calls are unary, with their credential.
func TestServerWithoutPipeline(t *testing.T) {
	var others atomic.Int64
	sessions := &unarySessions{}
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		others.Add(1)
		return status.Error(codes.Unimplemented, "unknown service")
	}))
	turntreepb.RegisterSessionServiceServer(server, sessions)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	client := connected(t, listener.Addr().String(), turntree.WithToken("secret"))
	for range 2 {
		for _, err := range addAtOnce(t, client, 10) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	equal(t, []int64{sessions.calls.Load(), others.Load()}, []int64{20, 1})
	equal(t, sessions.metadata.Load().(metadata.MD).Get("authorization"), []string{"Bearer secret"})
}

// A large request goes alone, so that nobody waits behind it, and so does one with metadata of its caller's.
func TestCallsThatGoAlone(t *testing.T) {
	sessions := &unarySessions{}
	fake := &fakePipeline{streams: []func(pipelineStream) error{answering(added)}}
	address := startServing(t, func(server *grpc.Server) {
		turntreepb.RegisterPipelineServiceServer(server, fake)
		turntreepb.RegisterSessionServiceServer(server, sessions)
	})
	client := connected(t, address)
	must(client.AddItems(t.Context(), adding(user(strings.Repeat("x", 1<<20)))))(t)
	must(client.AddItems(metadata.AppendToOutgoingContext(t.Context(), "trace", "t1"), adding(user("a"))))(t)
	equal(t, []int64{sessions.calls.Load(), fake.opened.Load()}, []int64{2, 0})
	equal(t, sessions.metadata.Load().(metadata.MD).Get("trace"), []string{"t1"})
	must(client.AddItems(t.Context(), adding(user(strings.Repeat("x", 1<<19)))))(t)
	equal(t, []int64{sessions.calls.Load(), fake.opened.Load()}, []int64{2, 1})
}

// noneAtWork waits until no goroutine of a client is left.
func noneAtWork(t *testing.T) {
	t.Helper()
	buffer := make([]byte, 1<<20)
	for begin := time.Now(); ; runtime.Gosched() {
		stacks := string(buffer[:runtime.Stack(buffer, true)])
		if !strings.Contains(stacks, "turntree.") {
			return
		}
		if time.Since(begin) > patience {
			t.Fatalf("something goes on: %s", stacks)
		}
	}
}
