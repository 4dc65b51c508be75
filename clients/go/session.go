package turntree

import (
	"context"
	"iter"
	"sync"

	"google.golang.org/protobuf/proto"

	"turntree/turntreepb"
)

// Main is the branch that every session begins with.
const Main = "main"

// Item is an item in the Responses input form, and the native form that an SDK keeps of it, if it does: see
// turntreepb.NativeItem. Both are JSON texts in UTF-8.
type Item struct {
	JSON   []byte
	Native []byte
}

// Session is one session and its current branch, for those who talk in one conversation. It may be used by several
// goroutines at once.
//
// The current branch is main first. It is this handle's own state, kept in no server. When somebody clears the session,
// the handle is back on main with its next call.
type Session struct {
	client *Client
	id     string
	mutex  sync.Mutex
	branch *turntreepb.BranchPointer // never changed in place
}

// ID is the session's name.
func (s *Session) ID() string {
	return s.id
}

// Branch is where the handle stands, for the requests of [Client].
func (s *Session) Branch() *turntreepb.BranchPointer {
	return proto.CloneOf(s.current())
}

// AddItems appends items to the current branch, each a JSON text in UTF-8: all of them or none.
func (s *Session) AddItems(ctx context.Context, items ...[]byte) (*turntreepb.AddItemsResponse, error) {
	return s.add(ctx, &turntreepb.AddItemsRequest{Items: items})
}

// AddItemsWithNatives appends items to the current branch with their native forms in a dialect: all of them or none.
func (s *Session) AddItemsWithNatives(
	ctx context.Context, dialect string, items ...Item,
) (*turntreepb.AddItemsResponse, error) {
	request := &turntreepb.AddItemsRequest{}
	for index, item := range items {
		request.Items = append(request.Items, item.JSON)
		if item.Native != nil {
			native := &turntreepb.NativeItem{Index: int64(index), Dialect: dialect, Native: item.Native}
			request.Natives = append(request.Natives, native)
		}
	}
	return s.add(ctx, request)
}

// Items reads all items of the current branch, in order, however many there are.
func (s *Session) Items(ctx context.Context) ([][]byte, error) {
	return plain(s.read(ctx, &turntreepb.StreamItemsRequest{}))
}

// ItemsWithNatives reads all items of the current branch, with the native forms of those that have one in this dialect.
func (s *Session) ItemsWithNatives(ctx context.Context, dialect string) ([]Item, error) {
	return s.read(ctx, &turntreepb.StreamItemsRequest{NativeDialect: &dialect})
}

// ItemsInWindow reads the newest items of the current branch, in order: those that the window says.
func (s *Session) ItemsInWindow(ctx context.Context, window *turntreepb.ItemsWindow) ([][]byte, error) {
	return plain(s.read(ctx, &turntreepb.StreamItemsRequest{Window: window}))
}

// PopItem removes the newest item of the current branch and returns it; nil when there is none.
func (s *Session) PopItem(ctx context.Context) ([]byte, error) {
	sent := s.current()
	response, err := s.client.PopItem(ctx, &turntreepb.PopItemRequest{SessionId: s.id, Branch: sent})
	s.standOn(sent, response.GetBranch())
	return response.GetItem(), err
}

// Clear removes every item, branch and usage figure of the session, and goes back to main.
func (s *Session) Clear(ctx context.Context) error {
	response, err := s.client.ClearSession(ctx, &turntreepb.ClearSessionRequest{SessionId: s.id})
	if err != nil {
		return err
	}
	s.goTo(response.GetBranch())
	return nil
}

// Origin is where a branch is forked from its source.
type Origin func(*turntreepb.CreateBranchRequest)

// BeforeTurn forks before the user item of a turn, so that it can be asked anew.
func BeforeTurn(turn int64) Origin {
	return func(r *turntreepb.CreateBranchRequest) { r.Origin = &turntreepb.CreateBranchRequest_Turn{Turn: turn} }
}

// AfterTurn forks after the last item of a turn.
func AfterTurn(turn int64) Origin {
	return func(r *turntreepb.CreateBranchRequest) {
		r.Origin = &turntreepb.CreateBranchRequest_AfterTurn{AfterTurn: turn}
	}
}

// BeforeContent forks before the first turn whose user item contains a text, ignoring the case of ASCII letters.
func BeforeContent(content string) Origin {
	return func(r *turntreepb.CreateBranchRequest) {
		r.Origin = &turntreepb.CreateBranchRequest_Content{Content: content}
	}
}

// AtHead forks at the end of the branch, with all of its items.
func AtHead() Origin {
	return func(r *turntreepb.CreateBranchRequest) {
		r.Origin = &turntreepb.CreateBranchRequest_Head{Head: &turntreepb.Head{}}
	}
}

