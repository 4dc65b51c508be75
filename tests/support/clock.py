"""A clock that moves only when a test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class StillClock:
    """Tells the same time, a whole second at noon, until it is advanced."""

    def __init__(self) -> None:
        self.now = datetime(2031, 5, 17, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> datetime:
        """Move on by a `timedelta` of these parts, and return the new time."""
        self.now += timedelta(**duration)
        return self.now
