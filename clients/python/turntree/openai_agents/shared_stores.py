"""One store for each URL in a process, however many sessions name it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from turntree.connect import open_store
from turntree.store import Store


@dataclass(slots=True)
class _Shared:
    """A store that is open or being opened, and the ids of the objects that hold it."""

    opened: Future[Store] = field(default_factory=Future)
    holders: set[int] = field(default_factory=set)


_lock = threading.Lock()
_shared: dict[str, _Shared] = {}


async def acquire(url: str, holder: object) -> Store:
    """The store of a URL for one holder, opened by whoever comes first. Give it back with `release`."""
    with _lock:
        shared = _shared.setdefault(url, _Shared())
        opens = not shared.holders
        shared.holders.add(id(holder))
    try:
        if opens:
            try:
                shared.opened.set_result(await open_store(url))
            except BaseException as error:
                with _lock:
                    _shared.pop(url, None)
                shared.opened.set_exception(error)
        return await asyncio.wrap_future(shared.opened)
    except BaseException:
        with _lock:
            shared.holders.discard(id(holder))
        raise


async def release(url: str, holder: object) -> None:
    """Give back the store of a URL; the last one to do so closes it."""
    with _lock:
        shared = _shared[url]
        shared.holders.discard(id(holder))
        if shared.holders:
            return
        del _shared[url]
    await shared.opened.result().close()
