"""Two tenants who use the same names: whatever one got from the server means nothing with the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from turntree.errors import Conflict, ErrorReason, InvalidArgument
from turntree.model import DeltaKind
from turntree.remote import RemoteStore
from turntree_server.access.caller import Role
from turntree_server.app import Server
from turntree_server.settings import Settings

from tests.support.credentials import new_key
from tests.support.items import turns, user
from tests.support.reading import ended, items_of


@asynccontextmanager
async def tenants(folder: Path) -> AsyncIterator[tuple[RemoteStore, RemoteStore]]:
    """The stores of two tenants of one server, each with the same sessions."""
    keys = folder / "keys.json"
    tokens = [new_key(keys, name, Role.WRITER, name) for name in ("one", "other")]
    server = await Server.start(Settings(data_dir=folder / "data", port=0, grace_s=1, keys_file=keys))
    try:
        async with AsyncExitStack() as stack:
            one, other = [await stack.enter_async_context(RemoteStore(server.address, token=token)) for token in tokens]
            for store in (one, other):
                for session_id in ("s", "t"):
                    await store.add_items(session_id, turns(2))
            yield one, other
    finally:
        await server.stop()


async def test_a_cursor_of_another_tenant(tmp_path: Path) -> None:
    """A read or a watch with another tenant's cursor gets everything, and a write on that condition is a conflict."""
    async with tenants(tmp_path) as (one, other):
        cursor = (await one.get_items("s")).cursor
        delta = await other.get_items("s", cursor=cursor)
        assert (delta.kind, delta.items) == (DeltaKind.REPLACED, tuple(turns(2)))
        async with ended(other.watch("s", cursor=cursor)) as watch:
            delta = await anext(watch)
            assert (delta.kind, delta.items) == (DeltaKind.REPLACED, tuple(turns(2)))
        with pytest.raises(Conflict):
            await other.add_items("s", [user("q")], expected_cursor=cursor)
        assert await items_of(other, "s") == turns(2)


async def test_a_page_token_of_another_tenant(tmp_path: Path) -> None:
    """Another tenant's page token is refused as one that no server made."""
    async with tenants(tmp_path) as (one, other):
        sessions = (await one.list_sessions(page_size=1)).next_page_token
        usage = (await one.list_turns("s", page_size=1)).next_page_token
        assert sessions
        assert usage
        for refused in (
            other.list_sessions(page_size=1, page_token=sessions),
            other.list_turns("s", page_size=1, page_token=usage),
        ):
            with pytest.raises(InvalidArgument) as raised:
                await refused
            assert raised.value.reason is ErrorReason.PAGE_TOKEN_INVALID


async def test_a_request_id_of_another_tenant(tmp_path: Path) -> None:
    """A request id that another tenant has used is new: the call happens, whatever it says."""
    async with tenants(tmp_path) as (one, other):
        for store, text in ((one, "mine"), (other, "yours")):
            assert (await store.add_items("s", [user(text)], request_id="the same")).turn == 3
        assert (await items_of(one, "s"))[-1] == user("mine")
        assert (await items_of(other, "s"))[-1] == user("yours")


async def test_a_watch_tells_nothing_of_another_tenant(tmp_path: Path) -> None:
    """What another tenant writes to a session of the same name does not come out of a watch."""
    async with tenants(tmp_path) as (one, other), ended(one.watch("s")) as watch:
        assert (await anext(watch)).items == tuple(turns(2))
        await other.add_items("s", [user("yours")])
        await one.add_items("s", [user("mine")])
        assert (await anext(watch)).items == (user("mine"),)
