"""Outcomes told from another thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


def carry_out(waited_for: asyncio.Future[T], work: Callable[[], T]) -> None:
    """Do something here, and let what comes of it be the outcome of a future."""
    set_outcome: Callable[[], None]
    try:
        set_outcome = partial(waited_for.set_result, work())
    except BaseException as error:  # raised where it is waited for
        set_outcome = partial(waited_for.set_exception, error)
    tell(waited_for, set_outcome)


def tell(waited_for: asyncio.Future[Any], set_outcome: Callable[[], None]) -> None:
    """Set the outcome of a future on its own event loop.

    Whoever was cancelled no longer waits for it, and the event loop may be closed by now.
    """
    with contextlib.suppress(RuntimeError):
        waited_for.get_loop().call_soon_threadsafe(_unless_done, waited_for, set_outcome)


def _unless_done(waited_for: asyncio.Future[Any], set_outcome: Callable[[], None]) -> None:
    if not waited_for.done():
        set_outcome()
