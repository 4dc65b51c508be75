package turntree

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"turntree/turntreepb"
)

const (
	callsAMessageMax = 64
	messageBytesMax  = 4 << 20
	// sharedBytesMax is how large a request may be that others on the stream have to wait behind.
	sharedBytesMax = 1 << 20
)

var (
	responseOneof  = (&turntreepb.PipelineReply{}).ProtoReflect().Descriptor().Oneofs().ByName("response")
	requestNumbers = map[protoreflect.FullName]protowire.Number{} // the field of a PipelineCall, by the type of the request

	// errAlone says that a call is to be made without the pipeline.
	errAlone = errors.New("the call goes alone")
)

func init() {
	fields := (&turntreepb.PipelineCall{}).ProtoReflect().Descriptor().Oneofs().ByName("request").Fields()
	for index := range fields.Len() {
		requestNumbers[fields.Get(index).Message().FullName()] = fields.Get(index).Number()
	}
}

// pipeline makes unary calls on one stream. What waits is sent together, and each reply goes to its caller.
//
// The stream is opened with the first call, and again with the first one after it broke. It knows nothing of retries:
// who has no answer from a stream that ended learns so, and when there may be another.
type pipeline struct {
	open   func(context.Context, ...grpc.CallOption) (requestStream, error)
	target string
	life   context.Context // of the client

	mutex     sync.Mutex // of all below, and of the streams
	current   *callStream
	lost      *streamLost // how the last stream ended
	waits     growing     // between one that broke and the next
	lastID    int64
	isUnknown bool // to the server
}

type requestStream = grpc.BidiStreamingClient[turntreepb.PipelineRequest, turntreepb.PipelineResponse]

// callStream is one stream, with the calls on it.
type callStream struct {
	waiting   map[int64]chan<- answer // those without a reply
	unsent    []*turntreepb.PipelineCall
	hasUnsent chan struct{} // holds a token when there is something to send
}

// answer is a reply, or why there is none.
type answer struct {
	reply *turntreepb.PipelineReply
	lost  *streamLost
}

// streamLost is what a call without a reply gets when its stream has ended.
type streamLost struct {
	cause error
	again time.Time // when it can be sent on another stream; zero when there is no sense in it
}

func (l *streamLost) Error() string { return l.cause.Error() }
func (l *streamLost) Unwrap() error { return l.cause }

func newPipeline(life context.Context, conn grpc.ClientConnInterface, target string) *pipeline {
	return &pipeline{
		open:   turntreepb.NewPipelineServiceClient(conn).Pipeline,
		target: target,
		life:   life,
		waits:  growing{next: delayMin, max: callDelayMax},
	}
}

// call makes a call once, and fills in its response. It fails with the status of the reply, with a streamLost, or with
// errAlone.
func (p *pipeline) call(ctx context.Context, request, response proto.Message) error {
	call := packed(ctx, request)
	if call == nil {
		return errAlone
	}
	if ctx.Err() != nil {
		return stopped(ctx)
	}
	stream, answered, err := p.begin(call)
	if err != nil {
		return err
	}
	select {
	case answer := <-answered:
		if answer.lost != nil {
			return answer.lost
		}
		return unpack(answer.reply, response)
	case <-ctx.Done():
		p.leave(stream, call)
		return stopped(ctx)
	}
}

// packed makes a call of a request; nil when it is none for a stream with others.
//
// The request is made into bytes here, since it is the caller's again as soon as the caller gives up.
func packed(ctx context.Context, request proto.Message) *turntreepb.PipelineCall {
	number, isKnown := requestNumbers[request.ProtoReflect().Descriptor().FullName()]
	_, hasMetadata := metadata.FromOutgoingContext(ctx) // the stream has its own
	size := proto.Size(request)
	if !isKnown || hasMetadata || size > sharedBytesMax {
		return nil
	}
	field := protowire.AppendTag(nil, number, protowire.BytesType)
	field = slices.Grow(protowire.AppendVarint(field, uint64(size)), size)
	field, err := proto.MarshalOptions{}.MarshalAppend(field, request)
	if err != nil {
		return nil
	}
	call := &turntreepb.PipelineCall{}
	call.ProtoReflect().SetUnknown(field)
	if deadline, ok := ctx.Deadline(); ok {
		call.Timeout = durationpb.New(time.Until(deadline))
	}
	return call
}

// unpack fills in the response of a reply, or gives its error.
func unpack(reply *turntreepb.PipelineReply, response proto.Message) error {
	if err := status.FromProto(reply.GetError()).Err(); err != nil {
		return err
	}
	field := reply.ProtoReflect().WhichOneof(responseOneof)
	if field == nil || field.Message() != response.ProtoReflect().Descriptor() {
		return &Error{Code: codes.Internal, Reason: ReasonInternal, Message: "the reply is that of another call"}
	}
	copyFields(response.ProtoReflect(), reply.ProtoReflect().Get(field).Message())
	return nil
}

