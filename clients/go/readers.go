package turntree

import (
	"bytes"

	"google.golang.org/protobuf/proto"

	"turntree/turntreepb"
)

type itemsReader struct {
	next *turntreepb.StreamItemsRequest
	more bool
}

func (r *itemsReader) request() *turntreepb.StreamItemsRequest { return r.next }
func (r *itemsReader) resume()                                 {}
func (r *itemsReader) isComplete() bool                        { return !r.more }
func (r *itemsReader) isEndless() bool                         { return false }

func (r *itemsReader) take(response *turntreepb.StreamItemsResponse) news {
	delta := response.GetDelta()
	kind := newsOf(r.next.Cursor, delta.GetCursor())
	r.next.Cursor, r.next.Branch, r.more = delta.GetCursor(), delta.GetBranch(), delta.GetMore()
	return kind
}

type turnsReader struct {
	next *turntreepb.StreamTurnsRequest
	seen seenTurns
}

func (r *turnsReader) request() *turntreepb.StreamTurnsRequest { return r.next }
func (r *turnsReader) resume()                                 { r.seen.resume() }
func (r *turnsReader) isComplete() bool                        { return false }
func (r *turnsReader) isEndless() bool                         { return false }

func (r *turnsReader) take(response *turntreepb.StreamTurnsResponse) news {
	if !r.seen.take(response) {
		return isBroken
	}
	kind := newsOf(r.next.Cursor, response.GetCursor())
	r.next.Cursor, r.next.Branch = response.GetCursor(), response.GetBranch()
	return kind
}

func newsOf(before, after []byte) news {
	if before != nil && bytes.Equal(before, after) {
		return isStale
	}
	return isNews
}

type watcher struct {
	next    *turntreepb.WatchRequest
	begun   bool
	resumed bool
}

func (w *watcher) request() *turntreepb.WatchRequest { return w.next }
func (w *watcher) resume()                           { w.resumed = w.begun }
func (w *watcher) isComplete() bool                  { return false }
func (w *watcher) isEndless() bool                   { return true }

func (w *watcher) take(response *turntreepb.WatchResponse) news {
	delta := response.GetDelta()
	unchanged := delta.GetKind() == turntreepb.DeltaKind_DELTA_KIND_UNCHANGED && proto.Equal(delta.GetBranch(), w.next.Branch)
	isRepeated := w.resumed && unchanged
	w.next.Cursor, w.next.Branch = delta.GetCursor(), delta.GetBranch()
	w.begun, w.resumed = true, false
	if isRepeated {
		return isKnown
	}
	return isNews
}
