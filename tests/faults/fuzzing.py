"""Requests that nobody would send: bytes without meaning, and messages with a field or two gone wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from string import ascii_letters, digits
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from turntree.v1 import pipeline_pb2

from tests.service.bad_input import VALID, World
from tests.support.rpc import RPCS

PIPELINE = "Pipeline"
CURSORS = ("cursor", "expected_cursor")
PAGE_TOKENS = ("page_token",)

_INTEGERS = (0, 1, -1, 2, 7, 1000, 1001, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63))
_TEXTS = ("", "s", "t", "b", "main", "r", " ", "\0", "%", "\U0001f333", "x" * 65, "x" * 257, "x" * 5000, "'; --")
_BYTES = (
    b"",
    b"{}",
    b"null",
    b"[1]",
    b'{"role":"user","content":"q"}',
    b"\xff",
    b"{",
    b"[" * 5000,
    b"NaN",
    b'"\\ud800"',
)


def any_request(name: str, world: World, rng: random.Random) -> bytes:
    """A request for an RPC, of one of four kinds: noise, a valid one, one changed a little, a random message."""
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: rng.randbytes(rng.choice((0, 1, 5, 40, 400))),
        lambda: _valid(name, world, rng).SerializeToString(),
        lambda: _damaged(_valid(name, world, rng).SerializeToString(), rng),
        lambda: _random(_valid(name, world, rng), world, rng).SerializeToString(),
    )
    return rng.choices(kinds, (1, 1, 3, 6))[0]()


def changed_request(name: str, data: bytes, world: World, rng: random.Random) -> bytes:
    """A request like another one: bytes changed, or random values in fields of what they say, or a new one."""
    message = pipeline_pb2.PipelineRequest() if name == PIPELINE else RPCS[name].request()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return any_request(name, world, rng)
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: _random(message, world, rng).SerializeToString(),
        lambda: _damaged(data, rng),
        lambda: any_request(name, world, rng),
    )
    return rng.choices(kinds, (3, 1, 2))[0]()


def names_with(fields: Iterable[str]) -> list[str]:
    """The RPCs whose requests have one of these fields."""
    return [name for name, rpc in RPCS.items() if set(fields) & set(rpc.method.input_type.fields_by_name)]


def with_another_cursor(name: str, world: World, rng: random.Random) -> bytes:
    """A valid request, but for its cursor."""
    return with_fields(name, CURSORS, _damaged(world.cursor, rng), world, rng)


def with_another_page_token(name: str, world: World, rng: random.Random) -> bytes:
    """A valid request, but for its page token: another RPC's, or one with characters changed, cut or out of order."""
    return with_fields(name, PAGE_TOKENS, _token(world, rng), world, rng)


def with_fields(name: str, fields: Iterable[str], value: Any, world: World, rng: random.Random) -> bytes:
    """A valid request, but for those of these fields that it has."""
    request = _valid(name, world, rng)
    for field in set(fields) & set(request.DESCRIPTOR.fields_by_name):
        setattr(request, field, value)
    return request.SerializeToString()


def _token(world: World, rng: random.Random) -> str:
    token = rng.choice(list(world.page_tokens.values()))
    changed = list(token)
    for _ in range(rng.randint(1, 3)):
        changed[rng.randrange(len(changed))] = rng.choice(ascii_letters + digits + "-_=")
    return rng.choice(("".join(changed), token, token[:-4], "".join(rng.sample(token, len(token)))))


def _valid(name: str, world: World, rng: random.Random) -> Message:
    if name != PIPELINE:
        request = RPCS[name].request(**VALID[name](world))
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            request.request_id = f"r{rng.randrange(8)}"  # type: ignore[attr-defined]
        return request
    calls = []
    for call_id in range(rng.randint(0, 4)):
        field = rng.choice(pipeline_pb2.PipelineCall.DESCRIPTOR.oneofs_by_name["request"].fields)
        assert field.message_type is not None
        called = _valid(field.message_type.name.removesuffix("Request"), world, rng)
        calls.append(pipeline_pb2.PipelineCall(call_id=call_id, **{field.name: called}))  # type: ignore[arg-type]
    return pipeline_pb2.PipelineRequest(calls=calls)


def _damaged(data: bytes, rng: random.Random) -> bytes:
    """The same bytes with some changed, cut, doubled or put in between."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(changed) + 1)
        match rng.randrange(4):
            case 0 if changed:
                changed[place % len(changed)] = rng.randrange(256)
            case 1:
                del changed[place : place + rng.randint(1, 8)]
            case 2:
                changed[place:place] = rng.randbytes(rng.randint(1, 8))
            case _:
                changed += changed[place : place + 40]
    return bytes(changed)


def _random(message: Message, world: World, rng: random.Random) -> Message:
    """The same message with random values in some of its fields, and in those of its parts."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.35:
            message.ClearField(field.name)
            _fill(message, field, world, rng)
    return message


def _fill(message: Message, field: Any, world: World, rng: random.Random) -> None:
    if field.is_repeated and _is_map(field.message_type):
        for _ in range(rng.choice((0, 1, 3, 65))):
            getattr(message, field.name)[rng.choice(_TEXTS) + str(rng.randrange(100))] = rng.choice(_TEXTS)
    elif field.is_repeated:
        values = [_value(field, world, rng) for _ in range(rng.choice((0, 1, 2, 70)))]
        getattr(message, field.name).extend(values)
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(_value(field, world, rng))
    else:
        setattr(message, field.name, _value(field, world, rng))


def _value(field: Any, world: World, rng: random.Random) -> Any:
    if field.message_type is not None:
        return _random(GetMessageClass(field.message_type)(), world, rng)
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM | FieldDescriptor.CPPTYPE_INT32:
            return rng.choice([number for number in _INTEGERS if -(2**31) <= number < 2**31])
        case FieldDescriptor.CPPTYPE_INT64:
            return rng.choice(_INTEGERS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _damaged(world.cursor, rng) if "cursor" in field.name else rng.choice(_BYTES)
    if field.name == "page_token":
        return _token(world, rng)
    return rng.choice(_TEXTS)


def _is_map(message: Descriptor | None) -> bool:
    return message is not None and bool(message.GetOptions().map_entry)


def read_corpus(text: str) -> list[tuple[str, bytes]]:
    """Requests that were kept: a line each, the name of the RPC and the bytes in hexadecimal."""
    lines = (line.partition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return [(name, bytes.fromhex(data)) for name, _, data in lines]
