// Package openaiagents is the conversation memory of agents built with openai-agents-go, kept by a turntree server.
//
// [Session] has the methods of that SDK's memory.Session. It names the types of openai-go v2, which the SDK's own item
// type is an alias of, so it does not import the SDK.
package openaiagents

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/openai/openai-go/v2/packages/param"
	"github.com/openai/openai-go/v2/responses"
	"google.golang.org/protobuf/proto"

	"turntree"
	"turntree/turntreepb"
)

// Session is the memory of one conversation, on the current branch of a turntree session.
type Session struct {
	session *turntree.Session
}

// New makes a memory of a session. Branch the session, and the agent goes on there.
func New(session *turntree.Session) *Session {
	return &Session{session}
}

// SessionID is the session's name.
func (s *Session) SessionID(context.Context) string {
	return s.session.ID()
}

// GetItems reads the newest items in order: at most limit of them, and all when it is 0 or less. A tool's output is
// returned only together with its call, so that fewer items may come back.
//
// An item that the types of openai-go hold without loss comes in them. Any other comes as its raw JSON, which is sent to a
// model as it stands.
func (s *Session) GetItems(ctx context.Context, limit int) ([]responses.ResponseInputItemUnionParam, error) {
	var window *turntreepb.ItemsWindow
	if limit > 0 {
		window = &turntreepb.ItemsWindow{Limit: proto.Int64(int64(limit)), WholeExchanges: true}
	}
	texts, err := s.session.ItemsInWindow(ctx, window)
	if err != nil {
		return nil, err
	}
	items := make([]responses.ResponseInputItemUnionParam, len(texts))
	for index, text := range texts {
		items[index] = decoded(text)
	}
	return items, nil
}

// AddItems appends items: all of them or none.
func (s *Session) AddItems(ctx context.Context, items []responses.ResponseInputItemUnionParam) error {
	if len(items) == 0 {
		return nil
	}
	texts := make([][]byte, len(items))
	for index, item := range items {
		text, err := json.Marshal(item)
		if err != nil {
			return fmt.Errorf("items[%d]: %w", index, err)
		}
		texts[index] = text
	}
	_, err := s.session.AddItems(ctx, texts...)
	return err
}

// PopItem removes the newest item and returns it; nil when there is none.
func (s *Session) PopItem(ctx context.Context) (*responses.ResponseInputItemUnionParam, error) {
	text, err := s.session.PopItem(ctx)
	if err != nil || text == nil {
		return nil, err
	}
	item := decoded(text)
	return &item, nil
}

// ClearSession removes every item, branch and usage figure of the session.
func (s *Session) ClearSession(ctx context.Context) error {
	return s.session.Clear(ctx)
}

// decoded gives an item in the types of openai-go if they hold all of it, else as its raw JSON.
func decoded(text []byte) responses.ResponseInputItemUnionParam {
	var item responses.ResponseInputItemUnionParam
	if err := json.Unmarshal(text, &item); err == nil && holds(item, text) {
		return item
	}
	// openai-go needs help with a message without a type, and takes an answer of the model for what somebody sent.
	var message responses.EasyInputMessageParam
	if err := json.Unmarshal(text, &message); err == nil && holds(message, text) {
		return responses.ResponseInputItemUnionParam{OfMessage: &message}
	}
	var output responses.ResponseOutputMessageParam
	if err := json.Unmarshal(text, &output); err == nil && holds(output, text) {
		return responses.ResponseInputItemUnionParam{OfOutputMessage: &output}
	}
	return param.Override[responses.ResponseInputItemUnionParam](json.RawMessage(text))
}

// holds tells whether a value says all that the text says, and no more.
func holds(value any, text []byte) bool {
	again, err := json.Marshal(value)
	return err == nil && reflect.DeepEqual(meaning(again), meaning(text))
}

// meaning is what a JSON text says, with every digit of its numbers.
func meaning(text []byte) any {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	return value
}
