"""Bad input, field by field: what is wrong, where, and within which limit; and never a trace in the database.

The table is in `bad_input.py`; the fields are those of the descriptors.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from pysqlite3 import dbapi2 as sqlite3
from turntree import wire
from turntree.errors import ErrorReason, InvalidArgument, TurntreeError
from turntree.model import AtHead, BranchPointer, Usage
from turntree.remote import RemoteStore
from turntree.store import Store
from turntree.v1 import session_pb2
from turntree_server.app import Server
from turntree_server.engine.sqlite import IN_MEMORY, SqliteEngine
from turntree_server.local_store import LocalStore
from turntree_server.settings import Settings

from tests.service.bad_input import (
    BORDERLINE,
    METHODS,
    OTHER_REQUESTS,
    PARAMETERS,
    ROWS,
    SECRET,
    TYPES,
    VALID,
    Bad,
    CannotBeWrong,
    World,
    other_page_token,
)
from tests.support.database import dump
from tests.support.items import assistant, function_call, turns, user
from tests.support.reading import cursor_of, items_of
from tests.support.rpc import RPCS, Refusal, Rpc, call, refusal


@dataclass(frozen=True, slots=True)
class Place:
    """A field or a oneof of a request, and the sub-messages on the way to it."""

    way: tuple[FieldDescriptor, ...]
    message: Descriptor
    name: str
    field: FieldDescriptor | None

    def row_in(self, table: Collection[str]) -> str | None:
        """The name of its row in a table; None when it has none."""
        names = (f"{self.message.name}.{self.name}", self.name)
        return next((name for name in names if name in table), None)

    def __str__(self) -> str:
        return ".".join([*(field.name for field in self.way), self.name])


def places(message: Descriptor, way: tuple[FieldDescriptor, ...] = ()) -> Iterator[Place]:
    """Every field and oneof of a message, with those of turntree's own messages in it."""
    for oneof in message.oneofs:
        if not oneof.name.startswith("_"):  # else it stands for a field that is `optional`
            yield Place(way, message, oneof.name, None)
    for field in message.fields:
        yield Place(way, message, field.name, field)
        held = field.message_type
        if held is not None and held.file.package == "turntree.v1" and not held.GetOptions().map_entry:
            yield from places(held, (*way, field))


ALL_PLACES = [(rpc, place) for rpc in RPCS.values() for place in places(rpc.method.input_type)]


def test_every_field_of_every_request_has_a_row() -> None:
    """A field that is added to a request has no wrong values until the table says which."""
    without = [f"{place.message.name}.{place.name}" for _, place in ALL_PLACES if place.row_in(ROWS) is None]
    assert not without
    assert {rpc.name for rpc, _ in ALL_PLACES} == RPCS.keys()


def test_every_row_has_a_field() -> None:
    """A row whose field is gone goes too."""
    assert {place.row_in(ROWS) for _, place in ALL_PLACES} == ROWS.keys()
    assert {place.row_in(BORDERLINE) for _, place in ALL_PLACES} == {*BORDERLINE, None}


def test_every_rpc_has_a_valid_request() -> None:
    """A wrong field is put into a request that is right in all others."""
    assert VALID.keys() == RPCS.keys()
    paged = {rpc.name for rpc, place in ALL_PLACES if place.name == "page_token"}
    assert OTHER_REQUESTS.keys() == paged


