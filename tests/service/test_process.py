"""The command `turntree`: what it prints, how it starts, how it refuses to, and how it ends."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from pysqlite3 import dbapi2 as sqlite3
from turntree.errors import ErrorReason, Unavailable
from turntree.remote import RemoteStore
from turntree_server import __version__
from turntree_server.access.keys import read_keys
from turntree_server.exit_codes import ExitCode

from tests.support.database import dump
from tests.support.items import large, turns, user
from tests.support.reading import items_of
from tests.support.rpc import RPCS, Refusal, call, read_refusal
from tests.support.server_process import ServerProcess

ANY_PORT = ("--listen", "127.0.0.1:0")
COMMAND = Path(sys.executable).with_name("turntree")
SERVICES = sorted({*(rpc.method.containing_service.full_name for rpc in RPCS.values()), "turntree.v1.PipelineService"})
WITHIN_S = 30
MIB = 1024 * 1024


@pytest.fixture
async def channel(server: ServerProcess) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the server, without retries."""
    async with grpc.aio.insecure_channel(server.address, options=[("grpc.enable_retries", 0)]) as opened:
        yield opened


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, timeout=WITHIN_S, check=False, env=environment or None
    )


@contextmanager
def started(*arguments: str | Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command, and wait for the first line it prints."""
    with subprocess.Popen(
        [*arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment or None
    ) as process:
        try:
            assert process.stdout is not None
            announced, _, _ = select.select([process.stdout], [], [], WITHIN_S)
            assert announced
            yield process, process.stdout.readline()
        finally:
            process.kill()


def assert_refused(ended: subprocess.CompletedProcess[str], *words: str, code: int = ExitCode.FAILED) -> None:
    """It failed with this code and one line on stderr that has these words, and printed nothing else."""
    assert ended.returncode == code, ended
    assert ended.stdout == ""
    assert re.fullmatch(r"turntree: [^\n]+\n", ended.stderr), ended.stderr
    for word in words:
        assert word in ended.stderr


async def ended(server: ServerProcess) -> int:
    """Wait for the end of a server, and return its exit code."""
    return await asyncio.to_thread(server.process.wait, WITHIN_S)


# What it prints


@pytest.mark.parametrize("arguments", [["doctor"], ["keys", "create"]])
def test_an_output_that_is_full(arguments: list[str], tmp_path: Path) -> None:
    """A command whose output cannot be written says so in one line, and keeps no key that nobody has seen."""
    keys = tmp_path / "keys.json"
    if arguments[0] == "keys":
        arguments += ["--keys-file", str(keys), "--name", "agent", "--role", "writer"]
    with open("/dev/full", "w") as full:
        ended = subprocess.run([COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == ExitCode.FAILED
    assert re.fullmatch(r"turntree: [^\n]*No space left on device\n", ended.stderr), ended.stderr
    assert not keys.exists() or not read_keys(keys)


async def test_the_announcement_is_one_line_and_true(tmp_path: Path) -> None:
    """One line says version, address and file; when it is there, the first call is answered, and nothing follows."""
    db = tmp_path / "conversations.db"
    with started(COMMAND, "serve", "--db", db, "--listen", "127.0.0.1:0") as (process, line):
        pattern = r"turntree (\S+) listening on (127\.0\.0\.1:\d+) \(sqlite: (.*)\)\n"
        announced = re.fullmatch(pattern, line)
        assert announced, line
        version, address, path = announced.groups()
        assert (version, path) == (__version__, str(db))
        async with grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        process.send_signal(signal.SIGTERM)
        rest, complaints = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, rest, complaints) == (0, "", "")


def test_port_0_picks_a_free_port(server: ServerProcess, tmp_path: Path) -> None:
    """Servers that are asked for port 0 get a port each, and say which."""
    other = ServerProcess.start(tmp_path / "other.db")
    try:
        ports = {address.rpartition(":")[2] for address in (server.address, other.address)}
    finally:
        other.stop()
    assert len(ports) == 2
    assert "0" not in ports


def test_the_module_is_the_command(tmp_path: Path) -> None:
    """`python -m turntree_server` is `turntree`, and takes its settings from the environment too."""
    version = subprocess.run(
        [sys.executable, "-m", "turntree_server", "--version"],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=True,
    )
    assert version.stdout == f"turntree {__version__}\n"
    settings = {"TURNTREE_DB": str(tmp_path / "by_environment.db"), "TURNTREE_LISTEN": "127.0.0.1:0"}
    with started(sys.executable, "-m", "turntree_server", "serve", **settings) as (process, line):
        assert line.endswith(f"(sqlite: {tmp_path}/by_environment.db)\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0


def test_doctor_names_the_sqlite_in_use() -> None:
    """`turntree doctor` says which SQLite the server runs on, and it is one without the WAL-reset fault."""
    report = run("doctor")
    assert (report.returncode, report.stderr) == (0, "")
    (found,) = re.findall(r"(?m)^SQLite (\d+)\.(\d+)\.(\d+): sound$", report.stdout)
    assert tuple(map(int, found)) == sqlite3.sqlite_version_info >= (3, 51, 3)
    assert f"turntree {__version__}\n" in report.stdout


# What answers beside turntree's own services


async def test_health(channel: grpc.aio.Channel) -> None:
    """The standard health service answers for the server and for each service, and knows no other."""
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", *SERVICES):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.Check(health_pb2.HealthCheckRequest(service="turntree.v1.Nothing"), timeout=5)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    every = await stub.List(health_pb2.HealthListRequest(), timeout=5)
    assert {name: answer.status for name, answer in every.statuses.items()} == dict.fromkeys(
        ("", *SERVICES), health_pb2.HealthCheckResponse.SERVING
    )


async def test_reflection_of_what_is_no_request(channel: grpc.aio.Channel) -> None:
    """Bytes that are no request for reflection are refused as those for any call are."""
    ask: Any = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    with pytest.raises(grpc.aio.AioRpcError, match="a message of the request's type") as raised:
        await anext(aiter(ask(iter([b"\xff"]), timeout=5)))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_reflection(channel: grpc.aio.Channel) -> None:
    """Server reflection lists every service and hands out the files that describe them."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        *(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in SERVICES),
    ]
    answers = [answer async for answer in stub.ServerReflectionInfo(iter(requests), timeout=5)]
    listed = {service.name for service in answers[0].list_services_response.service}
    assert listed == {*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    for name, answer in zip(SERVICES, answers[1:], strict=True):
        (file,) = answer.file_descriptor_response.file_descriptor_proto[:1]
        assert name.rpartition(".")[2].encode() in file


# How it ends


@asynccontextmanager
async def health_watched(channel: grpc.aio.Channel) -> AsyncIterator[Any]:
    """A watch of the server's health that has said SERVING."""
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    yield watch
    watch.cancel()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_calls_in_flight_finish(
    server: ServerProcess, channel: grpc.aio.Channel, number: signal.Signals
) -> None:
    """A write and a stream that began before SIGTERM or SIGINT succeed after it, and the exit code is 0."""
    add, stream, get = RPCS["AddItems"], RPCS["StreamItems"], RPCS["GetItems"].request(session_id="s")
    async with asyncio.timeout(WITHIN_S), RemoteStore(server.address) as store:
        for name in ("a", "b"):
            await store.add_items("long", [large(name, MIB)] * 12)
        streaming: grpc.aio.UnaryStreamMultiCallable[bytes, Any] = channel.unary_stream(
            stream.path, response_deserializer=lambda data: len(data)
        )
        async with health_watched(channel) as health:
            parts = streaming(stream.request(session_id="long").SerializeToString())
            received: list[Any] = [await parts.read()]
            with closing(sqlite3.connect(server.db, isolation_level=None)) as other_program:
                other_program.execute("BEGIN IMMEDIATE")
                adding: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(add.path)
                request = add.request(session_id="s", items=turns(2), request_id="r").SerializeToString()
                written = adding(request)
                read: Any = await call(
                    channel, RPCS["GetItems"], get.SerializeToString()
                )  # sent after it, and answered
                assert not read.delta.items
                server.process.send_signal(number)
                assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
                assert not written.done()
                other_program.execute("ROLLBACK")
            assert await written
            while (part := await parts.read()) is not grpc.aio.EOF:
                received.append(part)
        assert sum(received) > 24 * MIB
        assert await parts.code() is grpc.StatusCode.OK
        assert await ended(server) == 0
    again = ServerProcess.start(server.db)
    try:
        async with RemoteStore(again.address) as store:
            assert await items_of(store, "s") == turns(2)
    finally:
        again.stop()


@pytest.mark.parametrize("starter", [["env", "--default-signal=HUP"], ["nohup"]])
def test_a_closed_terminal(starter: list[str], tmp_path: Path) -> None:
    """SIGHUP ends a server in good order, and one that was started to ignore it goes on."""
    arguments = ("serve", "--db", tmp_path / "a.db", "--listen", "127.0.0.1:0")
    with started(*starter, COMMAND, *arguments, PATH=os.environ["PATH"]) as (process, _):
        process.send_signal(signal.SIGHUP)
        if starter == ["nohup"]:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0


async def test_health_turns_not_serving_and_its_watch_ends(server: ServerProcess, channel: grpc.aio.Channel) -> None:
    """The last word of a health watch is NOT_SERVING, and a watch does not hold up the end of the server."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(WITHIN_S), health_watched(channel) as health:
        signalled = loop.time()
        server.process.send_signal(signal.SIGTERM)
        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await health.read() is grpc.aio.EOF
        assert await ended(server) == 0
    assert loop.time() - signalled < 5


async def test_watches_are_told_that_the_server_stops(server: ServerProcess, channel: grpc.aio.Channel) -> None:
    """A watch ends with UNAVAILABLE and SERVER_STOPPING, so that its client resumes elsewhere, and at once."""
    rpc = RPCS["Watch"]
    method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(rpc.path)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(WITHIN_S):
        watches = [method(rpc.request(session_id="s").SerializeToString()) for _ in range(10)]
        for watch in watches:
            await watch.read()
        signalled = loop.time()
        server.process.send_signal(signal.SIGTERM)
        for watch in watches:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await watch.read()
            assert read_refusal(raised.value) == Refusal(grpc.StatusCode.UNAVAILABLE, ErrorReason.SERVER_STOPPING)
        assert await ended(server) == 0
    assert loop.time() - signalled < 5


async def test_what_outlasts_the_grace_is_unavailable(tmp_path: Path) -> None:
    """A stream that nobody reads does not keep the server alive; its client gets UNAVAILABLE, which is retried."""
    db = tmp_path / "conversations.db"
    with started(COMMAND, "serve", "--db", db, "--listen", "127.0.0.1:0", "--grace", "0.2") as (process, line):
        async with asyncio.timeout(WITHIN_S), RemoteStore(line.split()[4], retry_for_s=0.5) as store:
            for name in ("a", "b", "c"):
                await store.add_items("long", [large(name, MIB)] * 12)
            stream = store.stream_items("long")
            await anext(stream)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, WITHIN_S) == 0
            with pytest.raises(Unavailable) as raised:
                async for _ in stream:
                    pass
    assert raised.value.reason is ErrorReason.SERVER_UNREACHABLE


# How it refuses to start


async def test_a_second_server_on_the_same_address(server: ServerProcess) -> None:
    """It fails with one line, and the first one and its database are as before."""
    async with RemoteStore(server.address) as store:
        await store.add_items("s", turns(2))
        before = dump(server.db)
        second = run("serve", "--db", server.db, "--listen", server.address)
        assert_refused(second, "cannot listen on", server.address, code=69)
        assert dump(server.db) == before
        await store.add_items("s", [user("after")])
        assert await items_of(store, "s") == [*turns(2), user("after")]
    server.stop()


@pytest.mark.parametrize(
    "listen",
    [
        *("nowhere", "127.0.0.1", ":50051", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:x", "127.0.0.1:²", ""),
        *("::1:0", "[::1:0", "unix:/tmp/socket:0", "unix:5", "UNIX-Abstract:5", "[]:0"),
    ],
)
def test_an_address_that_is_none(listen: str, tmp_path: Path) -> None:
    """An address that is not HOST:PORT is refused with what it must be, and no database is made."""
    refused = run("serve", "--db", tmp_path / "conversations.db", f"--listen={listen}", "--insecure")
    assert_refused(refused, "--listen", "HOST:PORT with a port from 0 to 65535", code=ExitCode.USAGE)
    assert not any(tmp_path.iterdir())


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    """An address that is not of this machine is refused, without gRPC's own noise."""
    refused = run("serve", "--db", tmp_path / "conversations.db", "--listen", "192.0.2.1:0", "--insecure")
    assert_refused(refused, "cannot listen on 192.0.2.1:0", "in use, not of this machine, or", code=69)
    assert not any(tmp_path.iterdir())


def test_a_database_in_no_folder(tmp_path: Path) -> None:
    """A folder that is not there is named, and not made."""
    refused = run("serve", "--db", tmp_path / "missing" / "conversations.db", "--listen", "127.0.0.1:0")
    assert_refused(refused, f"the folder {tmp_path}/missing does not exist", code=66)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["missing/data", "file", "file/data"])
