"""Mutations of one session: one after another in the order they were called, and each to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
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

        task = asyncio.ensure_future(in_order())
        cancellation: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancellation = cancellation or error
        if cancellation is not None:
            task.exception()
            raise cancellation
        return task.result()
