"""Mutations of one session: one after another in the order they were called, and each to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class Mutations:
    """Runs mutations in the order they were called, on whichever event loop they are called from."""

    def __init__(self) -> None:
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def run(self, mutation: Callable[[], Awaitable[T]]) -> T:
        """Run a mutation after those called before it.

        It runs to its end when the caller is cancelled; the cancellation is raised then.
        """
        lock = self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

        async def in_order() -> T:
            async with lock:
                return await mutation()

        return await to_its_end(in_order())


async def to_its_end(step: Coroutine[Any, Any, T]) -> T:
    """Take a step to its end also when the caller is cancelled; the cancellation is raised then."""
    task = asyncio.ensure_future(step)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancellation = cancellation or error
    if cancellation is not None:
        if not task.cancelled():
            task.exception()
        raise cancellation
    return task.result()
