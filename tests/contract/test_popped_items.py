"""What stays of an item that was popped: nothing, once its session is cleared, deleted or expired."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from turntree.model import NativeItem
from turntree.store import Store
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.local_store import LocalStore

from tests.support.clock import StillClock
from tests.support.database import dump
from tests.support.items import turns, user
from tests.support.reading import items_of

SECRET = "what nobody is to know"

End = Callable[[Store], Awaitable[object]]
ENDS: dict[str, End] = {
    "clear_session": lambda store: store.clear_session("s"),
    "delete_session": lambda store: store.delete_session("s"),
}
every_end = pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())


@every_end
async def test_a_late_repeat_pops_nothing(store: Store, end: End) -> None:
    """A repeat of a pop after the end of its session gets no item, and does not pop what came later."""
    await store.add_items("s", [user("before"), user(SECRET)])
    assert (await store.pop_item("s", request_id="pop")).item == user(SECRET)
    await end(store)
    await store.add_items("s", turns(2))
    for _ in range(2):
        assert (await store.pop_item("s", request_id="pop")).item is None
    assert await items_of(store, "s") == turns(2)


@every_end
async def test_the_item_is_gone_from_the_file(end: End, tmp_path: Path) -> None:
    """After the end of its session no table holds an item that was popped from it; those of others stay."""
    db = tmp_path / "conversations.db"
    async with LocalStore(await SqliteEngine.open(db)) as store:
        for session_id in ("s", "t"):
            native = NativeItem(0, "dialect", json.dumps(f"{SECRET} of {session_id}").encode())
            await store.add_items(session_id, [user(f"{SECRET} of {session_id}")], natives=[native])
            popped = await store.pop_item(session_id, request_id=f"pop {session_id}", native_dialect="dialect")
            assert popped.native == native.native
        await end(store)
        assert f"{SECRET} of s" not in repr(dump(db))
        assert f"{SECRET} of t" in repr(dump(db))
        assert (await store.pop_item("t", request_id="pop t", native_dialect="dialect")).item == user(f"{SECRET} of t")


async def test_the_item_goes_with_an_expired_session(tmp_path: Path, clock: StillClock) -> None:
    """When an expired session is swept, no table holds an item that was popped from it."""
    db = tmp_path / "conversations.db"
    async with LocalStore(await SqliteEngine.open(db), clock=clock) as store:
        await store.add_items("s", [user(SECRET)])
        await store.update_session("s", expiry=timedelta(hours=1))
        await store.pop_item("s", request_id="pop")
        clock.advance(hours=2)
        assert SECRET in repr(dump(db))
        assert await store.delete_expired_sessions() == 1
        assert SECRET not in repr(dump(db))
