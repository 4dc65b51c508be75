"""The stores of a server: one for each namespace, opened when it is first asked for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

from turntree.errors import ErrorReason, PermissionDenied, TurntreeError, Unavailable, exhausted, stopping

from turntree_server.access.caller import NAMESPACE_DEFAULT
from turntree_server.local_store import LocalStore

log = logging.getLogger(__name__)

_RETRY_S = 0.5
_REST_S_MIN = 1.0
"""How long a database that could not be opened is left alone at least, so that its callers keep no disk busy."""


class Namespaces(ABC):
    """Gives calls the store of their caller's namespace."""

    description: str
    """What is served, for people."""

    @abstractmethod
    async def open(self) -> None:
        """Make ready what must be there before the first call."""

    @abstractmethod
    async def acquire(self, namespace: str) -> LocalStore:
        """The store of a namespace, which stays open until it is given back with `release`.

        Raises:
            PermissionDenied: NAMESPACE_NOT_SERVED.
            ResourceExhausted: OVERLOADED, when as many as may be open are all at work.
            Unavailable: STORE_FAILED, when its database cannot be opened.
        """

    @abstractmethod
    def release(self, namespace: str) -> None:
        """Give back a store, once for each `acquire`."""

    @abstractmethod
    def open_names(self) -> Iterable[str]:
        """The namespaces whose stores are open."""

    @abstractmethod
    def end_watches(self) -> None:
        """End every watch, also those that begin from now on, so that their callers resume elsewhere."""

    @abstractmethod
    async def close(self) -> None:
        """Close every store."""

    @contextlib.asynccontextmanager
    async def use(self, namespace: str) -> AsyncIterator[LocalStore]:
        """The store of a namespace, for as long as the block runs."""
        store = await self.acquire(namespace)
        try:
            yield store
        finally:
            self.release(namespace)


class OneNamespace(Namespaces):
    """One database, which is the namespace `default`.

    Args:
        store: The store.
        opening: Opens it; None when it is open already.
    """

    def __init__(self, store: LocalStore, opening: Callable[[], Awaitable[None]] | None = None) -> None:
        self.store = store
        self.description = store.engine.description
        self._opening = opening

    async def open(self) -> None:
        if self._opening is not None:
            await self._opening()
            self._opening = None

    async def acquire(self, namespace: str) -> LocalStore:
        if namespace != NAMESPACE_DEFAULT:
            raise PermissionDenied(
                ErrorReason.NAMESPACE_NOT_SERVED,
                f"this server does not serve the namespace '{namespace}'",
                namespace=namespace,
            )
        return self.store

    def release(self, namespace: str) -> None:
        pass

    def open_names(self) -> Iterable[str]:
        return (NAMESPACE_DEFAULT,)

    def end_watches(self) -> None:
        self.store.end_watches()

    async def close(self) -> None:
        if self._opening is None:
            await self.store.close()


@dataclass(slots=True)
class _Opened:
    """A store that is open or being opened, and how many calls have it."""

    opening: asyncio.Task[LocalStore]
    uses: int = 0


