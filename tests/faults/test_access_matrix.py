"""Every RPC, by itself and inside a pipeline, with every kind of credential; and what is foreign, with every id.

The RPCs are those of the descriptors. An RPC that is new has no row until `ROLE_NEEDED` says who may call it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from turntree.model import AtHead, BranchPointer
from turntree.remote import RemoteStore
from turntree.v1 import pipeline_pb2
from turntree.v1.pipeline_pb2_grpc import PipelineServiceStub
from turntree_server.access.caller import Role
from turntree_server.access.jwt_settings import JwtSettings
from turntree_server.access.keys import revoke_key
from turntree_server.app import Server
from turntree_server.service.roles import ROLES
from turntree_server.settings import Settings

from tests.service.bad_input import VALID, World
from tests.support.credentials import AUDIENCE, ISSUER, Signer, new_key
from tests.support.items import turns
from tests.support.rpc import RPCS, Rpc, read_refusal

WITHIN_S = 30
OK = "OK"
REQUIRED = "UNAUTHENTICATED CREDENTIAL_REQUIRED"
INVALID = "UNAUTHENTICATED CREDENTIAL_INVALID"
DENIED = "PERMISSION_DENIED ROLE_INSUFFICIENT"

READS = {
    *("GetItems", "StreamItems", "GetSession", "ListSessions", "Watch", "GetBranch", "ListBranches", "CompareBranches"),
    *("ListTurns", "StreamTurns", "SearchTurns", "GetConversationByTurns", "ListToolUsage"),
    *("GetSessionUsage", "ListTurnUsage", "SummarizeUsage"),
}
WRITES = {
    *("AddItems", "PopItem", "ReplaceItems", "ClearSession", "UpdateSession", "DeleteSession"),
    *("CreateBranch", "DeleteBranch", "RecordUsage"),
}


@dataclass(frozen=True, slots=True)
class Keys:
    """Everything a credential of the table is made from."""

    file: Path
    signer: Signer
    stranger: Signer

    def revoked(self) -> str:
        """A key that was valid."""
        token = new_key(self.file, "revoked", Role.ADMIN)
        revoke_key(self.file, "revoked")
        return token


def _forged(algorithm: str, signer: Signer, secret: bytes | None) -> str:
    """A token of an admin, made by hand as no library would sign it."""
    header, claims = {"alg": algorithm, "kid": signer.key_id}, signer.claims("admin")

    def part(content: bytes) -> bytes:
        return urlsafe_b64encode(content).rstrip(b"=")

    signed = part(json.dumps(header).encode()) + b"." + part(json.dumps(claims).encode())
    signature = hmac.new(secret, signed, hashlib.sha256).digest() if secret is not None else b""
    return (signed + b"." + part(signature)).decode()


def _bearer(make: Callable[[Keys], str]) -> Callable[[Keys], str | None]:
    return lambda keys: f"Bearer {make(keys)}"


REFUSED: dict[str, tuple[Callable[[Keys], str | None], str]] = {
    "none": (lambda _: None, REQUIRED),
    "empty": (lambda _: "", INVALID),
    "without a token": (lambda _: "Bearer", INVALID),
    "of another scheme": (lambda keys: f"Basic {new_key(keys.file, 'basic')}", INVALID),
    "malformed": (lambda _: "Bearer ?", INVALID),
    "a key that is none": (_bearer(lambda _: "tt_" + "A" * 43), INVALID),
    "a key and more": (_bearer(lambda keys: new_key(keys.file, "longer") + "A"), INVALID),
    "a key's hash": (_bearer(lambda keys: hashlib.sha256(new_key(keys.file, "hashed").encode()).hexdigest()), INVALID),
    "a revoked key": (_bearer(Keys.revoked), INVALID),
    "an expired key": (_bearer(lambda keys: new_key(keys.file, "old", expires_in=timedelta(seconds=-1))), INVALID),
    "an expired token": (_bearer(lambda keys: keys.signer.token(exp=int(time.time()) - 1)), INVALID),
    "a token without an end": (_bearer(lambda keys: keys.signer.token(exp=None)), INVALID),
    "a token that is not valid yet": (_bearer(lambda keys: keys.signer.token(nbf=int(time.time()) + 600)), INVALID),
    "a token for others": (_bearer(lambda keys: keys.signer.token(aud="others")), INVALID),
    "a token for nobody": (_bearer(lambda keys: keys.signer.token(aud=None)), INVALID),
    "a token by others": (_bearer(lambda keys: keys.signer.token(iss="https://others.test")), INVALID),
    "a token by nobody": (_bearer(lambda keys: keys.signer.token(iss=None)), INVALID),
    "a token of a stranger's key": (_bearer(lambda keys: keys.stranger.token()), INVALID),
    "a token signed otherwise": (
        _bearer(lambda keys: keys.signer.token(algorithm="RS512")),
        INVALID,
    ),
    "a token that nobody signed": (
        _bearer(lambda keys: _forged("none", keys.signer, None)),
        INVALID,
    ),
    "a token signed with the public key": (
        _bearer(lambda keys: _forged("HS256", keys.signer, keys.signer.public_pem)),
        INVALID,
    ),
    "a token nested without end": (
        _bearer(lambda _: urlsafe_b64encode(b"[" * 4_500).decode().rstrip("=") + ".e30.e30"),
        INVALID,
    ),
    "a token that ends at infinity": (_bearer(lambda keys: keys.signer.token(exp=float("inf"))), INVALID),
    "a token without a role": (_bearer(lambda keys: keys.signer.token(turntree_role=None)), INVALID),
    "a token with a role that is none": (_bearer(lambda keys: keys.signer.token("root")), INVALID),
    "a token without a namespace": (_bearer(lambda keys: keys.signer.token(turntree_namespace=None)), INVALID),
    "a token with a path as namespace": (_bearer(lambda keys: keys.signer.token(namespace="../default")), INVALID),
}
"""Credentials that let nobody in, and what the server says to them."""

ACCEPTED: dict[str, tuple[Callable[[Keys], str | None], Role]] = {
    "a reader's key": (_bearer(lambda keys: new_key(keys.file, "r", Role.READER)), Role.READER),
    "a writer's key": (_bearer(lambda keys: new_key(keys.file, "w", Role.WRITER)), Role.WRITER),
    "an admin's key": (_bearer(lambda keys: new_key(keys.file, "a", Role.ADMIN)), Role.ADMIN),
    "a key that expires": (_bearer(lambda keys: new_key(keys.file, "e", expires_in=timedelta(days=1))), Role.WRITER),
    "a reader's token": (_bearer(lambda keys: keys.signer.token("reader")), Role.READER),
    "a writer's token": (_bearer(lambda keys: keys.signer.token("writer")), Role.WRITER),
    "an admin's token": (_bearer(lambda keys: keys.signer.token("admin")), Role.ADMIN),
}
"""Credentials that let their holders in, and as whom."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A server that asks for credentials, a channel to it, and what its namespace `default` holds."""

    server: Server
    channel: grpc.aio.Channel
    keys: Keys
    world: World

    async def know_new_keys(self) -> None:
        """Have the server read the keys again."""
        self.server._gate.refresh()


