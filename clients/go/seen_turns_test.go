package turntree

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"turntree/turntreepb"
)

// turn is a turn whose items are letters, each with metadata and a native form.
func turn(number int64, letters string) *turntreepb.Turn {
	made := &turntreepb.Turn{Turn: number}
	for index, letter := range letters {
		made.Items = append(made.Items, []byte(string(letter)))
		made.Metadata = append(made.Metadata, &turntreepb.ItemMetadata{Type: string(letter)})
		native := &turntreepb.NativeItem{Index: int64(index), Native: []byte(string(letter))}
		made.Natives = append(made.Natives, native)
	}
	return made
}

func whole(turns ...*turntreepb.Turn) *turntreepb.StreamTurnsResponse {
	return &turntreepb.StreamTurnsResponse{Turns: turns}
}

func begun(turns ...*turntreepb.Turn) *turntreepb.StreamTurnsResponse {
	return &turntreepb.StreamTurnsResponse{Turns: turns, Continued: true}
}

// taken plays parts, with nil for a cut, and gives what is new of the last one; false if that cannot go on.
func taken(parts ...*turntreepb.StreamTurnsResponse) (*turntreepb.StreamTurnsResponse, bool) {
	var seen seenTurns
	for _, part := range parts[:len(parts)-1] {
		if part == nil {
			seen.resume()
		} else {
			seen.take(part)
		}
	}
	last := parts[len(parts)-1]
	return last, seen.take(last)
}

// A resumed stream goes on with what was not seen of its turns, also within a turn and over any number of parts.
func TestSeenTurns(t *testing.T) {
	restarted := whole(turn(1, "xyz"))
	restarted.Restarted = true
	type parts = []*turntreepb.StreamTurnsResponse
	for name, story := range map[string]struct {
		parts    parts
		expected *turntreepb.StreamTurnsResponse
	}{
		"between turns":  {parts{whole(turn(1, "ab")), nil, whole(turn(2, "c"))}, whole(turn(2, "c"))},
		"within a turn":  {parts{begun(turn(1, "a"), turn(2, "b")), nil, whole(turn(2, "bc"))}, whole(turn(2, "c"))},
		"over two parts": {parts{begun(turn(2, "b")), begun(turn(2, "cd")), nil, begun(turn(2, "bc"))}, begun()},
		"and on":         {parts{begun(turn(2, "bcd")), nil, begun(turn(2, "bc")), whole(turn(2, "de"))}, whole(turn(2, "e"))},
		"begun again":    {parts{begun(turn(2, "ab")), nil, restarted}, proto.CloneOf(restarted)},
	} {
		actual, goesOn := taken(story.parts...)
		if !goesOn || !proto.Equal(actual, story.expected) {
			t.Errorf("%s: %v", name, actual)
		}
	}
}

// A stream whose last turn is gone, or grew although it was whole, cannot go on.
func TestChangedTurns(t *testing.T) {
	for _, parts := range [][]*turntreepb.StreamTurnsResponse{
		{begun(turn(1, "a")), nil, whole(turn(2, "c"))},
		{whole(turn(1, "a")), nil, whole(turn(1, "ab"))},
	} {
		if _, goesOn := taken(slices.Clone(parts)...); goesOn {
			t.Errorf("%v goes on", parts)
		}
	}
}

// A watch that was cut leaves out that nothing has changed meanwhile, unless its branch has; one that begins does not.
func TestWatcher(t *testing.T) {
	unchanged := func(branch string) *turntreepb.WatchResponse {
		return &turntreepb.WatchResponse{Delta: &turntreepb.ItemsDelta{
			Kind:   turntreepb.DeltaKind_DELTA_KIND_UNCHANGED,
			Cursor: []byte("c"),
			Branch: &turntreepb.BranchPointer{BranchId: branch},
		}}
	}
	watching := &watcher{next: &turntreepb.WatchRequest{}}
	watching.resume()
	kinds := []news{watching.take(unchanged("b"))}
	watching.resume()
	kinds = append(kinds, watching.take(unchanged("b")), watching.take(unchanged("b")))
	watching.resume()
	kinds = append(kinds, watching.take(unchanged("main")))
	if !slices.Equal(kinds, []news{isNews, isKnown, isNews, isNews}) {
		t.Errorf("%v", kinds)
	}
	begun := unchanged("b").GetDelta()
	watching = &watcher{next: &turntreepb.WatchRequest{Cursor: begun.GetCursor(), Branch: begun.GetBranch()}}
	watching.resume()
	if kind := watching.take(unchanged("b")); kind != isNews {
		t.Errorf("a watch that begins after a try in vain says nothing: %v", kind)
	}
}

// Until all that was seen has come again, the cursor stays the one that says what the reader has.
func TestCursorOfWhatWasSeen(t *testing.T) {
	var seen seenTurns
	take := func(cursor string, part *turntreepb.StreamTurnsResponse) string {
		part.Cursor = []byte(cursor)
		if !seen.take(part) {
			t.Fatal("the stream cannot go on")
		}
		return string(part.Cursor)
	}
	take("abc", begun(turn(1, "abc")))
	for range 2 {
		seen.resume()
		if cursor := take("a", begun(turn(1, "a"))); cursor != "abc" {
			t.Errorf("the cursor is %q", cursor)
		}
	}
	if cursor := take("abcd", whole(turn(1, "bcd"))); cursor != "abcd" {
		t.Errorf("the cursor is %q", cursor)
	}
}
