"""What must hold for whatever comes in: a sensible answer, no word about the insides, no trace of what was refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import grpc.aio
from pysqlite3 import dbapi2 as sqlite3
from turntree.request_ids import new_request_id
from turntree.v1 import pipeline_pb2

from tests.faults.fuzzing import PIPELINE
from tests.service.test_bad_input import Running
from tests.support.database import Dump, dump
from tests.support.rpc import RPCS, call, read_refusal

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


class Faults(logging.Handler):
    """What was logged as a fault."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))


@contextmanager
def faults() -> Iterator[Faults]:
    """Note what is logged as a fault within."""
    noted = Faults()
    logging.getLogger().addHandler(noted)
    try:
        yield noted
    finally:
        logging.getLogger().removeHandler(noted)


class Trace:
    """What a database holds, and whether that has changed; it is read as a whole only after somebody wrote."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(path, timeout=5)
        self._version = 0
        self._content: Dump = {}
        self.has_changed()

    def has_changed(self) -> bool:
        """Whether it holds something else than when this was last asked."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return False
        before, self._version, self._content = self._content, version, dump(self._path)
        return self._content != before

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Oracle:
    """Sends requests to a server, and insists on what must hold for each of them."""

    def __init__(self, server: Running, trace: Trace, noted: Faults) -> None:
        self.world = server.world
        self._server = server
        self._trace = trace
        self._faults = noted

    async def check(self, name: str, data: bytes) -> None:
        """What is refused has its reason and leaves no trace, and nothing is logged as a fault."""
        carried_out = await _send(self._server, name, data)
        assert not self._trace.has_changed() or carried_out, (name, data.hex(), "refused, and yet it left a trace")
        assert not self._faults.seen, (name, data.hex(), self._faults.seen)


@contextmanager
def oracle_of(server: Running) -> Iterator[Oracle]:
    """The oracle of a server that runs in this process."""
    with faults() as noted, closing(Trace(server.database)) as trace:
        yield Oracle(server, trace, noted)


async def _send(server: Running, name: str, data: bytes) -> bool:
    """Send bytes to an RPC, insist on a sensible answer, and return whether anything was carried out."""
    if name == PIPELINE:
        return await _send_to_pipeline(server, data)
    try:
        await asyncio.wait_for(call(server.channel, RPCS[name], data), 10)
    except grpc.aio.AioRpcError as error:
        _assert_sensible(error, name, data)
        return False
    return True


async def _send_to_pipeline(server: Running, data: bytes) -> bool:
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
                    await _no_write_waits(server)
                if reply.HasField("error"):
                    assert reply.error.code in REFUSED_BY_PIPELINE, (data.hex(), reply.error)
                    assert not any(word in reply.error.message for word in INSIDES), (data.hex(), reply.error.message)
        await stream.code()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        # The write may find the stream ended by a refusal.
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT, data.hex()
    return carried_out


async def _no_write_waits(server: Running) -> None:
    """Wait until what was begun is done or will never be: one write comes after the other."""
    rpc = RPCS["ClearSession"]
    await call(server.channel, rpc, rpc.request(session_id="none", request_id=new_request_id()).SerializeToString())


def _assert_sensible(error: grpc.aio.AioRpcError, name: str, data: bytes) -> None:
    """It is a refusal with its reason, which says nothing of the server's insides."""
    assert error.code() in FINE, (name, data.hex(), error.code(), error.details())
    assert read_refusal(error).reason.startswith("ERROR_REASON_"), (name, data.hex())
    assert not any(word in (error.details() or "") for word in INSIDES), (name, data.hex(), error.details())
