"""One store for each URL in a process, however many sessions name it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from weakref import WeakSet

from turntree.connect import open_store
from turntree.openai_agents.mutations import to_its_end
from turntree.store import Store


@dataclass(slots=True)
class _Shared:
    """A store that is open or being opened, and the objects that hold it."""

    opened: Future[Store] = field(default_factory=Future)
    holders: WeakSet[object] = field(default_factory=WeakSet)


_lock = threading.Lock()
_shared: dict[str, _Shared] = {}


async def acquire(url: str, holder: object) -> Store:
    """The store of a URL for one holder, opened by whoever comes first. Give it back with `release`."""
    with _lock:
        shared = _shared.get(url)
        opens = shared is None
        if shared is None:
            shared = _shared[url] = _Shared()
        shared.holders.add(holder)
    if opens:
        await to_its_end(_open(url, shared))
    return await _opened(shared)


async def release(url: str, holder: object) -> None:
    """Give back the store of a URL, if the holder has it; the last one to do so closes it."""
    with _lock:
        shared = _shared.get(url)
        if shared is None or holder not in shared.holders:
            return
        shared.holders.discard(holder)
        if shared.holders:
            return
        del _shared[url]
    await to_its_end(_close(shared))


async def _open(url: str, shared: _Shared) -> None:
    try:
        store = await open_store(url)
    except BaseException as error:
        with _lock:
            if _shared.get(url) is shared:
                del _shared[url]
        shared.opened.set_exception(error)
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
