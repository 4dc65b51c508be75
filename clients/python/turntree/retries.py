"""How a client tries again: later and later, at times of its own, and never more than its budget allows."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from turntree.errors import ResourceExhausted, TurntreeError, Unauthenticated, Unavailable

RETRY_FOR_S_DEFAULT = 8.0
"""How long a call, or a stream, that finds the server unavailable is tried again."""

TRY_S_MIN = 0.1
"""Must be left of a call's time for another try, or its deadline would hide why the one before it failed."""

BUDGET = 100.0
BUDGET_AN_ANSWER = 0.1
BUDGET_A_S = 1.0

_DELAY_S = 0.1


RESUMABLE = (Unavailable, ResourceExhausted, Unauthenticated)
"""What a stream may end with that can go on; `Resumption` tells whether it does."""


class RetryBudget:
    """How many retries a client may still make, over all its calls.

    Each retry takes one. Each answer gives back a tenth and each second one, up to 100. So a server that refuses much
    of what it is asked gets at most a tenth more of it, and one that refuses everything gets one call more a second.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = BUDGET
        self._refilled = clock()

    def answered(self) -> None:
        """Note an answer, whatever it was."""
        self._left = min(BUDGET, self._left + BUDGET_AN_ANSWER)

    def spend(self) -> bool:
        """Take a retry from the budget; False when there is none left."""
        now = self._clock()
        self._left = min(BUDGET, self._left + (now - self._refilled) * BUDGET_A_S)
        self._refilled = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Backoff:
    """How long to wait before each of several tries: twice as long each time, and less by up to half at random.

    Args:
        delay_s_max: What the waits grow to, in seconds.
    """

    def __init__(self, delay_s_max: float) -> None:
        self._delay_s_max = delay_s_max
        self.reset()

    def reset(self) -> None:
        """Begin with a short wait again."""
        self._delay_s = _DELAY_S

    def next_s(self) -> float:
        """The next wait, in seconds."""
        delay_s, self._delay_s = self._delay_s, min(2 * self._delay_s, self._delay_s_max)
        return random.uniform(delay_s / 2, delay_s)  # noqa: S311 - clients are to differ, not to keep a secret


def wait_s(error: TurntreeError, delay_s: float) -> float | None:
    """How long to wait before a retry, not all callers equally long; None for no retry.

    Args:
        error: Why. Where the server says how long to wait, that is the least.
        delay_s: How long to wait by the client's own reckoning, in seconds.
    """
    if error.retry_after_s is not None:
        return max(delay_s, error.retry_after_s) * random.uniform(1, 1.5)  # noqa: S311 - no secret
    return delay_s if isinstance(error, Unavailable) else None


class Resumption:
    """Whether and when a stream that was lost is asked for again.

    Args:
        budget: The client's.
        may_renew: Whether the next try shows another token, so that one that has expired on the way is no end.
        s_max: How long to go on without hearing anything new, in seconds.
        delay_s_max: What the waits between the tries grow to, in seconds.
    """

    def __init__(self, budget: RetryBudget, may_renew: bool, s_max: float, delay_s_max: float) -> None:
        self._budget = budget
        self._may_renew = may_renew
        self._s_max = s_max
        self._backoff = Backoff(delay_s_max)
        self._give_up: float | None = None
        self._persists = False

    def heard(self) -> None:
        """Note a message that brings the stream on."""
        self._give_up = None
        self._backoff.reset()

    def persist(self) -> None:
        """Go on for ever from now on, as a stream without an end does, and take nothing from the budget for it."""
        self._persists = True

    async def pause(self, error: TurntreeError) -> None:
        """Wait for the time of the next try.

        Raises:
            TurntreeError: The error, when there is to be none.
        """
        now = asyncio.get_running_loop().time()
        was_heard = self._give_up is None
        give_up = self._give_up = now + self._s_max if self._give_up is None else self._give_up
        backoff_s = self._backoff.next_s()
        if isinstance(error, Unauthenticated):
            delay_s = backoff_s if self._may_renew and was_heard else None
        else:
            delay_s = wait_s(error, backoff_s)
        if delay_s is None:
            raise error
        if not self._persists and (now + delay_s >= give_up or not self._budget.spend()):
            raise error
        await asyncio.sleep(delay_s)