// begin puts a call among those to be sent, and opens a stream if there is none.
func (p *pipeline) begin(call *turntreepb.PipelineCall) (*callStream, <-chan answer, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	switch {
	case p.life.Err() != nil:
		return nil, nil, closed()
	case p.isUnknown:
		return nil, nil, errAlone
	case p.current == nil && p.lost != nil && time.Now().Before(p.lost.again):
		return nil, nil, p.lost
	case p.current == nil:
		p.current = &callStream{waiting: map[int64]chan<- answer{}, hasUnsent: make(chan struct{}, 1)}
		go p.run(p.current)
	}
	p.lastID++
	call.CallId = p.lastID
	answered := make(chan answer, 1)
	p.current.waiting[call.CallId] = answered
	p.current.unsent = append(p.current.unsent, call)
	p.current.signal()
	return p.current, answered, nil
}

// signal wakes the sender if there is something to send.
func (s *callStream) signal() {
	if len(s.unsent) == 0 {
		return
	}
	select {
	case s.hasUnsent <- struct{}{}:
	default:
	}
}

// leave forgets a call whose caller has left: it is not sent any more, and its reply goes to nobody.
func (p *pipeline) leave(stream *callStream, call *turntreepb.PipelineCall) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(stream.waiting, call.CallId)
	stream.unsent = slices.DeleteFunc(stream.unsent, func(unsent *turntreepb.PipelineCall) bool { return unsent == call })
}

// run opens a stream and serves it until it ends.
func (p *pipeline) run(stream *callStream) {
	ctx, cancel := context.WithCancel(p.life)
	defer cancel()
	requests, err := p.open(ctx)
	if err == nil {
		go p.send(ctx, stream, requests)
		err = p.receive(stream, requests)
	}
	p.end(stream, err)
}

// send sends what waits, all of it in one message as far as it fits.
func (p *pipeline) send(ctx context.Context, stream *callStream, requests requestStream) {
	for {
		select {
		case <-stream.hasUnsent:
		case <-ctx.Done():
			return
		}
		p.gather(stream)
		if calls := p.batch(stream); len(calls) > 0 {
			if requests.Send(&turntreepb.PipelineRequest{Calls: calls}) != nil {
				return // the receiver knows why
			}
		}
	}
}

// gather lets callers who can run now add their calls, such as all those whose replies came in one message. A message
// costs the server more than a call does.
func (p *pipeline) gather(stream *callStream) {
	for before, now := -1, 0; before < now && now < callsAMessageMax; {
		runtime.Gosched()
		before, now = now, p.unsentCount(stream)
	}
}

func (p *pipeline) unsentCount(stream *callStream) int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return len(stream.unsent)
}

// batch takes the calls of the next message.
func (p *pipeline) batch(stream *callStream) []*turntreepb.PipelineCall {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	count := 0
	for size := 0; count < min(len(stream.unsent), callsAMessageMax); count++ {
		size += proto.Size(stream.unsent[count])
		if count > 0 && size > messageBytesMax {
			break
		}
	}
	calls := slices.Clone(stream.unsent[:count])
	stream.unsent = slices.Delete(stream.unsent, 0, count)
	stream.signal()
	return calls
}

// receive hands every reply to its caller until the stream ends, and returns why it did.
func (p *pipeline) receive(stream *callStream, responses requestStream) error {
	for {
		response, err := responses.Recv()
		if errors.Is(err, io.EOF) {
			return ended(p.target)
		}
		if err != nil {
			return err
		}
		p.answer(stream, response.Replies)
	}
}

func (p *pipeline) answer(stream *callStream, replies []*turntreepb.PipelineReply) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.waits.next = delayMin
	for _, reply := range replies {
		if answered, ok := stream.waiting[reply.CallId]; ok {
			delete(stream.waiting, reply.CallId)
			answered <- answer{reply: reply}
		}
	}
}

// end forgets a stream, and tells those who wait for a reply from it.
func (p *pipeline) end(stream *callStream, cause error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	lost := &streamLost{cause: cause}
	switch failure := fromRPC(context.Background(), cause, p.target); failure.Code {
	case codes.Unavailable:
		lost.again = time.Now().Add(max(p.waits.wait(), failure.RetryAfter))
	case codes.Unauthenticated:
		lost.again = time.Now() // a stream with a fresh token may be welcome
	case codes.Unimplemented:
		lost.cause, p.isUnknown = errAlone, true
	}
	p.current, p.lost = nil, lost
	for _, answered := range stream.waiting {
		answered <- answer{lost: lost}
	}
	stream.waiting, stream.unsent = nil, nil
}