class ManyNamespaces(Namespaces):
    """A database for each namespace, opened on demand; of those at rest, the least recently used makes room.

    Args:
        open_store: Opens the store of a namespace, and makes its database if there is none.
        open_max: How many may be open at once.
        description: What is served, for people.
        opening: Makes the place for them, and returns what gives it free.
    """

    def __init__(
        self,
        open_store: Callable[[str], Awaitable[LocalStore]],
        open_max: int,
        description: str,
        opening: Callable[[], Awaitable[Callable[[], None]]] | None = None,
    ) -> None:
        self.description = description
        self._opening = opening
        self._give_free: Callable[[], None] = lambda: None
        self._open_store = open_store
        self._open_max = open_max
        self._opened: dict[str, _Opened] = {}  # the least recently used first
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._resting: dict[str, float] = {}  # could not be opened, and until when nobody tries again
        self._watching_ended = False
        self._is_closed = False

    async def open(self) -> None:
        if self._opening is not None:
            self._give_free = await self._opening()

    async def acquire(self, namespace: str) -> LocalStore:
        while True:
            if self._is_closed:
                raise stopping()
            opened = self._opened.pop(namespace, None)
            if opened is not None:
                self._opened[namespace] = opened
            elif (rest_s := self._resting.get(namespace, 0) - asyncio.get_running_loop().time()) > 0:
                raise _cannot_be_opened(rest_s)
            elif len(self._opened) + len(self._closing) < self._open_max and namespace not in self._closing:
                opened = self._opened[namespace] = _Opened(asyncio.create_task(self._open(namespace)))
                opened.opening.add_done_callback(_seen)
            else:
                await self._make_room(namespace)
                continue
            if opened.opening.done() and not opened.opening.exception():
                opened.uses += 1
                return opened.opening.result()
            opened.uses += 1
            try:
                return await asyncio.shield(opened.opening)
            except BaseException:
                opened.uses -= 1
                raise

    def release(self, namespace: str) -> None:
        self._opened[namespace].uses -= 1

    def open_names(self) -> Iterable[str]:
        return tuple(name for name, opened in self._opened.items() if opened.opening.done())

    def end_watches(self) -> None:
        self._watching_ended = True
        for opened in self._opened.values():
            if opened.opening.done() and not opened.opening.exception():
                opened.opening.result().end_watches()

    async def close(self) -> None:
        self._is_closed = True
        for name, opened in tuple(self._opened.items()):
            opened.opening.cancel()  # which changes nothing if it is open
            self._close(name)
        await asyncio.gather(*self._closing.values())
        self._give_free()

    async def _open(self, namespace: str) -> LocalStore:
        """Open a store, and let it rest for at least as long as that took when it cannot be opened."""
        time = asyncio.get_running_loop().time
        began = time()
        try:
            store = await self._open_store(namespace)
            if self._watching_ended:
                store.end_watches()
            return store
        except TurntreeError as error:
            self._opened.pop(namespace, None)
            # What it says is for the operator: a client may not read where databases are.
            log.error("the database of the namespace %s cannot be opened: %s", namespace, error.__cause__ or error)
            now = time()
            rest_s = max(_REST_S_MIN, now - began)
            self._resting = {name: until for name, until in self._resting.items() if until > now}
            self._resting[namespace] = now + rest_s
            raise _cannot_be_opened(rest_s) from None
        except BaseException:
            self._opened.pop(namespace, None)
            raise

    async def _make_room(self, namespace: str) -> None:
        """Wait for a store that closes, after asking one at rest to do so if need be."""
        if namespace not in self._closing and not self._closing:
            at_rest = (name for name, opened in self._opened.items() if not opened.uses and opened.opening.done())
            name = next(at_rest, None)
            if name is None:
                raise exhausted(ErrorReason.OVERLOADED, f"{self._open_max} namespaces at work", retry_after_s=_RETRY_S)
            self._close(name)
        waited_for = [self._closing[namespace]] if namespace in self._closing else self._closing.values()
        await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)

    def _close(self, namespace: str) -> None:
        opened = self._opened.pop(namespace)

        async def close() -> None:
            await asyncio.wait([opened.opening])
            try:
                if not opened.opening.cancelled() and not opened.opening.exception():
                    await opened.opening.result().close()
            except Exception:  # it is closed all the same, and its writes are on disk or were refused
                log.exception("the database of the namespace %s did not close in order", namespace)
            finally:
                del self._closing[namespace]

        self._closing[namespace] = asyncio.create_task(close())


def _cannot_be_opened(retry_after_s: float) -> Unavailable:
    error = Unavailable(ErrorReason.STORE_FAILED, "the database of the namespace cannot be opened")
    error.retry_after_s = retry_after_s
    return error


def _seen(task: asyncio.Task[LocalStore]) -> None:
    """Callers that waited were told; when none is left, nobody needs to be."""
    if not task.cancelled():
        task.exception()