// CreateBranch forks the current branch and goes to the new one. Without an id, the server makes one up.
func (s *Session) CreateBranch(ctx context.Context, origin Origin, newBranchID string) (*turntreepb.Branch, error) {
	request := &turntreepb.CreateBranchRequest{SessionId: s.id, Branch: s.current()}
	origin(request)
	if newBranchID != "" {
		request.NewBranchId = &newBranchID
	}
	response, err := s.client.CreateBranch(ctx, request)
	if err != nil {
		return nil, err
	}
	s.goTo(pointerTo(response.GetBranch()))
	return response.GetBranch(), nil
}

// SwitchTo goes to another branch. It fails with ReasonBranchNotFound when that holds no items and is not main.
func (s *Session) SwitchTo(ctx context.Context, branchID string) (*turntreepb.Branch, error) {
	response, err := s.client.GetBranch(ctx, &turntreepb.GetBranchRequest{SessionId: s.id, BranchId: branchID})
	if err != nil {
		return nil, err
	}
	s.goTo(pointerTo(response.GetBranch()))
	return response.GetBranch(), nil
}

// RecordUsage records the usage of the current turn, the one the branch's last item belongs to, in place of what is there.
func (s *Session) RecordUsage(ctx context.Context, usage *turntreepb.Usage) (*turntreepb.RecordUsageResponse, error) {
	sent := s.current()
	request := &turntreepb.RecordUsageRequest{SessionId: s.id, Branch: sent, Usage: usage}
	response, err := s.client.RecordUsage(ctx, request)
	s.standOn(sent, response.GetBranch())
	return response, err
}

// StreamTurns reads the turns of the current branch with all their items; see [Client.StreamTurns].
func (s *Session) StreamTurns(ctx context.Context) iter.Seq2[*turntreepb.StreamTurnsResponse, error] {
	return s.client.StreamTurns(ctx, &turntreepb.StreamTurnsRequest{SessionId: s.id, Branch: s.current()})
}

// Watch follows the current branch and every change of it; see [Client.Watch].
func (s *Session) Watch(ctx context.Context) iter.Seq2[*turntreepb.WatchResponse, error] {
	return s.client.Watch(ctx, &turntreepb.WatchRequest{SessionId: s.id, Branch: s.current()})
}

func (s *Session) add(
	ctx context.Context, request *turntreepb.AddItemsRequest,
) (*turntreepb.AddItemsResponse, error) {
	sent := s.current()
	request.SessionId, request.Branch = s.id, sent
	response, err := s.client.AddItems(ctx, request)
	s.standOn(sent, response.GetBranch())
	return response, err
}

// read asks for the first part on the stream that all calls share, and opens one of its own only where more follows.
func (s *Session) read(ctx context.Context, request *turntreepb.StreamItemsRequest) ([]Item, error) {
	sent := s.current()
	first, err := s.client.GetItems(ctx, &turntreepb.GetItemsRequest{
		SessionId: s.id, Branch: sent, Window: request.Window, NativeDialect: request.NativeDialect,
	})
	if err != nil {
		return nil, err
	}
	delta := first.GetDelta()
	items := withDelta(nil, delta)
	s.standOn(sent, delta.GetBranch())
	if !delta.GetMore() {
		return items, nil
	}
	sent = delta.GetBranch()
	request.SessionId, request.Branch, request.Cursor = s.id, sent, delta.GetCursor()
	for response, err := range s.client.StreamItems(ctx, request) {
		if err != nil {
			return nil, err
		}
		delta := response.GetDelta()
		items = withDelta(items, delta)
		s.standOn(sent, delta.GetBranch())
		sent = delta.GetBranch()
	}
	return items, nil
}

// withDelta is what whoever has these items has after a delta.
func withDelta(items []Item, delta *turntreepb.ItemsDelta) []Item {
	if delta.GetKind() == turntreepb.DeltaKind_DELTA_KIND_REPLACED {
		items = nil
	}
	begin := len(items)
	for _, item := range delta.GetItems() {
		items = append(items, Item{JSON: item})
	}
	for _, native := range delta.GetNatives() {
		if index := begin + int(native.GetIndex()); index < len(items) {
			items[index].Native = native.GetNative()
		}
	}
	return items
}

func plain(items []Item, err error) ([][]byte, error) {
	texts := make([][]byte, len(items))
	for index, item := range items {
		texts[index] = item.JSON
	}
	return texts, err
}

func pointerTo(branch *turntreepb.Branch) *turntreepb.BranchPointer {
	return &turntreepb.BranchPointer{BranchId: branch.GetBranchId(), Generation: proto.Int64(branch.GetGeneration())}
}

func (s *Session) current() *turntreepb.BranchPointer {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.branch
}

func (s *Session) goTo(branch *turntreepb.BranchPointer) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.branch = branch
}

// standOn goes where the server says that a call was made, unless the handle has gone elsewhere since.
func (s *Session) standOn(sent, answered *turntreepb.BranchPointer) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if answered != nil && proto.Equal(s.branch, sent) {
		s.branch = answered
	}
}
