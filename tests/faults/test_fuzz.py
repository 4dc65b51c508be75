"""Whatever bytes come in: a sensible answer, no word about the server's insides, no trace of what was refused."""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import grpc
import grpc.aio
import pytest
from turntree.request_ids import new_request_id
from turntree.v1 import pipeline_pb2

from tests.faults.fuzzing import (
    CURSORS,
    PAGE_TOKENS,
    PIPELINE,
    any_request,
    names_with,
    read_corpus,
    with_another_cursor,
    with_another_page_token,
)
from tests.faults.report import tallied
from tests.faults.rounds import new_seed, rounds
from tests.service.bad_input import World
from tests.service.test_bad_input import Running, running
from tests.support.database import dump
from tests.support.rpc import RPCS, call, read_refusal

CORPUS = Path(__file__).with_name("corpus.txt")
REQUESTS_OF_A_SERVER = rounds(60, 300)
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

Make = Callable[[str, World, random.Random], bytes]


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
                is_maybe = reply.error.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
                carried_out |= is_maybe or not reply.HasField("error")
                if is_maybe:
                    await no_write_waits(server)
                if reply.HasField("error"):
                    assert reply.error.code in REFUSED_BY_PIPELINE, (data.hex(), reply.error)
                    assert not any(word in reply.error.message for word in INSIDES), (data.hex(), reply.error.message)
        await stream.code()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        # The write may find the stream ended by a refusal.
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT, data.hex()
    return carried_out


async def no_write_waits(server: Running) -> None:
    """Wait until what was begun is done or will never be: one write comes after the other."""
    rpc = RPCS["ClearSession"]
    await call(server.channel, rpc, rpc.request(session_id="none", request_id=new_request_id()).SerializeToString())


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


async def fuzz(what: str, make: Make, names: Sequence[str], folder: Path, log: pytest.LogCaptureFixture) -> None:
    """Send random requests, some to each of these RPCs on a server of its own, and go round until the time is over."""
    seed = new_seed()
    rng = random.Random(seed)
    end = time.monotonic() + rounds(0, TORTURE_S)
    with tallied(f"random requests: {what}", seed) as tally:
        while tally.rounds == 0 or time.monotonic() < end:
            for name in names:
                async with running(await asyncio.to_thread(_new_folder, folder)) as server:
                    requests = ((name, make(name, server.world, rng)) for _ in range(REQUESTS_OF_A_SERVER))
                    await send_all(server, requests, log)
                tally.rounds += REQUESTS_OF_A_SERVER


def _new_folder(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))


async def test_random_requests(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Random requests to any RPC are answered or refused, and never bring the server to a fault."""
    await fuzz("any bytes to each RPC", any_request, tuple(RPCS), tmp_path, caplog)


async def test_random_messages_of_a_pipeline(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Random messages on a pipeline are answered or refused, and never bring the server to a fault."""
    await fuzz("messages of a pipeline", any_request, [PIPELINE], tmp_path, caplog)


async def test_random_cursors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Cursors that no server made are taken for what they say or refused, and never bring the server to a fault."""
    await fuzz("cursors", with_another_cursor, names_with(CURSORS), tmp_path, caplog)


async def test_random_page_tokens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Page tokens that no server made are taken for what they say or refused, and never bring the server to a fault."""
    await fuzz("page tokens", with_another_page_token, names_with(PAGE_TOKENS), tmp_path, caplog)
