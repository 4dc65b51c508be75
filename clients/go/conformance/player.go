package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"turntree"
	"turntree/turntreepb"
)

// step is one line of what is to be done.
type step struct {
	Call     string          `json:"call"`
	Request  json.RawMessage `json:"request"`
	Start    string          `json:"start"`
	Next     string          `json:"next"`
	Stop     string          `json:"stop"`
	Take     *int            `json:"take"`
	TimeoutS float64         `json:"timeout_s"`
}

type answer = map[string]any

// stream gives the next response of a stream; false at its end.
type stream struct {
	next func() (response proto.Message, ok bool, err error)
	stop func()
}

type player struct {
	client  *turntree.Client
	streams map[string]stream
}

func newPlayer(url string) (*player, error) {
	client, err := turntree.New(url)
	return &player{client, map[string]stream{}}, err
}

func (p *player) close() {
	for _, open := range p.streams {
		open.stop()
	}
	_ = p.client.Close()
}

// play makes a step; its error is why the client cannot express it.
func (p *player) play(step step) (answer, error) {
	switch {
	case step.Next != "":
		open, ok := p.streams[step.Next]
		if !ok {
			return nil, fmt.Errorf("there is no stream '%s'", step.Next)
		}
		return take(open, step.Take), nil
	case step.Stop != "":
		open, ok := p.streams[step.Stop]
		if !ok {
			return nil, fmt.Errorf("there is no stream '%s'", step.Stop)
		}
		open.stop()
		delete(p.streams, step.Stop)
		return answer{"stopped": step.Stop}, nil
	}
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if step.TimeoutS > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(step.TimeoutS*float64(time.Second)))
	}
	_, method, _ := strings.Cut(step.Call, "/")
	call := reflect.ValueOf(p.client).MethodByName(method)
	if !call.IsValid() || call.Type().NumIn() != 2 {
		cancel()
		return nil, fmt.Errorf("there is no call '%s'", step.Call)
	}
	request := reflect.New(call.Type().In(1).Elem())
	if err := protojson.Unmarshal(step.Request, request.Interface().(proto.Message)); err != nil {
		cancel()
		return nil, err
	}
	results := call.Call([]reflect.Value{reflect.ValueOf(ctx), request})
	if len(results) == 2 {
		defer cancel()
		if failure, ok := results[1].Interface().(error); ok {
			return answer{"error": described(failure)}, nil
		}
		return answer{"response": rendered(results[0].Interface().(proto.Message))}, nil
	}
	open, err := opened(results[0].Interface(), cancel)
	if err != nil {
		return nil, err
	}
	if step.Start != "" {
		p.streams[step.Start] = open
		return answer{"started": step.Start}, nil
	}
	defer open.stop()
	return take(open, step.Take), nil
}

func opened(responses any, cancel func()) (stream, error) {
	switch responses := responses.(type) {
	case iter.Seq2[*turntreepb.StreamItemsResponse, error]:
		return pulled(responses, cancel), nil
	case iter.Seq2[*turntreepb.StreamTurnsResponse, error]:
		return pulled(responses, cancel), nil
	case iter.Seq2[*turntreepb.WatchResponse, error]:
		return pulled(responses, cancel), nil
	}
	return stream{}, fmt.Errorf("a stream of the type %T", responses)
}

func pulled[Response proto.Message](responses iter.Seq2[Response, error], cancel func()) stream {
	next, stop := iter.Pull2(responses)
	pull := func() (proto.Message, bool, error) {
		response, err, ok := next()
		return response, ok, err
	}
	return stream{pull, func() { stop(); cancel() }}
}

// take reads some responses, or all, and the error that ends the stream, if one does.
func take(open stream, count *int) answer {
	responses := []json.RawMessage{}
	for count == nil || len(responses) < *count {
		response, ok, err := open.next()
		if !ok {
			break
		}
		if err != nil {
			return answer{"responses": responses, "error": described(err)}
		}
		responses = append(responses, rendered(response))
	}
	return answer{"responses": responses}
}

func rendered(message proto.Message) json.RawMessage {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		fail(err)
	}
	return text
}

func described(err error) answer {
	var failure *turntree.Error
	if !errors.As(err, &failure) {
		fail(err)
	}
	facts := failure.Facts
	if facts == nil {
		facts = map[string]string{}
	}
	return answer{
		"code":    code.Code(failure.Code).String(),
		"reason":  failure.Reason.Error(),
		"facts":   facts,
		"message": failure.Message,
	}
}
