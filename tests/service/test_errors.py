"""Errors: a closed tree, one code for each class, one class for each reason, and facts that arrive.

What the protos say of errors is read from their text, so that prose and code cannot part.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
from pysqlite3 import dbapi2 as sqlite3
from turntree import errors
from turntree.errors import (
    CLASS_BY_REASON,
    CLASSES,
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    ErrorReason,
    FailedPrecondition,
    Internal,
    NotFound,
    ResourceExhausted,
    TurntreeError,
    Unavailable,
)
from turntree.model import ALL_ITEMS, MAIN, AfterTurn, BeforeContent, BranchPointer, ItemsDelta, ItemsWindow, Session
from turntree.remote import RemoteStore
from turntree.rpc_errors import CODE_BY_CLASS, DETAILS_KEY, from_rpc_error, to_status
from turntree.v1 import error_reason_pb2, session_pb2
from turntree_server.app import Server
from turntree_server.engine.sqlite import IN_MEMORY, SqliteEngine
from turntree_server.local_store import LocalStore
from turntree_server.settings import Settings

from tests.service.bad_input import ROWS, CannotBeWrong
from tests.service.test_bad_input import ALL_PLACES
from tests.support.items import turns, user
from tests.support.reading import cursor_of
from tests.support.reasons import EXPLAINED, PROTOS, STATED
from tests.support.rpc import RPCS, Refusal, call, refusal

ROOT = Path(__file__).parents[2]
REASON_PREFIX = "ERROR_REASON_"


# The tree


def subclasses(of: type[TurntreeError]) -> Iterator[type[TurntreeError]]:
    """Every class below."""
    for error_class in of.__subclasses__():
        yield error_class
        yield from subclasses(error_class)


def test_every_class_has_a_code_of_its_own() -> None:
    """One table turns errors into codes, and it has one row for each class there is."""
    assert Counter(subclasses(TurntreeError)) == Counter(CLASSES)
    named = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert named == {"TurntreeError", *(error_class.__name__ for error_class in CLASSES)}
    assert CODE_BY_CLASS.keys() == set(CLASSES)
    assert len(set(CODE_BY_CLASS.values())) == len(CLASSES)


def test_every_reason_belongs_to_one_class() -> None:
    """A reason has one class, so it has one code."""
    counts = Counter(reason for error_class in CLASSES for reason in error_class.reasons)
    assert counts == dict.fromkeys(ErrorReason, 1)
    assert CLASS_BY_REASON.keys() == set(ErrorReason)


def test_reasons_are_those_of_the_proto() -> None:
    """What a server of any version of this wire can say has a name in Python, and the other way round."""
    in_proto = set(error_reason_pb2.ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}
    assert in_proto == {reason.value for reason in ErrorReason}
    assert all(reason.value == REASON_PREFIX + reason.name for reason in ErrorReason)


# The prose of the protos


def test_every_reason_has_an_example_with_the_facts_it_lists() -> None:
    """error_reason.proto shows for each reason what a client receives."""
    assert EXPLAINED.keys() == {reason.value for reason in ErrorReason}
    for name, reason in EXPLAINED.items():
        facts = reason.example.pop("metadata", {})
        assert reason.facts <= facts.keys() <= reason.facts | reason.optional_facts, name
        assert reason.example == {"reason": name, "domain": "turntree"}


def errors_included() -> dict[str, dict[str, list[str]]]:
    """By RPC and code, the reasons in its comment's list."""
    lists: dict[str, dict[str, list[str]]] = {}
    for proto in sorted(PROTOS.glob("*.proto")):
        for comment, name in re.findall(r"((?:  //.*\n)+)  rpc (\w+)\(", proto.read_text()):
            prose = re.sub(r"(?m)^  // ?", "", comment)
            _, marker, listed = prose.partition("Errors include:")
            assert marker, f"{name} has no list of errors"
            lists[name] = {}
            for line in re.findall(r"(?m)^- (.*(?:\n  .*)*)", listed):
                code, _, rest = line.partition(" with ")
                lists[name].setdefault(code, []).extend(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", rest))
    return lists


def test_every_rpc_lists_its_errors() -> None:
    """Each RPC's comment has `Errors include:` with codes, and with reasons that belong to those codes."""
    lists = errors_included()
    assert lists.keys() == RPCS.keys() | {"Pipeline"}
    for name, by_code in lists.items():
        assert {"INVALID_ARGUMENT", "UNAVAILABLE"} <= by_code.keys(), name
        for code, reasons in by_code.items():
            assert reasons, (name, code)
            codes = {CODE_BY_CLASS[CLASS_BY_REASON[ErrorReason[reason]]].name for reason in reasons}
            assert codes == {code}, (name, reasons)


@pytest.mark.parametrize("name", RPCS)
def test_an_rpc_lists_what_its_fields_lead_to(name: str) -> None:
    """The reasons that the bad-input table has for an RPC's fields stand in the RPC's list, and so do conflicts."""
    listed = {reason for reasons in errors_included()[name].values() for reason in reasons}
    possible = set()
    for rpc, place in ALL_PLACES:
        row = ROWS[str(place.row_in(ROWS))]
        if rpc.name == name and not isinstance(row, CannotBeWrong):
            possible |= {bad.reason.name for bad in row}
    fields = RPCS[name].method.input_type.fields_by_name
    possible |= {"CURSOR_MISMATCH"} if "expected_cursor" in fields else set()
    possible |= {"REQUEST_ID_REUSED"} if "request_id" in fields else set()
    assert possible <= listed


@pytest.fixture(scope="module")
def copied_protos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the protos, their generator and what it made."""
    root = tmp_path_factory.mktemp("protos")
    shutil.copytree(ROOT / "protos", root / "protos", ignore=shutil.ignore_patterns("__pycache__"))
    generated = Path("clients", "python", "turntree", "v1")
    shutil.copytree(ROOT / generated, root / generated, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "buf.yaml", root)
    return root


def _generate(root: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, root / "protos" / "generate.py", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("string session_id = 1", "string sessionId = 1", "lower_snake_case"),
        ("  // The items, each a JSON text in UTF-8; 1 to 10,000 of them.\n", "", "comment"),
        ("rpc PopItem(PopItemRequest)", "rpc PopItem(GetItemsRequest)", "PopItemRequest"),
    ],
)
def test_lint_refuses_a_broken_proto(copied_protos: Path, right: str, wrong: str, complaint: str) -> None:
    """The linter passes the protos as they are and fails on a name, a comment or a type that is wrong."""
    proto = copied_protos / "protos" / "turntree" / "v1" / "session.proto"
    intact = proto.read_text()
    assert right in intact
    proto.write_text(intact.replace(right, wrong, 1))
    refused = _generate(copied_protos, "lint")
    proto.write_text(intact)
    passed = _generate(copied_protos, "lint")
    assert refused.returncode != 0
    assert complaint in refused.stdout + refused.stderr
    assert (passed.returncode, passed.stdout) == (0, "")


def test_stale_generated_code_is_noticed(copied_protos: Path) -> None:
    """Generated code that is not what the protos give is named, and the code that is checked in is fresh."""
    proto = copied_protos / "protos" / "turntree" / "v1" / "turn.proto"
    intact = proto.read_text()
    proto.write_text(intact.replace("LETTER_CASE_UNICODE = 2", "LETTER_CASE_UNICODE = 3"))
    stale = _generate(copied_protos, "fresh")
    proto.write_text(intact)
    assert stale.returncode != 0
    assert "turn_pb2.py" in stale.stderr
    assert _generate(copied_protos, "fresh").returncode == 0


# On the wire


class FailingStore(LocalStore):
    """Raises what its session's name says: at once, in a write, or after the first part of a stream."""

    def _fail(self, session_id: str) -> None:
        if session_id == "secret":
            raise RuntimeError("secret")
        raise STATED[session_id]

    async def get_session(self, session_id: str) -> Session:
        """Fail, or never answer."""
        if session_id == "slow":
            await asyncio.Event().wait()
        self._fail(session_id)
        raise AssertionError

    async def stream_items(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        window: ItemsWindow = ALL_ITEMS,
        include_metadata: bool = False,
        native_dialect: str | None = None,
    ) -> AsyncGenerator[ItemsDelta, None]:
        """Fail in the middle."""
        yield replace(await self.get_items(session_id), more=True)
        self._fail(session_id)


@asynccontextmanager
async def serving(store: LocalStore) -> AsyncIterator[str]:
    """The address of a server on a store."""
    server = Server(Settings(port=0, grace_s=1), store)
    await server._listen()
    try:
        yield server.address
    finally:
        await server.stop()


@pytest.fixture
async def failing() -> AsyncIterator[RemoteStore]:
    """A store whose server fails in every way."""
    store = FailingStore(await SqliteEngine.open(IN_MEMORY))
    async with serving(store) as address, RemoteStore(address, retry_for_s=0.2) as remote:
        yield remote


async def test_every_reason_arrives_as_its_class_with_its_facts(failing: RemoteStore) -> None:
    """What a store raises behind a server, a client raises too: class, reason, message and facts."""

    async def in_call(name: str) -> None:
        await failing.get_session(name)

    async def in_stream(name: str) -> None:
        async for delta in failing.stream_items(name):
            assert delta.items == ()

    ways = [(way, name) for way in (in_call, in_stream) for name in STATED]
    raised = await asyncio.gather(*(way(name) for way, name in ways), return_exceptions=True)
    for (way, name), error in zip(ways, raised, strict=True):
        stated = STATED[name]
        assert type(error) is type(stated), (way, error)
        assert isinstance(error, TurntreeError)
        assert (error.reason, error.message, error.facts) == (stated.reason, stated.message, stated.facts)


@pytest.mark.parametrize("rpc_name", ["GetSession", "StreamItems"])
async def test_what_nobody_expected_is_internal_and_says_nothing(
    failing: RemoteStore, rpc_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception that is not of turntree's reaches the log, and of it nothing reaches the client."""
    rpc = RPCS[rpc_name]
    request = rpc.request(session_id="secret").SerializeToString()
    async with grpc.aio.insecure_channel(failing.target) as channel:
        method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(rpc.path)
        answers = method(request)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async for _ in answers:
                pass
        code, details, trailers = raised.value.code(), raised.value.details(), raised.value.trailing_metadata()
    assert (code, details) == (grpc.StatusCode.INTERNAL, "internal error")
    assert "secret" not in repr(trailers)
    assert "RuntimeError" not in repr(trailers)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert repr(record.exc_info[1]) == "RuntimeError('secret')"
    with pytest.raises(Internal) as typed:
        await failing.get_session("secret")
    assert (typed.value.reason, typed.value.facts) == (ErrorReason.INTERNAL, {})


@dataclass(frozen=True, slots=True)
class Served:
    """A server on a file, its store, and a client."""

    local: LocalStore
    remote: RemoteStore
    database: Path


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A session `s` of two turns behind a server."""
    database = tmp_path / "conversations.db"
    store = LocalStore(await SqliteEngine.open(database))
    await store.add_items("s", turns(2), request_id="first")
    async with serving(store) as address, RemoteStore(address) as remote:
        yield Served(store, remote, database)


async def test_what_does_not_exist(served: Served) -> None:
    """Sessions, branches, turns and contents that do not exist are told apart, each with its facts."""
    store = served.remote
    calls = {
        ErrorReason.SESSION_NOT_FOUND: (store.get_session("t"), {"session_id": "t"}),
        ErrorReason.BRANCH_NOT_FOUND: (store.get_branch("s", "b"), {"session_id": "s", "branch_id": "b"}),
        ErrorReason.TURN_NOT_FOUND: (
            store.create_branch("s", AfterTurn(9)),
            {"session_id": "s", "branch_id": "main", "turn": "9"},
        ),
        ErrorReason.CONTENT_NOT_FOUND: (
            store.create_branch("s", BeforeContent("nowhere")),
            {"session_id": "s", "branch_id": "main"},
        ),
    }
    assert calls.keys() == NotFound.reasons
    for reason, (refused, facts) in calls.items():
        with pytest.raises(NotFound) as raised:
            await refused
        assert (raised.value.reason, raised.value.facts) == (reason, facts)


async def test_what_the_store_is_not_in_a_state_for(served: Served) -> None:
    """Used and protected branch ids, reused request ids and lost races are told apart, each with its facts."""
    store = served.remote
    cursor = await cursor_of(store, "s")
    await store.create_branch("s", AfterTurn(1), new_branch_id="b")
    await store.add_items("s", [user("somebody else's")])
    calls = {
        ErrorReason.BRANCH_ID_USED: (
            store.create_branch("s", AfterTurn(1), new_branch_id="b"),
            AlreadyExists,
            {"session_id": "s", "branch_id": "b"},
        ),
        ErrorReason.BRANCH_PROTECTED: (store.delete_branch("s", "main"), FailedPrecondition, {"branch_id": "main"}),
        ErrorReason.REQUEST_ID_REUSED: (
            store.add_items("s", [user("other")], request_id="first"),
            FailedPrecondition,
            {"request_id": "first"},
        ),
        ErrorReason.CURSOR_MISMATCH: (
            store.add_items("s", [user("mine")], expected_cursor=cursor),
            Conflict,
            {"session_id": "s", "branch_id": "main"},
        ),
    }
    for reason, (refused, error_class, facts) in calls.items():
        with pytest.raises(error_class) as raised:
            await refused
        assert isinstance(raised.value, TurntreeError)
        assert (raised.value.reason, raised.value.facts) == (reason, facts)


async def test_a_message_beyond_the_transport_limit(served: Served) -> None:
    """A request that the server does not even read is RESOURCE_EXHAUSTED, and nothing of it is stored."""
    request = session_pb2.AddItemsRequest(session_id="t", items=[b'"' + bytes(65 * 1024 * 1024) + b'"'])
    with pytest.raises(ResourceExhausted) as raised:
        await served.remote._call(request, session_pb2.AddItemsResponse)
    assert raised.value.reason is ErrorReason.MESSAGE_TOO_LARGE
    with pytest.raises(NotFound):
        await served.remote.get_session("t")


async def test_a_deadline(failing: RemoteStore) -> None:
    """A call that takes too long is DEADLINE_EXCEEDED, and its store goes on."""
    async with RemoteStore(failing.target, timeout_s=0.2) as hasty:
        with pytest.raises(DeadlineExceeded) as raised:
            await hasty.get_session("slow")
    assert (raised.value.reason, raised.value.facts) == (ErrorReason.DEADLINE_EXCEEDED, {})
    assert (await failing.get_items("s")).items == ()


async def test_no_server() -> None:
    """Where nothing listens, a call is SERVER_UNREACHABLE and names the target."""
    store = LocalStore(await SqliteEngine.open(IN_MEMORY))
    async with serving(store) as address:
        pass
    async with RemoteStore(address, timeout_s=20) as remote:
        with pytest.raises(Unavailable) as raised:
            await remote.get_session("s")
    assert (raised.value.reason, raised.value.facts) == (ErrorReason.SERVER_UNREACHABLE, {"target": address})


async def test_a_closed_store_behind_a_server(served: Served) -> None:
    """While the database closes, calls are UNAVAILABLE with SERVER_STOPPING, so that clients go elsewhere."""
    await served.local.close()
    async with grpc.aio.insecure_channel(served.remote.target) as channel:
        for name in ("GetItems", "StreamItems", "Watch", "ClearSession"):
            fields = {"session_id": "s"} | ({"request_id": "r"} if name == "ClearSession" else {})
            seen = await refusal(channel, RPCS[name], RPCS[name].request(**fields).SerializeToString())
            assert seen == Refusal(grpc.StatusCode.UNAVAILABLE, ErrorReason.SERVER_STOPPING)


async def test_a_database_that_fails(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """What the database says of its own failure stays inside: UNAVAILABLE with STORE_FAILED, no fact and no SQL."""
    with closing(sqlite3.connect(served.database)) as connection:
        connection.execute("DROP TABLE turn_usage")
    rpc = RPCS["GetSessionUsage"]
    async with grpc.aio.insecure_channel(served.remote.target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(channel, rpc, rpc.request(session_id="s").SerializeToString())
        text = f"{raised.value.debug_error_string()} {raised.value.trailing_metadata()!r}"
        assert "turn_usage" not in text
        assert "SELECT" not in text
        seen = await refusal(channel, rpc, rpc.request(session_id="s").SerializeToString())
    assert seen == Refusal(grpc.StatusCode.UNAVAILABLE, ErrorReason.STORE_FAILED)


async def test_a_database_that_another_program_holds(served: Served) -> None:
    """A write that cannot get the database is UNAVAILABLE with STORE_BUSY, has no effect, and works when repeated."""
    rpc = RPCS["AddItems"]
    request = rpc.request(session_id="s", items=[user("q")], request_id="r").SerializeToString()
    async with grpc.aio.insecure_channel(served.remote.target) as channel:
        with closing(sqlite3.connect(served.database, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            assert await refusal(channel, rpc, request) == Refusal(grpc.StatusCode.UNAVAILABLE, ErrorReason.STORE_BUSY)
            assert len((await served.remote.get_items("s")).items) == 4
            connection.execute("ROLLBACK")
        assert await refusal(channel, rpc, request) is None
    assert len((await served.remote.get_items("s")).items) == 5


# What a client makes of a server that is not of its version


def _rpc_error(code: grpc.StatusCode, *trailers: tuple[str, bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), details="said")


def test_a_reason_of_a_newer_server() -> None:
    """A reason that this client does not know is INTERNAL, with its message and facts."""
    error = NotFound(ErrorReason.SESSION_NOT_FOUND, "said", session_id="s")
    code, _, ((key, value),) = to_status(error)
    newer = value.replace(b"SESSION_NOT_FOUND", b"SESSION_NOT_KNOWN")
    assert newer != value
    read = from_rpc_error(_rpc_error(code, (key, newer)), "target")
    assert (type(read), read.message, read.facts) == (Internal, "said", {"session_id": "s"})


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED])
def test_a_connection_that_broke(code: grpc.StatusCode) -> None:
    """What gRPC itself says of a stream that was cut is SERVER_UNREACHABLE, which is retried, and no INTERNAL error."""
    read = from_rpc_error(_rpc_error(code), "host:1")
    assert (type(read), read.reason) == (Unavailable, ErrorReason.SERVER_UNREACHABLE)


@pytest.mark.parametrize("details", [b"\xff", b"", b"\x0a\x05s"])
def test_details_that_are_not_turntree_s(details: bytes) -> None:
    """Details that a proxy made or cut do not hide the error they came with."""
    read = from_rpc_error(_rpc_error(grpc.StatusCode.UNAVAILABLE, (DETAILS_KEY, details)), "host:1")
    assert (type(read), read.reason) == (Unavailable, ErrorReason.SERVER_UNREACHABLE)
    assert read.facts == {"target": "host:1"}