@asynccontextmanager
async def guarded(folder: Path) -> AsyncIterator[Guarded]:
    """Serve two namespaces to holders of keys and of signed tokens."""
    keys = Keys(folder / "keys.json", Signer(folder / "jwks.json"), Signer(folder / "stranger.json"))
    owner = new_key(keys.file, "owner")
    settings = Settings(
        data_dir=folder / "data",
        port=0,
        grace_s=1,
        keys_file=keys.file,
        jwt=JwtSettings(str(keys.signer.jwks), AUDIENCE, ISSUER),
    )
    server = await Server.start(settings)
    try:
        async with RemoteStore(server.address, token=owner) as store:
            await store.add_items("s", turns(2))
            await store.create_branch("s", AtHead(), new_branch_id="b")
            await store.add_items("s", turns(1), branch=BranchPointer("b"))
            cursor = (await store.get_items("s")).cursor
        async with grpc.aio.insecure_channel(server.address) as channel:
            yield Guarded(server, channel, keys, World(cursor, 4, {}))
    finally:
        await server.stop()


def _metadata(authorization: str | None) -> tuple[tuple[str, str], ...]:
    return (("authorization", authorization),) if authorization is not None else ()


async def outcome(guarded: Guarded, rpc: Rpc, request: Message, authorization: str | None) -> str:
    """How a call ends: OK, or code and reason. A stream is left after its first message."""
    read = GetMessageClass(rpc.method.output_type).FromString
    metadata, data = _metadata(authorization), request.SerializeToString()
    try:
        if rpc.method.server_streaming:
            streaming: grpc.aio.UnaryStreamMultiCallable[bytes, Message]
            streaming = guarded.channel.unary_stream(rpc.path, response_deserializer=read)
            stream = streaming(data, metadata=metadata, timeout=WITHIN_S)
            await stream.read()
            stream.cancel()
        else:
            unary: grpc.aio.UnaryUnaryMultiCallable[bytes, Message]
            unary = guarded.channel.unary_unary(rpc.path, response_deserializer=read)
            await unary(data, metadata=metadata, timeout=WITHIN_S)
    except grpc.aio.AioRpcError as error:
        return _described(error)
    return OK


