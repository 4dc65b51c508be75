"""Whatever bytes come in: a sensible answer, no word about the server's insides, no trace of what was refused."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from pathlib import Path

import grpc
import grpc.aio
import pytest
from turntree.v1 import pipeline_pb2

from tests.faults.fuzzing import NAMES, PIPELINE, any_request, read_corpus
from tests.faults.rounds import new_seed, rounds
from tests.service.test_bad_input import Running, running
from tests.support.database import dump
from tests.support.rpc import RPCS, call, read_refusal

CORPUS = Path(__file__).with_name("corpus.txt")
REQUESTS_OF_A_SERVER = 300
TORTURE_S = 600
INSIDES = ("Traceback", "sqlite", "SELECT", "INSERT", "python", "0x", "File ", "Error(")
FINE = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
REFUSED_BY_PIPELINE = {code.value[0] for code in FINE}


async def send(server: Running, name: str, data: bytes) -> bool:
    """Send bytes to an RPC, insist on a sensible answer, and return whether anything was carried out."""
    if name == PIPELINE:
        return await send_to_pipeline(server, data)
    try:
        await asyncio.wait_for(call(server.channel, RPCS[name], data), 10)
    except grpc.aio.AioRpcError as error:
        assert_sensible(error, name, data)
        return False
    return True


async def send_to_pipeline(server: Running, data: bytes) -> bool:
    """Send bytes as a message on a new stream, and read to its end."""
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = server.channel.stream_stream(
        "/turntree.v1.PipelineService/Pipeline"
    )
    stream = method(timeout=10)
    carried_out = False
    try:
        await stream.write(data)
        await stream.done_writing()
        while isinstance(answer := await stream.read(), bytes):
            for reply in pipeline_pb2.PipelineResponse.FromString(answer).replies:
                carried_out |= not reply.HasField("error")
                if reply.HasField("error"):
                    assert reply.error.code in REFUSED_BY_PIPELINE, (data.hex(), reply.error)
                    assert not any(word in reply.error.message for word in INSIDES), (data.hex(), reply.error.message)
        await stream.code()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        # The write may find the stream ended by a refusal.
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT, data.hex()
    return carried_out


def assert_sensible(error: grpc.aio.AioRpcError, name: str, data: bytes) -> None:
    """It is a refusal with its reason, which says nothing of the server's insides."""
    assert error.code() in FINE, (name, data.hex(), error.code(), error.details())
    assert read_refusal(error).reason.startswith("ERROR_REASON_"), (name, data.hex())
    assert not any(word in (error.details() or "") for word in INSIDES), (name, data.hex(), error.details())


async def send_all(server: Running, requests: Iterable[tuple[str, bytes]], log: pytest.LogCaptureFixture) -> None:
    """Send requests one after the other; what is refused leaves no trace, and nothing is logged as a fault."""
    before = dump(server.database)
    for name, data in requests:
        if await send(server, name, data):
            before = dump(server.database)
        else:
            assert dump(server.database) == before, (name, data.hex())
        faults = [record for record in log.records if record.levelno >= logging.ERROR]
        assert not faults, (name, data.hex(), faults)


async def test_the_corpus(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Requests that were kept, one for each way in which a request was once refused, are answered as they should be."""
    async with running(tmp_path) as server:
        await send_all(server, read_corpus(CORPUS.read_text()), caplog)


@pytest.mark.parametrize("name", NAMES)
async def test_random_requests(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Random requests to an RPC are answered or refused, and never bring the server to a fault."""
    rng = random.Random(new_seed())
    end = time.monotonic() + rounds(0, TORTURE_S)
    is_first = True
    while is_first or time.monotonic() < end:
        is_first = False
        folder = tmp_path / str(rng.random())
        folder.mkdir()
        async with running(folder) as server:
            count = rounds(60, REQUESTS_OF_A_SERVER)
            await send_all(server, ((name, any_request(name, server.world, rng)) for _ in range(count)), caplog)