@dataclass(frozen=True, slots=True)
class Running:
    """A server with two sessions, and a channel to it."""

    channel: grpc.aio.Channel
    world: World
    database: Path


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    """Serve sessions that have more than a page of everything."""
    database = folder / "conversations.db"
    store = LocalStore(await SqliteEngine.open(database))
    for session_id in ("s", "t", "u"):
        for number in (1, 2):
            conversation = [user(f"q{number}"), function_call(f"c{number}"), assistant(f"a{number}")]
            await store.add_items(session_id, conversation)
            await store.record_usage(session_id, Usage(1, 10, 5, 15))
        await store.create_branch(session_id, AtHead(), new_branch_id="b")
        await store.add_items(session_id, turns(1), branch=BranchPointer("b"))
        labels = {f"label-{number}": "v" for number in range(62)} | {"of": "t"}
        await store.update_session(session_id, labels=labels, expiry=timedelta(days=1))
    cursor, items = await cursor_of(store, "s"), await items_of(store, "s")
    await store.close()
    _spread_usage_over_days(database)
    server = await Server.start(Settings(db=str(database), port=0, grace_s=1))
    try:
        async with grpc.aio.insecure_channel(server.address) as channel:
            tokens = {}
            for name, fields in OTHER_REQUESTS.items():
                request = RPCS[name].request(**fields, page_size=1).SerializeToString()
                page: Any = await call(channel, RPCS[name], request)
                tokens[name] = page.next_page_token
            assert all(tokens.values())
            yield Running(channel, World(cursor, len(items), tokens), database)
    finally:
        await server.stop()


def _spread_usage_over_days(database: Path) -> None:
    connection = sqlite3.connect(database)
    day = datetime(2031, 5, 17, tzinfo=UTC)
    for (row,) in connection.execute("SELECT id FROM turn_usage").fetchall():
        time = (day + timedelta(days=row)).strftime("%Y-%m-%d %H:%M:%S")
        connection.execute("UPDATE turn_usage SET created_at = ? WHERE id = ?", (time, row))
    connection.commit()
    connection.close()


@pytest.mark.parametrize("name", RPCS)
async def test_a_valid_request_is_accepted(name: str, tmp_path: Path) -> None:
    """What the table breaks one field at a time is right before."""
    async with running(tmp_path) as server:
        rpc = RPCS[name]
        before = dump(server.database)
        assert await refusal(server.channel, rpc, valid(rpc, server.world).SerializeToString()) is None
        is_mutation = "request_id" in rpc.method.input_type.fields_by_name
        assert (dump(server.database) != before) is is_mutation


@pytest.mark.parametrize("name", RPCS)
async def test_a_wrong_value_is_refused_with_its_field_and_limit_and_leaves_no_trace(name: str, tmp_path: Path) -> None:
    """Each wrong value gets INVALID_ARGUMENT with reason, field and limit, and no table changes."""
    rpc = RPCS[name]
    wrong: list[str] = []
    async with running(tmp_path) as server:
        before = dump(server.database)
        for place in places(rpc.method.input_type):
            for bad in bad_values(place):
                request = valid(rpc, server.world)
                spoil(request, place, bad, server.world)
                seen = await refusal(server.channel, rpc, request.SerializeToString())
                if problem := difference(seen, place, bad, server.world):
                    wrong.append(f"{place}, {bad.what}: {problem}")
        after = dump(server.database)
    assert not wrong, "\n" + "\n".join(wrong)
    assert after == before


@pytest.mark.parametrize("name", RPCS)
async def test_a_value_at_its_limit_is_accepted(name: str, tmp_path: Path) -> None:
    """The limits that errors print are the last values that are right."""
    rpc = RPCS[name]
    wrong: list[str] = []
    async with running(tmp_path) as server:
        for place in places(rpc.method.input_type):
            row = place.row_in(BORDERLINE)
            for number, value in enumerate(BORDERLINE[row] if row else ()):
                request: Any = valid(rpc, server.world)
                if "request_id" in rpc.method.input_type.fields_by_name:
                    request.request_id = f"{place}-{number}"
                if "expected_cursor" in VALID[name](server.world):
                    request.expected_cursor = await current_cursor(server.channel, request.session_id)
                spoil(request, place, Bad("", value, ErrorReason.FIELD_INVALID, ""), server.world)
                seen = await refusal(server.channel, rpc, request.SerializeToString())
                if seen is not None and not seen.reason.endswith(("_NOT_FOUND", "_USED", "_MISMATCH")):
                    wrong.append(f"{place}, {number}: {seen}")
    assert not wrong, "\n" + "\n".join(wrong)