def _described(error: grpc.aio.AioRpcError) -> str:
    seen = read_refusal(error)
    return f"{seen.code.name} {seen.reason.removeprefix('ERROR_REASON_')}"


async def outcome_in_pipeline(guarded: Guarded, rpc: Rpc, request: Message, authorization: str | None) -> str:
    """How the same call ends as one of a pipeline."""
    fields = pipeline_pb2.PipelineCall.DESCRIPTOR.oneofs_by_name["request"].fields
    (field,) = (field.name for field in fields if field.message_type == rpc.method.input_type)
    named: dict[str, Any] = {field: request}
    call = pipeline_pb2.PipelineCall(call_id=1, **named)
    async with asyncio.timeout(WITHIN_S):
        stream = PipelineServiceStub(guarded.channel).Pipeline(metadata=_metadata(authorization))
        try:
            await stream.write(pipeline_pb2.PipelineRequest(calls=[call]))
            response = await stream.read()
            assert isinstance(response, pipeline_pb2.PipelineResponse)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, AssertionError):
            code, details = await stream.code(), await stream.details()
            metadata = grpc.aio.Metadata()
            return _described(grpc.aio.AioRpcError(code, metadata, await stream.trailing_metadata(), details))
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
    (reply,) = response.replies
    if not reply.HasField("error"):
        return OK
    info = error_details_pb2.ErrorInfo()
    assert reply.error.details[0].Unpack(info)
    code = next(code for code in grpc.StatusCode if code.value[0] == reply.error.code)
    return f"{code.name} {info.reason.removeprefix('ERROR_REASON_')}"


async def outcomes(guarded: Guarded, authorization: str | None) -> dict[str, str]:
    """How every RPC ends with a credential, by itself and, where it can be, in a pipeline."""
    ends = {}
    for name, rpc in RPCS.items():
        request = rpc.request(**VALID[name](guarded.world))
        ends[name] = await outcome(guarded, rpc, request, authorization)
        if not rpc.method.server_streaming:
            ends[f"{name} in a pipeline"] = await outcome_in_pipeline(guarded, rpc, request, authorization)
    return ends


def _rpc_of(place: str) -> str:
    return place.partition(" ")[0]