def test_a_folder_of_namespaces_that_cannot_be_made(folder: str, tmp_path: Path) -> None:
    """It is named with the reason, and the code is that of a database whose folder is not there."""
    (tmp_path / "file").touch()
    refused = run("serve", "--data-dir", tmp_path / folder, "--listen", "127.0.0.1:0")
    assert_refused(refused, f"cannot open {tmp_path}/{folder}: the folder cannot be made", code=66)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["pipe", "null"])
def test_a_database_that_is_no_file(name: str, tmp_path: Path) -> None:
    """A pipe or a device is refused as what it is, and nothing is made beside it."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to(os.devnull)
    refused = run("serve", "--db", tmp_path / name, "--listen", "127.0.0.1:0")
    assert_refused(refused, f"cannot open {tmp_path}/{name}: it is not a file", code=66)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["null", "pipe"]


def test_a_database_that_is_a_folder(tmp_path: Path) -> None:
    """A path that cannot be opened is named with the reason."""
    refused = run("serve", "--db", tmp_path, "--listen", "127.0.0.1:0")
    assert_refused(refused, f"cannot open {tmp_path}: it is a folder", code=66)


@pytest.mark.parametrize("content", [b"Dear diary, " * 1000, b"SQLite format 3\0" + bytes(range(256)) * 64])
def test_a_database_that_is_another_file(content: bytes, tmp_path: Path) -> None:
    """A file that is not a database is refused and stays as it is."""
    path = tmp_path / "diary.txt"
    path.write_bytes(content)
    assert_refused(
        run("serve", "--db", path, "--listen", "127.0.0.1:0"), f"cannot open {path}: ", "not a SQLite database", code=76
    )
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_database_of_a_newer_turntree(server: ServerProcess) -> None:
    """A file with a schema that this turntree does not know is refused and stays as it is."""
    server.stop()
    with closing(sqlite3.connect(server.db)) as newer, newer:
        newer.execute("INSERT INTO turntree_migrations (number, name) VALUES (9999, 'later')")
    before = server.db.read_bytes()
    refused = run("serve", "--db", server.db, "--listen", "127.0.0.1:0")
    assert_refused(refused, "the database has schema 9999", "install a newer turntree", code=78)
    assert server.db.read_bytes() == before


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--db=", "a path, or :memory:"),
        ("--db= ", "a path, or :memory:"),
        ("--data-dir=", "a path"),
        ("--data-dir= ", "a path"),
        ("--keys-file=", "'', and must be a path"),
        ("--tls-cert=", "'', and must be a path"),
        ("--tls-key= ", "' ', and must be a path"),
        ("--tls-client-ca=", "'', and must be a path"),
        ("--jwks=", "'', and must be a file or an https:// URL"),
        ("--grace=-1", "a number of seconds from 0 on"),
        ("--grace=nan", "a number of seconds from 0 on"),
        ("--grace=inf", "a number of seconds from 0 on"),
        ("--grace=soon", "a number of seconds from 0 on"),
        ("--request-window=0", "hours above 0, at most 8760"),
        ("--request-window=1d", "hours above 0, at most 8760"),
        ("--calls-max=1.5", "'1.5', and must be a whole number from 1 on"),
        ("--sessions-max=many", "'many', and must be a whole number from 0 on"),
        ("--rate-max=fast", "'fast', and must be 0, or a number from 0.001 on"),
        ("--rate-max=1e-300", "'1e-300', and must be 0, or a number from 0.001 on"),
        ("--handshake=", "'', and must be a number from 0.001 on"),
        ("--handshake=0.0001", "'0.0001', and must be a number from 0.001 on"),
        ("--handshake=3000000", "and must be a number from 0.001 on, at most 2000000"),
        ("--connection-age=0.0001", "must be 0, or a number from 0.001 on, at most 2000000"),
        ("--connection-age=1e300", "must be 0, or a number from 0.001 on, at most 2000000"),
        ("--connections-max=2147483647", "must be a whole number from 1 on, at most 2147483646"),
        ("--rate-max=inf", "must be 0, or a number from 0.001 on"),
    ],
)
def test_a_setting_out_of_its_range(option: str, words: str) -> None:
    """A setting that makes no sense is refused with what it must be."""
    refused = run("serve", "--listen", "127.0.0.1:0", option)
    assert_refused(refused, option.partition("=")[0], words, code=ExitCode.USAGE)


def test_a_command_that_does_not_exist() -> None:
    """A word that is no command is refused with the list of those there are."""
    assert_refused(run("server"), "'server'", "'serve'", "doctor", "turntree --help", code=ExitCode.USAGE)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "COMMAND"),
        (["serve", "--bogus"], "--bogus"),
        (["serve", "--insec"], "unrecognized arguments: --insec"),
        (["keys", "list", "--keys", "keys.json"], "--keys-file"),
        (["serve", "two\nlines"], "two\\nlines"),
        (["serve", "--db"], "--db"),
        (["serve", "--skip-check=no"], "--skip-check"),
        (["keys", "revoke"], "turntree keys revoke --help"),
        (["restore"], "BACKUP"),
    ],
)
def test_a_line_that_is_none(arguments: list[str], word: str) -> None:
    """A wrong command line is refused in one line, without all the options there are, and with the way to them."""
    assert_refused(run(*arguments), word, "--help", code=ExitCode.USAGE)


def test_an_environment_that_is_wrong() -> None:
    """A setting of the environment is refused as that of the command line is."""
    refused = run("serve", TURNTREE_LISTEN="nowhere")
    assert_refused(refused, "'nowhere', and must be HOST:PORT", code=ExitCode.USAGE)
