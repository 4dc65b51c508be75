"""The gate that every call passes: who calls, may they, is there room, and which store is theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from turntree.errors import ErrorReason, PermissionDenied, Unauthenticated
from turntree.store import Store

from turntree_server.access.authenticator import Authenticator
from turntree_server.access.caller import Caller
from turntree_server.access.load import Load
from turntree_server.service.roles import ROLES, WATCHES

_caller: ContextVar[Caller] = ContextVar("_caller")
_store: ContextVar[Store] = ContextVar("_store")


class Stores(Protocol):
    """The stores of the namespaces."""

    async def acquire(self, namespace: str) -> Store:
        """The store of a namespace, until `release`."""

    def release(self, namespace: str) -> None:
        """Give it back."""


def caller_of_call() -> Caller:
    """Whose call is being carried out."""
    return _caller.get()


class StoreOfCall:
    """What services stand on: the store of the namespace whose call is being carried out."""

    @property
    def store(self) -> Store:
        """The store of this call."""
        return _store.get()


class _Admission:
    """What `Gate.call` gives. Written out, because it is on the way of every call."""

    __slots__ = ("_caller", "_load", "_name", "_stores")

    def __init__(self, load: Load, stores: Stores, caller: Caller, name: str) -> None:
        self._load = load
        self._stores = stores
        self._caller = caller
        self._name = name

    async def __aenter__(self) -> None:
        caller = self._caller
        needed = ROLES[self._name]
        if not caller.role.covers(needed):
            message = f"the role '{caller.role}' may not call {self._name}: it needs '{needed}'"
            raise PermissionDenied(ErrorReason.ROLE_INSUFFICIENT, message, role=caller.role, limit=needed)
        self._load.begin(caller.credential, is_watch=self._name in WATCHES)
        try:
            _store.set(await self._stores.acquire(caller.namespace))
        except BaseException:
            self._end()
            raise

    async def __aexit__(self, *_: object) -> None:
        try:
            self._stores.release(self._caller.namespace)
        finally:
            self._end()

    def _end(self) -> None:
        self._load.end(self._caller.credential, is_watch=self._name in WATCHES)


class Gate:
    """Lets calls in, one by one, and ends streams whose credential ends."""

    def __init__(self, authenticator: Authenticator, load: Load, stores: Stores) -> None:
        self._authenticator = authenticator
        self._load = load
        self._stores = stores
        self._streams: dict[asyncio.Timeout, Caller] = {}

    async def identify(self, metadata: Any) -> Caller:
        """Whose call this is; its handler learns it by `caller_of_call`.

        Raises:
            Unauthenticated: CREDENTIAL_REQUIRED or CREDENTIAL_INVALID.
        """
        caller = await self._authenticator.caller_of(metadata or ())
        _caller.set(caller)
        return caller

    def still(self, caller: Caller) -> Caller:
        """The caller of a stream as of now; see `Authenticator.still`."""
        return self._authenticator.still(caller)

    def call(self, caller: Caller, name: str) -> _Admission:
        """Let a call in, count it, and give its handler the store of its caller, for as long as the block runs.

        Raises:
            PermissionDenied: ROLE_INSUFFICIENT or NAMESPACE_NOT_SERVED.
            ResourceExhausted: RATE_EXCEEDED, CONCURRENCY_EXCEEDED or OVERLOADED.
        """
        return _Admission(self._load, self._stores, caller, name)

    @asynccontextmanager
    async def while_valid(self, caller: Caller) -> AsyncIterator[None]:
        """Let a stream run for as long as its caller's credential is valid.

        Raises:
            Unauthenticated: CREDENTIAL_INVALID, as soon as it is not.
        """
        until = asyncio.timeout(None)
        try:
            async with until:
                self._streams[until] = caller
                yield
        except TimeoutError:
            if until.expired():
                raise Unauthenticated(ErrorReason.CREDENTIAL_INVALID, "the credential is no longer valid") from None
            raise
        finally:
            self._streams.pop(until, None)

    async def refresh_signing_keys(self) -> None:
        """Take note of signing keys that changed, which may take a while."""
        await self._authenticator.refresh_signing_keys()

    def refresh(self) -> None:
        """Take note of API keys that changed, and end the streams of credentials that are no longer valid."""
        self._authenticator.reload_keys()
        self._load.forget_idle()
        for until, caller in tuple(self._streams.items()):
            try:
                now = self._authenticator.still(caller)
            except Unauthenticated:
                now = None
            if now is not None and now.namespace == caller.namespace:
                self._streams[until] = now
            else:
                del self._streams[until]
                until.reschedule(asyncio.get_running_loop().time())
