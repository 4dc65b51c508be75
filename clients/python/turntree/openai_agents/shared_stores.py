"""One store for each URL and token in a process, however many sessions name it.

A process that was forked has stores of its own, and leaves those of the one it comes from alone.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from weakref import WeakSet

from turntree.connect import open_store
from turntree.openai_agents.mutations import to_its_end
from turntree.store import Store
from turntree.token import TokenSource

Address = tuple[str, TokenSource | None]
"""A URL, and the token for it."""


@dataclass(slots=True)
class _Shared:
    """A store that is open or being opened, and the objects that hold it."""

    opened: Future[Store] = field(default_factory=Future)
    holders: WeakSet[object] = field(default_factory=WeakSet)


class _GaveUp(Exception):
    """Whoever was opening a store was stopped, as by the end of their event loop, before it was open."""


_lock = threading.Lock()
_shared: dict[tuple[int, Address], _Shared] = {}
"""By process and address."""


async def acquire(address: Address, holder: object) -> Store:
    """The store of an address for one holder, opened by whoever comes first. Give it back with `release`."""
    while True:
        with _lock:
            key = (os.getpid(), address)
            shared = _shared.get(key)
            opens = shared is None
            if shared is None:
                shared = _shared[key] = _Shared()
            shared.holders.add(holder)
        if opens:
            await to_its_end(_open(address, shared))
        with suppress(_GaveUp):
            return await _opened(shared)


async def release(address: Address, holder: object) -> None:
    """Give back the store of an address, if the holder has it; the last one to do so closes it."""
    with _lock:
        key = (os.getpid(), address)
        shared = _shared.get(key)
        if shared is None or holder not in shared.holders:
            return
        shared.holders.discard(holder)
        if shared.holders:
            return
        del _shared[key]
    await to_its_end(_close(shared))


async def _open(address: Address, shared: _Shared) -> None:
    try:
        url, token = address
        store = await open_store(url, token=token)
    except BaseException as error:
        key = (os.getpid(), address)
        with _lock:
            if _shared.get(key) is shared:
                del _shared[key]
        shared.opened.set_exception(error if isinstance(error, Exception) else _GaveUp())
        if not isinstance(error, Exception):
            raise
    else:
        shared.opened.set_result(store)


async def _close(shared: _Shared) -> None:
    try:
        store = await _opened(shared)
    except Exception:  # whoever asked for the store was told
        return
    await store.close()


async def _opened(shared: _Shared) -> Store:
    """Wait until the store is open; to be cancelled while waiting is no matter of the others who wait."""
    return await asyncio.shield(asyncio.wrap_future(shared.opened))
