"""How much a credential does at once and in a time, and what is too much."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from turntree.errors import ErrorReason, exhausted

_BUSY_RETRY_S = 0.2


@dataclass(slots=True)
class _Use:
    """What one credential uses."""

    tokens: float
    filled_at: float
    calls: int = 0
    watches: int = 0


class Load:
    """Counts calls and watches at work, and the rate of calls by a token bucket, for each credential.

    Args:
        calls_max: How many calls a credential may have at work.
        watches_max: How many watches it may have.
        rate_max: How many calls a second it may begin, on average and as many at once; 0 for no limit.
        clock: Tells seconds.
    """

    def __init__(
        self, calls_max: int, watches_max: int, rate_max: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._calls_max = calls_max
        self._watches_max = watches_max
        self._rate_max = rate_max
        self._bucket = max(1.0, rate_max)
        self._clock = clock
        self._uses: dict[str, _Use] = {}

    def begin(self, credential: str, *, is_watch: bool) -> None:
        """Count a call that begins. End it with `end`.

        Raises:
            ResourceExhausted: RATE_EXCEEDED or CONCURRENCY_EXCEEDED, with the time to wait; it is not counted then.
        """
        use = self._uses.get(credential)
        if use is None:
            use = self._uses[credential] = _Use(self._bucket, self._clock())
        if is_watch and use.watches >= self._watches_max:
            limit = f"{self._watches_max} watches at once"
            raise exhausted(ErrorReason.CONCURRENCY_EXCEEDED, limit, retry_after_s=_BUSY_RETRY_S)
        if not is_watch and use.calls >= self._calls_max:
            limit = f"{self._calls_max} calls at once"
            raise exhausted(ErrorReason.CONCURRENCY_EXCEEDED, limit, retry_after_s=_BUSY_RETRY_S)
        if self._rate_max:
            self._take(use)
        use.watches += is_watch
        use.calls += not is_watch

    def _take(self, use: _Use) -> None:
        now = self._clock()
        use.tokens = min(self._bucket, use.tokens + (now - use.filled_at) * self._rate_max)
        use.filled_at = now
        if use.tokens < 1:
            limit = f"{self._rate_max:g} calls a second"
            raise exhausted(ErrorReason.RATE_EXCEEDED, limit, retry_after_s=(1 - use.tokens) / self._rate_max)
        use.tokens -= 1

    def end(self, credential: str, *, is_watch: bool) -> None:
        """Count the end of a call."""
        use = self._uses[credential]
        use.watches -= is_watch
        use.calls -= not is_watch

    def forget_idle(self) -> None:
        """Forget credentials that have nothing at work and a full bucket."""
        now = self._clock()
        for credential, use in tuple(self._uses.items()):
            is_full = not self._rate_max or use.tokens + (now - use.filled_at) * self._rate_max >= self._bucket
            if not use.calls and not use.watches and is_full:
                del self._uses[credential]