def test_every_rpc_has_a_row() -> None:
    """A new RPC can be called by nobody until the server's table says which role it needs, and this one agrees."""
    assert RPCS.keys() == READS | WRITES
    assert not READS & WRITES
    assert dict.fromkeys(READS, Role.READER) | dict.fromkeys(WRITES, Role.WRITER) == ROLES


@pytest.mark.parametrize("credential", REFUSED)
async def test_a_credential_that_is_none_opens_nothing(credential: str, tmp_path: Path) -> None:
    """No RPC, alone or in a pipeline, is carried out for a credential that is not valid, and all say the same."""
    make, refusal = REFUSED[credential]
    async with guarded(tmp_path) as running:
        authorization = make(running.keys)
        await running.know_new_keys()
        ends = await outcomes(running, authorization)
        assert len(ends) == 2 * len(RPCS) - sum(rpc.method.server_streaming for rpc in RPCS.values())
        assert ends == dict.fromkeys(ends, refusal)
        async with RemoteStore(running.server.address, token=new_key(running.keys.file, "later")) as store:
            await running.know_new_keys()
            assert len((await store.read_items("s")).items) == running.world.item_count


@pytest.mark.parametrize("credential", ACCEPTED)
async def test_a_role_may_what_it_may(credential: str, tmp_path: Path) -> None:
    """A reader reads, a writer also writes, an admin may both; alone and in a pipeline alike."""
    make, role = ACCEPTED[credential]
    async with guarded(tmp_path) as running:
        authorization = make(running.keys)
        await running.know_new_keys()
        ends = await outcomes(running, authorization)
    for place, end in ends.items():
        if role is Role.READER and _rpc_of(place) in WRITES:
            assert end == DENIED, place
        else:
            assert not end.startswith(("UNAUTHENTICATED", "PERMISSION_DENIED", "INTERNAL", "UNKNOWN")), (place, end)
    if role is Role.READER:
        assert {end for place, end in ends.items() if _rpc_of(place) in READS} == {OK}


ABSENT = {
    "GetSession": "NOT_FOUND SESSION_NOT_FOUND",
    "GetBranch": "NOT_FOUND BRANCH_NOT_FOUND",
    "CompareBranches": "NOT_FOUND BRANCH_NOT_FOUND",
}


async def test_what_is_foreign_looks_like_what_is_absent(tmp_path: Path) -> None:
    """With ids and cursors of another namespace, every RPC answers exactly as with ids that nobody has."""
    async with guarded(tmp_path) as running:
        for number, (name, rpc) in enumerate(RPCS.items()):
            other = f"Bearer {running.keys.signer.token('admin', f'other-{number}')}"
            fields = VALID[name](running.world)
            foreign = await outcome(running, rpc, rpc.request(**fields), other)
            own = f"Bearer {running.keys.signer.token('admin', f'own-{number}')}"
            renamed = {**fields, **({"session_id": "nobody has this"} if "session_id" in fields else {})}
            absent = await outcome(running, rpc, rpc.request(**renamed), own)
            assert foreign == absent == ABSENT.get(name, absent), name
        async with RemoteStore(running.server.address, token=new_key(running.keys.file, "again")) as store:
            await running.know_new_keys()
            assert len((await store.read_items("s")).items) == running.world.item_count
            assert [session.session_id for session in (await store.list_sessions()).entries] == ["s"]


async def test_health_is_open_and_reflection_is_not(tmp_path: Path) -> None:
    """Whoever asks learns that the server is well; what it serves is only for those it knows."""
    async with guarded(tmp_path) as running:
        answer = await health_pb2_grpc.HealthStub(running.channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
        requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.ServerReflectionInfo(iter(requests), timeout=5).read()
        assert _described(raised.value) == REQUIRED
        reader = f"Bearer {running.keys.signer.token('reader')}"
        listing = stub.ServerReflectionInfo(iter(requests), metadata=_metadata(reader), timeout=5)
        assert "turntree.v1.SessionService" in str(await listing.read())
        listing.cancel()
