"""Room for answers: how much of what a client asked for, and does not take, the server holds for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakValueDictionary

from turntree_server.access.caller import Caller

READS_MAX = 4
LARGE_BYTES = 16 * 1024


class Room:
    """The reads of one client that are at work, or whose large answers it has not taken: four, and more wait."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(READS_MAX)

    async def carry_out(self, request: Any, call: Callable[[], Awaitable[Any]]) -> tuple[Any, bool]:
        """Carry out a call; one that reads waits until there is room for its answer.

        Returns:
            The answer, and whether it takes up room until it is `taken`.
        """
        if _is_write(request):
            return await call(), False
        await self._free.acquire()
        is_large = False
        try:
            answer = await call()
            is_large = answer.ByteSize() > LARGE_BYTES
            return answer, is_large
        finally:
            if not is_large:
                self._free.release()

    def taken(self) -> None:
        """Note that a large answer was delivered, or never will be."""
        self._free.release()


class Rooms:
    """The room of each caller on each connection: a proxy may have the calls of many on one."""

    def __init__(self) -> None:
        self._rooms: WeakValueDictionary[tuple[str, str], Room] = WeakValueDictionary()

    def of(self, peer: str, caller: Caller) -> Room:
        """A caller's room on the connection from an address; it is there for as long as somebody holds it."""
        key = (peer, caller.credential)
        room = self._rooms.get(key)
        if room is None:
            room = self._rooms[key] = Room()
        return room


def _is_write(request: Any) -> bool:
    return "request_id" in request.DESCRIPTOR.fields_by_name
