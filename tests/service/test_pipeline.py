"""The pipeline: each call on the stream is what it is on its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from turntree.errors import Conflict, DeadlineExceeded, NotFound, Unavailable
from turntree.model import Written
from turntree.remote import RemoteStore
from turntree.v1 import pipeline_pb2, session_pb2
from turntree.v1.pipeline_pb2_grpc import PipelineServiceStub
from turntree_server.app import Server
from turntree_server.service.pipeline import CALLS_AT_WORK_MAX
from turntree_server.settings import Settings

from tests.support.items import turns, user
from tests.support.rpc import RPCS

WITHIN_S = 30


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server on a new database."""
    server = await Server.start(Settings(db=str(tmp_path / "conversations.db"), port=0, grace_s=5))
    yield server
    await server.stop()


@pytest.fixture
async def remote(server: Server) -> AsyncIterator[RemoteStore]:
    """A client of the server."""
    async with RemoteStore(server.address) as store:
        yield store


async def answered(server: Server, *calls: pipeline_pb2.PipelineCall) -> dict[int, pipeline_pb2.PipelineReply]:
    """Send calls in one message, and collect as many replies."""
    replies: dict[int, pipeline_pb2.PipelineReply] = {}
    async with asyncio.timeout(WITHIN_S), grpc.aio.insecure_channel(server.address) as channel:
        stream = PipelineServiceStub(channel).Pipeline()
        await stream.write(pipeline_pb2.PipelineRequest(calls=calls))
        while len(replies) < len(calls):
            response = await stream.read()
            assert isinstance(response, pipeline_pb2.PipelineResponse)
            replies |= {reply.call_id: reply for reply in response.replies}
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK
    return replies


def test_it_carries_every_unary_call() -> None:
    """Every unary RPC of the other services can be called on the stream, and answers there as it does on its own."""
    unary = {name: rpc.method for name, rpc in RPCS.items() if not rpc.method.server_streaming}
    requests = pipeline_pb2.PipelineCall.DESCRIPTOR.oneofs_by_name["request"].fields
    responses = pipeline_pb2.PipelineReply.DESCRIPTOR.oneofs_by_name["response"].fields
    assert {field.message_type for field in requests} == {method.input_type for method in unary.values()}
    assert {field.message_type for field in responses if field.name != "error"} == {
        method.output_type for method in unary.values()
    }


async def test_replies_name_their_calls(server: Server) -> None:
    """Calls of one message are answered each by its own id, refusals as the status they would have ended with."""
    replies = await answered(
        server,
        pipeline_pb2.PipelineCall(
            call_id=7, add_items=session_pb2.AddItemsRequest(session_id="s", items=[user("hi")], request_id="r")
        ),
        pipeline_pb2.PipelineCall(call_id=8, get_session=session_pb2.GetSessionRequest(session_id="absent")),
        pipeline_pb2.PipelineCall(call_id=9),
    )
    assert replies[7].add_items.turn == 1
    reasons = {}
    for call_id in (8, 9):
        info = error_details_pb2.ErrorInfo()
        assert replies[call_id].error.details[0].Unpack(info)
        reasons[call_id] = info.reason
    assert reasons == {8: "ERROR_REASON_SESSION_NOT_FOUND", 9: "ERROR_REASON_FIELD_REQUIRED"}


async def test_a_malformed_message_ends_the_stream(server: Server) -> None:
    """A message that is none is refused as INVALID_ARGUMENT, and the server goes on."""
    async with asyncio.timeout(WITHIN_S), grpc.aio.insecure_channel(server.address) as channel:
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            "/turntree.v1.PipelineService/Pipeline"
        )
        stream = method()
        await stream.write(b"\xff\xff")
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (await answered(server, _get(1)))[1].HasField("get_items")


def _get(call_id: int) -> pipeline_pb2.PipelineCall:
    return pipeline_pb2.PipelineCall(call_id=call_id, get_items=session_pb2.GetItemsRequest(session_id="s"))


async def test_more_calls_than_are_at_work_at_once(server: Server) -> None:
    """A message with more calls than a stream has at work at once is answered whole."""
    count = 2 * CALLS_AT_WORK_MAX + 1
    replies = await answered(server, *(_get(number) for number in range(1, count + 1)))
    assert len(replies) == count


async def test_many_callers_of_one_store(remote: RemoteStore) -> None:
    """Callers that share a stream each get their own answers, and their writes are all there."""

    async def converse(number: int) -> None:
        session_id = f"session {number}"
        for turn in range(1, 6):
            written = await remote.add_items(session_id, turns(1, first=turn))
            assert written.turn == turn
            delta = await remote.get_items(session_id, cursor=written.cursor)
            assert delta.items == ()
        with pytest.raises(NotFound):
            await remote.get_branch(session_id, "absent")

    await asyncio.gather(*(converse(number) for number in range(64)))


async def test_a_race_on_one_stream_has_one_winner(remote: RemoteStore) -> None:
    """Of conditional writes that race on one stream exactly one wins."""
    cursor = (await remote.add_items("s", [user("first")])).cursor
    writes = (remote.add_items("s", [user(str(number))], expected_cursor=cursor) for number in range(16))
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(outcome, Written) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 15


async def test_a_caller_that_leaves_disturbs_nobody(remote: RemoteStore) -> None:
    """A cancelled call and one past its deadline leave the stream to the others."""
    impatient = RemoteStore(remote.target, timeout_s=0.000_001)
    with pytest.raises(DeadlineExceeded):
        await impatient.get_items("s")
    await impatient.close()
    leaving = asyncio.create_task(remote.get_items("s"))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (await remote.add_items("s", [user("hi")])).turn == 1


async def test_a_broken_stream_is_opened_again(remote: RemoteStore) -> None:
    """When a stream breaks in the middle of calls, they are sent again on a new one, and none happens twice."""
    await remote.add_items("s", [user("0")])
    pipeline = remote._connection().pipeline
    for number in range(1, 11):
        writing = asyncio.create_task(remote.add_items("s", [user(str(number))]))
        await asyncio.sleep(0)
        assert pipeline._stream is not None
        pipeline._stream.cancel()
        assert (await asyncio.wait_for(writing, WITHIN_S)).turn == number + 1
    assert list((await remote.read_items("s")).items) == [user(str(number)) for number in range(11)]


async def test_an_idle_stream_does_not_hold_a_shutdown(server: Server, remote: RemoteStore) -> None:
    """A server stops within its grace though a client keeps its stream open; calls fail as unavailable then."""
    await remote.add_items("s", [user("hi")])
    await asyncio.wait_for(server.stop(), 4)
    remote._timeout_s = 0.5
    with pytest.raises((Unavailable, DeadlineExceeded)):
        await remote.get_items("s")