async def current_cursor(channel: grpc.aio.Channel, session_id: str) -> bytes:
    """The cursor of the end of `main`."""
    rpc = RPCS["GetItems"]
    request = rpc.request(session_id=session_id, window={"limit": 0})
    answer: Any = await call(channel, rpc, request.SerializeToString())
    return bytes(answer.delta.cursor)


@pytest.mark.parametrize("name", RPCS)
async def test_what_is_not_a_message_is_refused_and_leaves_no_trace(name: str, tmp_path: Path) -> None:
    """Text that is not UTF-8, in any field, and bytes that are no message get INVALID_ARGUMENT naming the request."""
    rpc = RPCS[name]
    limit = "a message of the request's type, with text in UTF-8"
    expected = Refusal(
        grpc.StatusCode.INVALID_ARGUMENT,
        "ERROR_REASON_FIELD_INVALID",
        {"field": "request", "value": "", "limit": limit},
    )
    async with running(tmp_path) as server:
        before = dump(server.database)
        request = valid(rpc, server.world).SerializeToString()
        texts = list(texts_that_are_not_utf8(rpc.method.input_type))
        malformed = {"a cut message": request + b"\x0a\x05s", "no message": b"\xff\xff\xff", **dict(texts)}
        seen = {
            what: await refusal(server.channel, rpc, request + data if what in dict(texts) else data)
            for what, data in malformed.items()
        }
        after = dump(server.database)
    assert seen == dict.fromkeys(malformed, expected)
    assert after == before


def parameters(name: str) -> list[str]:
    """The parameters of a method of `Store`."""
    return list(inspect.signature(getattr(Store, name)).parameters)[1:]


CALLS = sorted(name for name in Store.__abstractmethods__ if parameters(name))


def test_every_parameter_of_a_store_has_a_row() -> None:
    """A parameter that is added to a call has no wrong values until the table says which, and none has too many."""
    pairs = {(name, parameter) for name in CALLS for parameter in parameters(name)}
    assert {parameter for _, parameter in pairs} | {f"{name}.{parameter}" for name, parameter in pairs} >= (
        PARAMETERS.keys()
    )
    assert {parameter for _, parameter in pairs} <= PARAMETERS.keys()
    assert set(CALLS) >= METHODS.keys()


@pytest.mark.parametrize("name", CALLS)
async def test_embedded_and_remote_stores_refuse_the_same_in_the_same_words(name: str) -> None:
    """A value of a wrong type, or beyond its limit, is the same `InvalidArgument` of every store, and tells no item."""
    differing: list[str] = []
    async with LocalStore(await SqliteEngine.open(IN_MEMORY)) as local:
        server = Server(Settings(port=0, grace_s=1), local)
        await server._listen()
        try:
            async with RemoteStore(server.address) as remote:
                for parameter in parameters(name):
                    for value in wrong_values(name, parameter):
                        embedded = await what_is_said(local, name, parameter, value)
                        behind_a_server = await what_is_said(remote, name, parameter, value)
                        is_refused = isinstance(embedded, InvalidArgument)
                        if not is_refused or told(embedded) != told(behind_a_server) or "4242" in told(embedded):
                            differing.append(f"{parameter}={value!r:.80}: {embedded!r} and {behind_a_server!r}")
        finally:
            await server.stop()
    assert not differing, "\n" + "\n".join(differing)


def wrong_values(name: str, parameter: str) -> Iterator[Any]:
    """What a parameter of a method may not be."""
    row = PARAMETERS.get(f"{name}.{parameter}") or PARAMETERS[parameter]
    yield from (value for kind, value in TYPES.items() if kind not in row.right)
    yield from row.wrong


