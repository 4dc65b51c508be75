package turntree

import "turntree/turntreepb"

// seenTurns follows a stream of turns, and takes out of a resumed one what was seen before.
//
// A stream that resumes by cursor begins with a whole turn. When it was cut within that turn, the turn's first items have
// been seen: the cursor still holds, and rows never change in place. Until they have all come again, the cursor stays the
// one that the stream was resumed with, which says what the reader has.
type seenTurns struct {
	any       bool
	last      int64 // the last turn that was seen
	itemCount int   // how many items of it
	continued bool  // whether it goes on in the next part
	resumed   bool
	skip      int
	cursor    []byte
}

// resume notes that the stream was cut, and that what comes next is of a new one.
func (s *seenTurns) resume() {
	s.resumed = s.any
	s.skip = 0
	if s.continued {
		s.skip = s.itemCount
	}
}

// take leaves in a part what is new; false when the stream cannot go on, because the turn that was last has changed.
func (s *seenTurns) take(part *turntreepb.StreamTurnsResponse) bool {
	if s.resumed {
		s.resumed = false
		goesOn := len(part.Turns) > 0 && part.Turns[0].Turn == s.last
		if !part.Restarted && goesOn != s.continued {
			return false
		}
	}
	if part.Restarted {
		s.skip = 0
	}
	s.removeSeen(part)
	if count := len(part.Turns); count > 0 {
		last := part.Turns[count-1]
		joins := s.continued && count == 1 && last.Turn == s.last && !part.Restarted
		if !joins {
			s.itemCount = 0
		}
		s.itemCount += len(last.Items)
		s.last, s.any = last.Turn, true
	}
	s.continued = part.Continued
	if s.skip > 0 {
		part.Cursor = s.cursor
	}
	s.cursor = part.Cursor
	return true
}

func (s *seenTurns) removeSeen(part *turntreepb.StreamTurnsResponse) {
	if s.skip == 0 || len(part.Turns) == 0 {
		return
	}
	first := part.Turns[0]
	skip := min(s.skip, len(first.Items))
	s.skip -= skip
	first.UserItem = nil
	first.Items = first.Items[skip:]
	first.Metadata = first.Metadata[min(skip, len(first.Metadata)):]
	var natives []*turntreepb.NativeItem
	for _, native := range first.Natives {
		if native.Index -= int64(skip); native.Index >= 0 {
			natives = append(natives, native)
		}
	}
	first.Natives = natives
	if len(first.Items) == 0 {
		part.Turns = part.Turns[1:]
	}
}
