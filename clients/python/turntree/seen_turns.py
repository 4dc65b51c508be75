"""What a reader of a stream of turns has seen of it, so that it goes on after a disconnect with nothing twice."""

from __future__ import annotations

from dataclasses import replace

from turntree.model import TurnsDelta, moved_natives


class SeenTurns:
    """Follows a stream of turns, and takes out of a resumed one what was seen before.

    A stream that resumes by cursor begins with a whole turn. When it was cut within that turn, the turn's first items
    have been seen: the cursor still holds, and rows never change in place. Until they have all come again, the cursor
    stays the one that the stream was resumed with, which says what the reader has.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._item_count = 0
        self._continued = False
        self._resumed = False
        self._skip = 0
        self._cursor = b""

    def resume(self) -> None:
        """Note that the stream was cut, and that what comes next is of a new one."""
        self._resumed = self._last is not None
        self._skip = self._item_count if self._continued else 0

    def take(self, delta: TurnsDelta) -> TurnsDelta | None:
        """What is new in a delta; None when the stream cannot go on, because the turn that was last has changed."""
        if self._resumed:
            self._resumed = False
            goes_on = bool(delta.turns) and delta.turns[0].turn == self._last
            if not delta.restarted and goes_on != self._continued:
                return None
        if delta.restarted:
            self._skip = 0
        delta = self._without_seen(delta)
        if delta.turns:
            last = delta.turns[-1]
            joins = self._continued and len(delta.turns) == 1 and last.turn == self._last and not delta.restarted
            self._item_count = len(last.items) + (self._item_count if joins else 0)
            self._last = last.turn
        self._continued = delta.continued
        if self._skip:
            return replace(delta, cursor=self._cursor)
        self._cursor = delta.cursor
        return delta

    def _without_seen(self, delta: TurnsDelta) -> TurnsDelta:
        if not self._skip or not delta.turns:
            return delta
        first, *others = delta.turns
        skip = min(self._skip, len(first.items))
        self._skip -= skip
        rest = first._replace(
            user_item=None,
            items=first.items[skip:],
            metadata=first.metadata[skip:],
            natives=moved_natives(first.natives, -skip),
        )
        return replace(delta, turns=(rest, *others) if rest.items else tuple(others))