async def what_is_said(store: Store, name: str, parameter: str, value: Any) -> BaseException | None:
    """What a store raises when one parameter of a method has this value; None when it takes it."""
    arguments: dict[str, Any] = {**METHODS.get(name, {}), parameter: value}
    if "session_id" in parameters(name):
        arguments.setdefault("session_id", "s")
    try:
        answer = getattr(store, name)(**arguments)
        await (anext(answer) if inspect.isasyncgen(answer) else answer)
    except Exception as error:
        return error
    return None


def told(error: BaseException | None) -> str:
    """All that an error tells."""
    return f"{type(error)} {error} {error.reason} {error.facts}" if isinstance(error, TurntreeError) else repr(error)


def test_what_a_message_cannot_hold_is_named_by_its_type() -> None:
    """A value that cannot be put into a message is never told itself."""
    with pytest.raises(InvalidArgument) as raised:
        wire.request(session_pb2.AddItemsRequest, session_id="s", items=[SECRET + "\ud800", 5])
    assert raised.value.facts == {
        "field": "items",
        "value": "list",
        "limit": "a value that the field's type can hold",
    }
    assert "4242" not in str(raised.value)


def valid(rpc: Rpc, world: World) -> Message:
    """A request that the server accepts."""
    return rpc.request(**VALID[rpc.name](world))


def bad_values(place: Place) -> tuple[Bad, ...]:
    """The wrong values of a place, with the page tokens of other requests."""
    row = ROWS[str(place.row_in(ROWS))]
    if isinstance(row, CannotBeWrong):
        assert row.because
        return ()
    assert row
    return row + tuple(map(other_page_token, OTHER_REQUESTS)) if place.name == "page_token" else row


def spoil(request: Message, place: Place, bad: Bad, world: World) -> None:
    """Put a wrong value into a request."""
    holder: Any = request
    for field in place.way:
        holder = getattr(holder, field.name)
        if field.name == "natives":
            holder = holder.add(dialect="d", native=b"1")
        holder.SetInParent()
        if field.name == "branch":
            holder.branch_id = "main"
    for name, value in bad.beside.items():
        _put(holder, name, value)
    value = bad.value(world) if callable(bad.value) else bad.value
    _put(holder, place.name, value)


def _put(holder: Any, name: str, value: Any) -> None:
    """Make a field hold a value and nothing else."""
    holder.ClearField(name)
    if value is None:
        return
    if isinstance(value, dict):
        getattr(holder, name).update(value)
    elif isinstance(value, list):
        getattr(holder, name).extend(value)
    elif isinstance(value, Message):
        getattr(holder, name).CopyFrom(value)
    else:
        setattr(holder, name, value)


def difference(seen: Refusal | None, place: Place, bad: Bad, world: World) -> str | None:
    """How a refusal differs from what the table says; None when it does not."""
    if seen is None:
        return "accepted"
    limit = bad.limit(world) if callable(bad.limit) else bad.limit
    facts = {"field": bad.named or place.name, "limit": limit}
    if bad.shown is not None:
        facts["value"] = bad.shown
    expected = Refusal(grpc.StatusCode.INVALID_ARGUMENT, bad.reason, facts)
    seen_facts = {name: fact for name, fact in seen.facts.items() if name in facts}
    shown = Refusal(seen.code, seen.reason, seen_facts)
    return None if shown == expected else f"{seen} instead of {expected}"


def texts_that_are_not_utf8(message: Descriptor) -> Iterator[tuple[str, bytes]]:
    """For each text in a message, the bytes that add one that is not UTF-8."""
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield f"{field.name} is not UTF-8", _length_delimited(field, b"\xff")
        elif field.message_type is not None:
            for what, data in texts_that_are_not_utf8(field.message_type):
                yield f"{field.name}.{what}", _length_delimited(field, data)


def _length_delimited(field: FieldDescriptor, data: bytes) -> bytes:
    assert field.number < 16
    assert len(data) < 128
    return bytes([field.number << 3 | 2, len(data)]) + data
