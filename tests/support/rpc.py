"""The wire as the descriptors describe it: every RPC, calls with raw bytes, and the errors that come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from turntree.v1 import branch_pb2, session_pb2, turn_pb2, usage_pb2


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC of the protos."""

    method: MethodDescriptor

    @property
    def name(self) -> str:
        """Its name, unique among all services."""
        return str(self.method.name)

    @property
    def path(self) -> str:
        """Its name on the wire."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    def request(self, **fields: Any) -> Message:
        """A request with these fields."""
        return GetMessageClass(self.method.input_type)(**fields)


RPCS: Mapping[str, Rpc] = {
    method.name: Rpc(method)
    for file in (session_pb2, branch_pb2, turn_pb2, usage_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a client sees of an error: the code, and what is in `ErrorInfo`."""

    code: grpc.StatusCode
    reason: str
    facts: Mapping[str, str] = field(default_factory=dict)


async def call(channel: grpc.aio.Channel, rpc: Rpc, request: bytes) -> Message:
    """Call with a serialized request, and return the answer or the first message of the stream."""
    read = GetMessageClass(rpc.method.output_type).FromString
    if not rpc.method.server_streaming:
        unary: grpc.aio.UnaryUnaryMultiCallable[bytes, Message] = channel.unary_unary(
            rpc.path, response_deserializer=read
        )
        return await unary(request, timeout=30)
    streaming: grpc.aio.UnaryStreamMultiCallable[bytes, Message] = channel.unary_stream(
        rpc.path, response_deserializer=read
    )
    stream = streaming(request, timeout=30)
    try:
        async for message in stream:
            return message
    finally:
        stream.cancel()
    raise AssertionError(f"{rpc.name} ended without a message")


async def refusal(channel: grpc.aio.Channel, rpc: Rpc, request: bytes) -> Refusal | None:
    """Call, and return how the server refused; None when it did not."""
    try:
        await call(channel, rpc, request)
    except grpc.aio.AioRpcError as error:
        return read_refusal(error)
    return None


def read_refusal(error: grpc.aio.AioRpcError) -> Refusal:
    """Read the code and the one `ErrorInfo` of an error, as any gRPC client does."""
    details = [value for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin"]
    if not details:
        return Refusal(error.code(), "", {"details": error.details() or ""})
    (value,) = details
    assert isinstance(value, bytes)
    status = status_pb2.Status.FromString(value)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    info = error_details_pb2.ErrorInfo()
    assert [detail.Unpack(info) for detail in status.details].count(True) == 1
    assert info.domain == "turntree"
    return Refusal(error.code(), info.reason, dict(info.metadata))
