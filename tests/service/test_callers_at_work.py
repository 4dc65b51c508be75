"""Calls that wait: whose credential ends meanwhile is refused, and nobody waits for what others do not take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from h2.settings import SettingCodes
from turntree.errors import Unauthenticated
from turntree.remote import RemoteStore
from turntree.v1.pipeline_pb2 import PipelineCall, PipelineRequest, PipelineResponse
from turntree.v1.session_pb2 import AddItemsRequest, GetItemsRequest, StreamItemsRequest
from turntree.v1.session_pb2_grpc import SessionServiceStub
from turntree_server.access.keys import revoke_key
from turntree_server.app import Server
from turntree_server.service.pipeline import CALLS_AT_WORK_MAX
from turntree_server.service.room import LARGE_BYTES, READS_MAX
from turntree_server.settings import LoadLimits, Settings

from tests.support.credentials import new_key
from tests.support.http2 import Speaker, begin, connect
from tests.support.items import large, user

WITHIN_S = 30
GET_ITEMS = "SessionService/GetItems"
BIG = GetItemsRequest(session_id="big")
SMALL = GetItemsRequest(session_id="small")
MIB = 1024 * 1024
GONE_WITHIN_S = 5
OK = 0
RESOURCE_EXHAUSTED = 8
UNAUTHENTICATED = 16


@asynccontextmanager
async def serving(folder: Path, *, calls_max: int = 100) -> AsyncIterator[Server]:
    """A server that asks for a key of `keys.json`."""
    settings = Settings(
        data_dir=folder / "data",
        port=0,
        grace_s=1,
        keys_file=folder / "keys.json",
        load=LoadLimits(calls_max=calls_max),
    )
    server = await Server.start(settings)
    try:
        async with asyncio.timeout(WITHIN_S):
            yield server
    finally:
        await server.stop()


async def fill(server: Server, key: str) -> None:
    """Write a session whose answer is large, and one whose answer is not."""
    async with RemoteStore(server.address, token=key) as store:
        await store.add_items("big", [large("1", 2 * LARGE_BYTES)])
        await store.add_items("small", [user("1")])


def revoke(server: Server, folder: Path, name: str) -> None:
    """Revoke a key, and let the server see it now."""
    revoke_key(folder / "keys.json", name)
    server._gate.refresh()


async def test_a_read_that_waited_is_refused_when_its_key_was_revoked(tmp_path: Path) -> None:
    """What waits for room when its key is revoked is not read any more; what was at work is answered."""
    key = new_key(tmp_path / "keys.json", "k")
    async with serving(tmp_path) as server, AsyncExitStack() as stack:
        await fill(server, key)
        client = Speaker(*await connect(stack, server.address, {SettingCodes.INITIAL_WINDOW_SIZE: 0}))
        at_work = [2 * number + 1 for number in range(READS_MAX)]
        for stream_id in at_work:
            client.ask(stream_id, GET_ITEMS, BIG, token=key)
        waiting = at_work[-1] + 2
        client.ask(waiting, GET_ITEMS, SMALL, token=key)
        await _settled(server)
        revoke(server, tmp_path, "k")
        client.make_room(*at_work, waiting)
        await client.hear(lambda: len(client.ended) == READS_MAX + 1)
        assert [client.statuses[stream_id] for stream_id in at_work] == [OK] * READS_MAX
        assert client.statuses[waiting] == UNAUTHENTICATED
        assert not client.received[waiting]


@pytest.mark.parametrize("path", [GET_ITEMS, "SessionService/StreamItems", "PipelineService/Pipeline"])
async def test_a_message_of_a_stranger_is_not_waited_for(path: str, tmp_path: Path) -> None:
    """Who shows no valid credential is refused before the message is there, so that nothing of it is held."""
    key = new_key(tmp_path / "keys.json", "k")
    async with serving(tmp_path) as server, AsyncExitStack() as stack:
        client = Speaker(*await connect(stack, server.address))
        for stream_id, token in {1: key, 3: None, 5: f"{key}x"}.items():
            begin(client.http, stream_id, path, token=token)
            client.http.send_data(stream_id, b"\0" + MIB.to_bytes(4, "big") + b"the rest never comes")
        client.writer.write(client.http.data_to_send())
        await client.hear(lambda: {3, 5} <= client.statuses.keys(), within_s=GONE_WITHIN_S)
        assert client.statuses == {3: UNAUTHENTICATED, 5: UNAUTHENTICATED}


async def test_a_large_message_of_a_stranger_is_refused(tmp_path: Path) -> None:
    """Who sends a large message without a valid credential is told that it is not, and not that a stream broke."""
    new_key(tmp_path / "keys.json", "k")
    request = AddItemsRequest(session_id="s", items=[large("1", 8 * MIB)], request_id="r")
    async with serving(tmp_path) as server, grpc.aio.insecure_channel(server.address) as channel:
        for _ in range(20):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await SessionServiceStub(channel).AddItems(request)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        async with RemoteStore(server.address, token="tt_wrong") as store:
            with pytest.raises(Unauthenticated):
                await store.add_items("s", [large("1", 8 * MIB)])


async def _settled(server: Server) -> None:
    """Wait until the calls that came in are done, or wait for what does not come."""
    unchanged, seen = 0, -1
    while unchanged < 25:
        await asyncio.sleep(0.02)
        now = sum(use.calls for use in server._gate._load._uses.values())
        unchanged, seen = (unchanged + 1 if now == seen else 0), now


async def test_a_stream_that_is_cut_in_its_first_message_is_told(tmp_path: Path) -> None:
    """A stream whose key is revoked before its client took anything ends with the reason once the client reads."""
    key = new_key(tmp_path / "keys.json", "k")
    async with serving(tmp_path) as server, AsyncExitStack() as stack:
        await fill(server, key)
        client = Speaker(*await connect(stack, server.address, {SettingCodes.INITIAL_WINDOW_SIZE: 0}))
        client.ask(1, "SessionService/StreamItems", StreamItemsRequest(session_id="big"), token=key)
        await _settled(server)
        revoke(server, tmp_path, "k")
        await asyncio.sleep(0.1)
        client.make_room(1)
        await client.hear(lambda: 1 in client.ended)
        assert client.statuses == {1: UNAUTHENTICATED}


async def test_a_pipeline_ends_when_its_key_was_revoked(tmp_path: Path) -> None:
    """Of calls that came in one message, those that were not begun when the key was revoked are not carried out."""
    key = new_key(tmp_path / "keys.json", "k")
    calls = [PipelineCall(call_id=number, get_items=SMALL) for number in range(1, 4 * CALLS_AT_WORK_MAX)]
    async with serving(tmp_path, calls_max=len(calls)) as server, AsyncExitStack() as stack:
        await fill(server, key)
        client = Speaker(*await connect(stack, server.address, {SettingCodes.INITIAL_WINDOW_SIZE: 0}))
        client.ask(1, "PipelineService/Pipeline", PipelineRequest(calls=calls), token=key)
        await _settled(server)
        revoke(server, tmp_path, "k")
        client.make_room(1)
        await client.hear(lambda: 1 in client.ended)
        assert client.statuses == {1: UNAUTHENTICATED}
        replies = [reply for message in client.messages(1) for reply in PipelineResponse.FromString(message).replies]
        assert not any(reply.HasField("error") for reply in replies)
        assert CALLS_AT_WORK_MAX <= len(replies) <= len(calls) // 2


async def test_reflection_ends_when_its_key_was_revoked(tmp_path: Path) -> None:
    """Who asked what the server offers, and still listens, is told when the key is no longer valid."""
    key = new_key(tmp_path / "keys.json", "k")
    async with serving(tmp_path) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        stream: Any = stub.ServerReflectionInfo(metadata=(("authorization", f"Bearer {key}"),))
        await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        assert (await stream.read()).list_services_response.service
        revoke(server, tmp_path, "k")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stream.read()
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_client_goes_on_with_a_new_key(tmp_path: Path) -> None:
    """A client with a function for its key makes calls that wait when it is revoked again, with the new one."""
    keys = tmp_path / "keys.json"
    current = {"key": new_key(keys, "old")}
    async with (
        serving(tmp_path, calls_max=10_000) as server,
        RemoteStore(server.address, token=lambda: current["key"]) as store,
    ):
        await fill(server, current["key"])
        reads = [asyncio.create_task(store.get_items("big")) for _ in range(500)]
        await asyncio.sleep(0.1)
        current["key"] = new_key(keys, "new")
        revoke(server, tmp_path, "old")
        assert [len(delta.items) for delta in await asyncio.gather(*reads)] == [1] * 500


async def test_a_neighbour_on_the_connection_is_not_waited_for(tmp_path: Path) -> None:
    """Callers whose calls come on one connection, as through a proxy, do not wait for what another does not take."""
    keys = tmp_path / "keys.json"
    slow, good = new_key(keys, "slow", namespace="slow"), new_key(keys, "good", namespace="good")
    async with serving(tmp_path) as server, AsyncExitStack() as stack:
        await fill(server, slow)
        await fill(server, good)
        client = Speaker(*await connect(stack, server.address, {SettingCodes.INITIAL_WINDOW_SIZE: 0}))
        for number in range(2 * READS_MAX):
            client.ask(2 * number + 1, GET_ITEMS, BIG, token=slow)
        await _settled(server)
        last = 4 * READS_MAX + 1
        client.ask(last, GET_ITEMS, SMALL, token=good)
        client.make_room(last)
        await client.hear(lambda: last in client.ended)
        assert client.statuses == {last: OK}


async def test_calls_that_wait_count(tmp_path: Path) -> None:
    """Reads that wait for room are calls at once like others: beyond the limit of the credential they are refused."""
    key = new_key(tmp_path / "keys.json", "k")
    async with serving(tmp_path, calls_max=READS_MAX + 1) as server, AsyncExitStack() as stack:
        await fill(server, key)
        client = Speaker(*await connect(stack, server.address, {SettingCodes.INITIAL_WINDOW_SIZE: 0}))
        for number in range(READS_MAX):
            client.ask(2 * number + 1, GET_ITEMS, BIG, token=key)
        await _settled(server)
        more = range(2 * READS_MAX + 1, 6 * READS_MAX, 2)
        for stream_id in more:
            client.ask(stream_id, GET_ITEMS, BIG, token=key)
        client.make_room()
        await client.hear(lambda: len(client.ended) >= len(more) - READS_MAX - 1)
        assert set(client.statuses.values()) == {RESOURCE_EXHAUSTED}
