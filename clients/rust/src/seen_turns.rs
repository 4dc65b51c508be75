//! What a reader of a stream of turns has seen of it, so that it goes on after a cut with nothing twice.

use crate::v1::StreamTurnsResponse;

/// Follows a stream of turns, and takes out of a resumed one what was seen before.
///
/// A stream that resumes by cursor begins with a whole turn. When it was cut within that turn, the turn's first items
/// have been seen: the cursor still holds, and rows never change in place. Until they have all come again, the cursor
/// stays the one that the stream was resumed with, which says what the reader has.
#[derive(Debug, Default)]
pub(crate) struct SeenTurns {
    last: Option<i64>,
    item_count: usize,
    continued: bool,
    resumed: bool,
    skip: usize,
    cursor: Vec<u8>,
}

impl SeenTurns {
    /// Notes that the stream was cut, and that what comes next is of a new one.
    pub(crate) fn resume(&mut self) {
        self.resumed = self.last.is_some();
        self.skip = if self.continued { self.item_count } else { 0 };
    }

    /// What is new in a response; `None` when the stream cannot go on, because the turn that was last has changed.
    pub(crate) fn take(&mut self, mut response: StreamTurnsResponse) -> Option<StreamTurnsResponse> {
        if self.resumed {
            self.resumed = false;
            let goes_on = response.turns.first().map(|turn| turn.turn) == self.last;
            if !response.restarted && goes_on != self.continued {
                return None;
            }
        }
        if response.restarted {
            self.skip = 0;
        }
        self.remove_seen(&mut response);
        if let [.., last] = response.turns.as_slice() {
            let is_alone = response.turns.len() == 1;
            let joins = self.continued && is_alone && Some(last.turn) == self.last && !response.restarted;
            self.item_count = last.items.len() + if joins { self.item_count } else { 0 };
            self.last = Some(last.turn);
        }
        self.continued = response.continued;
        if self.skip > 0 {
            response.cursor.clone_from(&self.cursor);
        }
        self.cursor.clone_from(&response.cursor);
        Some(response)
    }

    fn remove_seen(&mut self, response: &mut StreamTurnsResponse) {
        let Some(first) = response.turns.first_mut() else { return };
        let skip = self.skip.min(first.items.len());
        if skip == 0 {
            return;
        }
        self.skip -= skip;
        first.user_item = None;
        first.items.drain(..skip);
        first.metadata.drain(..skip);
        let skipped = i64::try_from(skip).unwrap_or(i64::MAX);
        first.natives.retain_mut(|native| {
            native.index -= skipped;
            native.index >= 0
        });
        if first.items.is_empty() {
            response.turns.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{ItemMetadata, NativeItem, Turn};

    fn native(index: i64, item: &str) -> NativeItem {
        NativeItem { index, dialect: "d".to_owned(), native: item.as_bytes().to_vec() }
    }

    fn part(turns: &[(i64, &[&str])], continued: bool) -> StreamTurnsResponse {
        let turn = |&(turn, items): &(i64, &[&str])| Turn {
            turn,
            items: items.iter().map(|item| item.as_bytes().to_vec()).collect(),
            metadata: vec![ItemMetadata::default(); items.len()],
            natives: (0..).zip(items).map(|(index, item)| native(index, item)).collect(),
            ..Turn::default()
        };
        StreamTurnsResponse { turns: turns.iter().map(turn).collect(), continued, ..StreamTurnsResponse::default() }
    }

    /// A stream that was cut between two turns goes on with the next one.
    #[test]
    fn between_turns() {
        let mut seen = SeenTurns::default();
        seen.take(part(&[(1, &["a", "b"])], false)).unwrap();
        seen.resume();
        assert_eq!(seen.take(part(&[(2, &["c"])], false)), Some(part(&[(2, &["c"])], false)));
    }

    /// A stream that was cut within a turn goes on with the items of it that were not seen, over any number of parts.
    #[test]
    fn within_a_turn() {
        let mut seen = SeenTurns::default();
        seen.take(part(&[(1, &["a"]), (2, &["b"])], true)).unwrap();
        seen.take(part(&[(2, &["c", "d"])], true)).unwrap();
        seen.resume();
        assert_eq!(seen.take(part(&[(2, &["b", "c"])], true)), Some(part(&[], true)));
        assert_eq!(seen.take(part(&[(2, &["d", "e"])], false)), Some(part(&[(2, &["e"])], false)));
    }

    /// Until all that was seen has come again, the cursor stays the one that says what the reader has.
    #[test]
    fn cursor_of_what_was_seen() {
        let at = |cursor: &str, part| StreamTurnsResponse { cursor: cursor.as_bytes().to_vec(), ..part };
        let mut seen = SeenTurns::default();
        seen.take(at("abc", part(&[(1, &["a", "b", "c"])], true))).unwrap();
        for _ in 0..2 {
            seen.resume();
            assert_eq!(seen.take(at("a", part(&[(1, &["a"])], true))).unwrap().cursor, b"abc");
        }
        assert_eq!(seen.take(at("abcd", part(&[(1, &["b", "c", "d"])], false))).unwrap().cursor, b"abcd");
    }

    /// A stream whose last turn is gone, or grew although it was whole, cannot go on.
    #[test]
    fn changed_turns() {
        let mut seen = SeenTurns::default();
        seen.take(part(&[(1, &["a"])], true)).unwrap();
        seen.resume();
        assert_eq!(seen.take(part(&[(2, &["c"])], false)), None);
        let mut seen = SeenTurns::default();
        seen.take(part(&[(1, &["a"])], false)).unwrap();
        seen.resume();
        assert_eq!(seen.take(part(&[(1, &["a", "b"])], false)), None);
    }

    /// A stream that begins again leaves nothing out.
    #[test]
    fn restarted() {
        let mut seen = SeenTurns::default();
        seen.take(part(&[(2, &["a", "b"])], true)).unwrap();
        seen.resume();
        let again = StreamTurnsResponse { restarted: true, ..part(&[(1, &["x", "y", "z"])], false) };
        assert_eq!(seen.take(again.clone()), Some(again));
    }
}
