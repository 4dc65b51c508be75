"""The responses of a streaming call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import grpc
import grpc.aio

from turntree.connection import Connection
from turntree.errors import stopping
from turntree.last_events import last_events
from turntree.rpc_errors import from_rpc_error


class Responses:
    """The responses of a streaming call, which ends when its reader leaves it or the store is closed.

    gRPC never frees a message that comes while its reader is being cancelled. So it is the call that is cancelled
    here, and the read comes to its end. This is no generator, because an event loop that ends closes every generator
    itself, beside whoever is closing it.

    Args:
        begin: Begins the call.
        connection: Where it is made; the call is one of its streams until it ends.
        target: The server, for errors.
        is_closed: Whether the store was closed meanwhile.
    """

    def __init__(
        self, begin: Callable[[], Awaitable[Any]], connection: Connection, target: str, is_closed: Callable[[], bool]
    ) -> None:
        self._begin = begin
        self._connection = connection
        self._target = target
        self._is_closed = is_closed
        self._call: Any = None
        self._reading: asyncio.Task[Any] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """The next response.

        Raises:
            TurntreeError: Why there is none.
        """
        try:
            if self._call is None:
                self._call = await self._begin()
                self._connection.streams.add(self._call)
            self._reading = asyncio.create_task(self._call.read())
            response = await asyncio.shield(self._reading)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self._target) from None
        except asyncio.CancelledError:
            if self._was_cut():
                raise stopping() from None
            raise
        if response is grpc.aio.EOF:
            raise StopAsyncIteration
        return response

    async def aclose(self) -> None:
        """End the call, and wait for the read that is at work."""
        if self._call is None:
            return
        is_cut = self._call.cancel()
        self._connection.streams.discard(self._call)
        if self._reading is not None:
            await asyncio.wait({self._reading})
            if not self._reading.cancelled():
                self._reading.exception()  # which whoever left no longer wants to know
        if is_cut:
            await last_events(self._connection.channel)

    def _was_cut(self) -> bool:
        """Whether the call was cancelled because the store was closed, and not because its caller was."""
        task = asyncio.current_task()
        return self._is_closed() and (task is None or not task.cancelling())
