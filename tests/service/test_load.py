"""How much: limits of load by credential and namespace, what they answer, and how the client takes it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from pysqlite3 import dbapi2 as sqlite3
from turntree.errors import ErrorReason, ResourceExhausted, TurntreeError, Unavailable, exhausted
from turntree.model import AtHead, BranchPointer, Usage
from turntree.remote import RemoteStore
from turntree.rpc_errors import from_status_message, to_status_message
from turntree_server.access.jwt_settings import JwtSettings
from turntree_server.access.load import Load
from turntree_server.app import Server
from turntree_server.engine import sqlite_writer
from turntree_server.engine.sqlite import IN_MEMORY, SqliteEngine
from turntree_server.local_store import LocalStore
from turntree_server.namespaces import ManyNamespaces
from turntree_server.operations.quota import Quota
from turntree_server.settings import LoadLimits, Settings

from tests.support.clock import StillClock
from tests.support.credentials import AUDIENCE, ISSUER, Signer
from tests.support.items import large, user
from tests.support.reading import ended
from tests.support.rpc import RPCS, call, read_refusal
from tests.support.server_process import ServerProcess

WITHIN_S = 30


@asynccontextmanager
async def serving(folder: Path, **limits: Any) -> AsyncIterator[Server]:
    """A server with these limits."""
    settings = Settings(db=str(folder / "conversations.db"), port=0, grace_s=1, load=LoadLimits(**limits))
    server = await Server.start(settings)
    try:
        yield server
    finally:
        await server.stop()


# Counting


def test_a_bucket_lets_bursts_through_and_then_the_rate() -> None:
    """A credential may begin as many calls at once as it may in a second, then one whenever the rate allows it."""
    now = 100.0
    load = Load(1_000, 10, 5, clock=lambda: now)

    begun = 0

    def begin_many() -> None:
        nonlocal begun
        begun = 0
        while True:
            load.begin("a", is_watch=False)
            begun += 1

    for pause_s, count in ((0, 5), (0.7, 3), (3_600, 5)):
        now += pause_s
        with pytest.raises(ResourceExhausted) as raised:
            begin_many()
        assert begun == count
        assert (raised.value.reason, raised.value.facts) == (ErrorReason.RATE_EXCEEDED, {"limit": "5 calls a second"})
        assert raised.value.retry_after_s is not None
        assert 0 < raised.value.retry_after_s <= 0.2
    load.begin("b", is_watch=False)


def test_what_is_at_work_is_counted_by_credential() -> None:
    """Calls and watches have limits of their own, each credential has its own count, and an end makes room."""
    load = Load(2, 1, 0)
    for _ in range(2):
        load.begin("a", is_watch=False)
    load.begin("a", is_watch=True)
    for is_watch, limit in ((False, "2 calls at once"), (True, "1 watches at once")):
        with pytest.raises(ResourceExhausted) as raised:
            load.begin("a", is_watch=is_watch)
        assert (raised.value.reason, raised.value.facts) == (ErrorReason.CONCURRENCY_EXCEEDED, {"limit": limit})
        assert raised.value.retry_after_s is not None
        load.begin("b", is_watch=is_watch)
        load.end("a", is_watch=is_watch)
        load.begin("a", is_watch=is_watch)


def test_credentials_at_rest_are_forgotten() -> None:
    """Whoever called once is not remembered for ever, and whoever is at work or has an empty bucket is."""
    now = 0.0
    load = Load(10, 10, 2, clock=lambda: now)
    for name in ("rests", "works"):
        load.begin(name, is_watch=False)
    load.end("rests", is_watch=False)
    load.forget_idle()
    assert load._uses.keys() == {"rests", "works"}
    now += 1
    load.forget_idle()
    assert load._uses.keys() == {"works"}


# What a client gets


def test_the_time_to_wait_goes_over_the_wire() -> None:
    """`RetryInfo` carries the time to wait, beside the reason and its facts."""
    error = exhausted(ErrorReason.OVERLOADED, "3 things", retry_after_s=1.25)
    status = to_status_message(error)
    retry = error_details_pb2.RetryInfo()
    assert [detail.Unpack(retry) for detail in status.details] == [False, True]
    assert retry.retry_delay.ToMilliseconds() == 1_250
    received = from_status_message(status_pb2.Status.FromString(status.SerializeToString()))
    assert type(received) is ResourceExhausted
    assert (received.reason, received.facts, received.retry_after_s) == (error.reason, error.facts, 1.25)
    assert to_status_message(exhausted(ErrorReason.QUOTA_EXCEEDED, "3 sessions")).details[1:] == []


async def test_a_call_beyond_the_rate_is_shed_at_once(tmp_path: Path) -> None:
    """A plain client is told at once, with code, limit and the time to wait; a write that was shed did not happen."""
    async with serving(tmp_path, rate_max=2) as server, grpc.aio.insecure_channel(server.address) as channel:
        add = RPCS["AddItems"]
        refusals = []
        for number in range(4):
            request = add.request(session_id="s", items=[user(str(number))], request_id=str(number))
            try:
                await call(channel, add, request.SerializeToString())
            except grpc.aio.AioRpcError as error:
                refusals.append(read_refusal(error))
        async with server.namespaces.use("default") as store:
            assert len((await store.read_items("s")).items) == 4 - len(refusals)
    assert refusals
    assert {(seen.code.name, seen.reason, seen.facts["limit"]) for seen in refusals} == {
        ("RESOURCE_EXHAUSTED", ErrorReason.RATE_EXCEEDED, "2 calls a second")
    }


async def test_the_client_waits_and_retries(tmp_path: Path) -> None:
    """More calls than the rate allows all succeed, each once, because the client waits as it is told."""
    async with serving(tmp_path, rate_max=20) as server, RemoteStore(server.address) as store:
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*(store.add_items(f"s{number}", [user("x")]) for number in range(40)))
        async with server.namespaces.use("default") as local:
            assert len((await local.list_sessions()).entries) == 40


async def test_a_client_that_may_not_wait_so_long_is_told(tmp_path: Path) -> None:
    """When the time to wait is beyond the time for retries, the error comes at once, not when that time is over."""
    async with serving(tmp_path, rate_max=0.01) as server, RemoteStore(server.address) as store:
        await store.add_items("s", [user("1")])
        async with asyncio.timeout(3):
            with pytest.raises(ResourceExhausted) as raised:
                await store.add_items("s", [user("2")])
    assert raised.value.retry_after_s is not None
    assert raised.value.retry_after_s > 50


async def test_watches_have_a_limit(tmp_path: Path) -> None:
    """One watch more than a credential may have is refused, and there is room again when one ends."""
    async with serving(tmp_path, watches_max=2) as server, RemoteStore(server.address, retry_for_s=0) as store:
        watches = [store.watch("s") for _ in range(3)]
        async with asyncio.timeout(WITHIN_S), ended(watches[1]):
            async with ended(watches[0]):
                await anext(watches[0])
                await anext(watches[1])
                with pytest.raises(ResourceExhausted, match="2 watches at once"):
                    await anext(watches[2])
            await asyncio.sleep(0)
            while True:
                again = store.watch("s")
                async with ended(again):
                    try:
                        await anext(again)
                        break
                    except ResourceExhausted:  # the end of the first is on its way
                        continue


async def test_the_writer_does_not_pile_up_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk does not keep up, mutations beyond the queue are refused at once, and the others happen."""
    monkeypatch.setattr(sqlite_writer, "WAITING_MAX", 8)
    path = tmp_path / "conversations.db"
    async with LocalStore(await SqliteEngine.open(path)) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other_program:
            other_program.execute("BEGIN IMMEDIATE")
            writing = [asyncio.create_task(store.add_items(f"s{number}", [user("x")])) for number in range(300)]
            done, _ = await asyncio.wait(writing, timeout=2)
            refused = [task.exception() for task in done]
            assert refused
            other_program.execute("ROLLBACK")
        results = await asyncio.gather(*writing, return_exceptions=True)
        written = [result for result in results if not isinstance(result, BaseException)]
        assert len(written) + len(refused) == 300
        for error in refused:
            assert isinstance(error, ResourceExhausted)
            assert error.facts == {"limit": "8 mutations that wait"}
        assert len((await store.list_sessions(page_size=1_000)).entries) == len(written)


async def test_work_that_nobody_waits_for_is_not_begun(tmp_path: Path) -> None:
    """A write whose caller's time is up before its turn comes does not happen."""
    path = tmp_path / "conversations.db"
    async with LocalStore(await SqliteEngine.open(path)) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other_program:
            other_program.execute("BEGIN IMMEDIATE")
            first = asyncio.create_task(store.add_items("s", [user("first")]))
            await asyncio.sleep(0.2)  # it is at work, and waits for the lock
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await store.add_items("late", [user("late")])
            other_program.execute("ROLLBACK")
        await first
        await store.add_items("s", [user("after")])  # what came before it is done, or never will be
        assert [session.session_id for session in (await store.list_sessions()).entries] == ["s"]


async def _fill(store: RemoteStore) -> None:
    for number in range(64):
        await store.add_items(f"s{number}", [large(f"i{number}", 500_000)], request_id=f"r{number}")


@pytest.mark.parametrize("option", ["--sessions-max=2", "--bytes-max=2000000"])
async def test_a_namespace_that_is_full(option: str, tmp_path: Path) -> None:
    """What would add to a full namespace is refused with its limit; what is there can be read, repeated and removed."""
    process = ServerProcess.start(tmp_path / "conversations.db", options=[option])
    try:
        async with asyncio.timeout(WITHIN_S), RemoteStore(process.address) as store:
            with pytest.raises(ResourceExhausted) as raised:
                await _fill(store)
            number = len((await store.list_sessions()).entries)
            assert raised.value.reason is ErrorReason.QUOTA_EXCEEDED
            assert raised.value.retry_after_s is None
            assert number >= 2
            repeated = await store.add_items("s0", [large("i0", 500_000)], request_id="r0")
            assert repeated.cursor == (await store.get_items("s0")).cursor
            for done in range(number):
                await store.delete_session(f"s{done}")
            await store.add_items("again", [user("room")])
        process.stop()
    finally:
        process.kill()


async def test_what_removes_nothing_does_not_grow_a_full_namespace(tmp_path: Path) -> None:
    """Pops and clears are carried out in a full namespace where they remove items; others would fill it further."""
    engine = await SqliteEngine.open(tmp_path / "conversations.db")
    async with LocalStore(engine, quota=Quota(bytes_max=1)) as full, LocalStore(engine) as store:
        await store.add_items("s", [user("1"), user("2"), user("3")])
        await store.create_branch("s", AtHead(), new_branch_id="b")
        await store.update_session("empty", labels={"a": "b"})
        assert (await full.pop_item("s", request_id="r")).item == user("3")
        assert (await full.pop_item("s", request_id="r")).item == user("3")
        for session_id in ("empty", "absent"):
            for removed in (full.pop_item(session_id), full.clear_session(session_id)):
                with pytest.raises(ResourceExhausted, match="1 bytes"):
                    await removed
        for _ in range(2):
            await store.pop_item("s")
        with pytest.raises(ResourceExhausted):
            await full.pop_item("s")  # while the other branch has items
        await full.clear_session("s")
        assert not (await store.read_items("s", branch=BranchPointer("b", 0))).items


async def test_sessions_that_exist_grow_in_a_full_namespace(tmp_path: Path) -> None:
    """A limit on sessions is one on new sessions, and says nothing about what makes none."""
    engine = await SqliteEngine.open(tmp_path / "conversations.db")
    async with LocalStore(engine, quota=Quota(sessions_max=1)) as store:
        await store.add_items("s", [user("1")])
        await store.add_items("s", [user("2")])
        with pytest.raises(ResourceExhausted, match="1 sessions"):
            await store.update_session("t", labels={"a": "b"})
        assert not (await store.record_usage("t", Usage(requests=1))).recorded


async def test_sessions_that_expired_take_no_room(clock: StillClock) -> None:
    """A session that is past its expiry counts no more, as it looks to everybody as if it were gone."""
    async with LocalStore(await SqliteEngine.open(), quota=Quota(sessions_max=1), clock=clock) as store:
        await store.add_items("s", [user("1")])
        await store.update_session("s", expiry=timedelta(seconds=1))
        with pytest.raises(ResourceExhausted):
            await store.add_items("t", [user("1")])
        clock.advance(seconds=2)
        await store.add_items("t", [user("1")])
        with pytest.raises(ResourceExhausted):
            await store.add_items("u", [user("1")])


# Namespaces


class Opened:
    """Counts the stores that are open, by namespace."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.fails = False
        self.failures = 0

    async def open(self, namespace: str) -> LocalStore:
        """Open a store in memory, and note it until it is closed."""
        if self.fails:
            self.failures += 1
            raise Unavailable(ErrorReason.STORE_FAILED, "cannot open /var/secret/path.db")
        store = LocalStore(await SqliteEngine.open(IN_MEMORY))
        self.names.append(namespace)
        close: Callable[[], Any] = store.close

        async def noted() -> None:
            self.names.remove(namespace)
            await close()

        store.close = noted  # type: ignore[method-assign]
        return store


async def test_the_least_recently_used_namespace_makes_room() -> None:
    """Not more than so many are open; the one longest at rest is closed, and one at work is not."""
    opened = Opened()
    namespaces = ManyNamespaces(opened.open, 2, "")
    async with namespaces.use("a") as held:
        async with namespaces.use("b"):
            pass
        async with namespaces.use("c"):
            assert opened.names == ["a", "c"]
        async with namespaces.use("d"):
            assert opened.names == ["a", "d"]
        await held.add_items("s", [user("hi")])
        async with namespaces.use("a") as again:
            assert again is held
    async with namespaces.use("e"), namespaces.use("f"):
        assert sorted(opened.names) == ["e", "f"]
        with pytest.raises(ResourceExhausted) as raised:
            await namespaces.acquire("g")
        assert raised.value.facts == {"limit": "2 namespaces at work"}
        assert raised.value.retry_after_s is not None
    await namespaces.close()
    assert opened.names == []
    with pytest.raises(TurntreeError):
        await namespaces.acquire("a")


async def test_a_namespace_is_opened_once_for_all_who_ask_at_once() -> None:
    """Many callers of many namespaces never meet two stores of one, nor a closed one."""
    opened = Opened()
    namespaces = ManyNamespaces(opened.open, 3, "")

    async def use(number: int) -> int:
        name = f"n{number % 7}"
        while True:
            try:
                async with namespaces.use(name) as store:
                    assert opened.names.count(name) == 1
                    assert len(opened.names) <= 3
                    await store.add_items(f"s{number}", [user("x")])
                    return 1
            except ResourceExhausted:
                await asyncio.sleep(0.01)

    async with asyncio.timeout(WITHIN_S):
        assert sum(await asyncio.gather(*(use(number) for number in range(200)))) == 200
    await namespaces.close()


async def test_a_namespace_that_cannot_be_opened(caplog: pytest.LogCaptureFixture) -> None:
    """Its callers learn nothing of where it is, the log does, and it is tried again after a rest, however many ask."""
    opened = Opened()
    opened.fails = True
    namespaces = ManyNamespaces(opened.open, 2, "")
    errors = await asyncio.gather(*(namespaces.acquire("a") for _ in range(3)), return_exceptions=True)
    errors += [
        error for _ in range(3) for error in await asyncio.gather(namespaces.acquire("a"), return_exceptions=True)
    ]
    for error in errors:
        assert isinstance(error, Unavailable)
        assert error.reason is ErrorReason.STORE_FAILED
        assert "secret" not in error.message
        assert error.retry_after_s is not None
        assert 0 < error.retry_after_s <= 1
    assert opened.failures == 1
    assert caplog.text.count("/var/secret/path.db") == 1
    opened.fails = False
    async with namespaces.use("b"):
        pass
    await asyncio.sleep(1)
    async with namespaces.use("a"):
        pass
    await namespaces.close()


@pytest.mark.parametrize("fails", [True, False])
async def test_a_namespace_that_is_being_opened_at_the_end(fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A server that ends waits for no database that is not open yet; one that cannot be opened leaves no traceback."""
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def open_store(_: str) -> LocalStore:
        has_begun.set()
        await may_end.wait()
        raise Unavailable(ErrorReason.STORE_FAILED, "cannot be opened")

    namespaces = ManyNamespaces(open_store, 2, "")
    asking = asyncio.create_task(namespaces.acquire("a"))
    await has_begun.wait()
    asking.cancel()
    if fails:
        may_end.set()
    async with asyncio.timeout(WITHIN_S):
        await namespaces.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not [record for record in caplog.records if record.exc_info]


async def test_tenants_beyond_the_open_ones_take_turns(tmp_path: Path) -> None:
    """With room for two, five tenants write and read each their own, and a watch keeps its namespace open."""
    signer = Signer(tmp_path / "jwks.json")
    settings = Settings(
        data_dir=tmp_path / "data",
        port=0,
        grace_s=1,
        jwt=JwtSettings(str(signer.jwks), AUDIENCE, ISSUER),
        load=LoadLimits(namespaces_max=2),
    )
    server = await Server.start(settings)
    stores = [RemoteStore(server.address, token=signer.token("writer", f"t{number}")) for number in range(5)]
    try:
        async with asyncio.timeout(WITHIN_S), ended(stores[0].watch("s")) as watch:
            await anext(watch)
            for turn in (1, 2):
                for number, store in enumerate(stores):
                    assert (await store.add_items("s", [user(f"{number}")])).turn == turn
            for number, store in enumerate(stores):
                assert (await store.read_items("s")).items == (user(f"{number}"),) * 2
            seen: list[bytes] = []
            while len(seen) < 2:
                seen += (await anext(watch)).items
            assert seen == [user("0")] * 2
    finally:
        for store in stores:
            await store.close()
        await server.stop()


# The end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_at_once(number: signal.Signals, tmp_path: Path) -> None:
    """A server that waits for what is in flight ends when it is asked again."""
    process = ServerProcess.start(tmp_path / "conversations.db", options=["--grace=60"])
    try:
        async with asyncio.timeout(WITHIN_S), RemoteStore(process.address) as store:
            for name in ("a", "b", "c"):
                await store.add_items("long", [large(name, 1024 * 1024)] * 12)
            stream = store.stream_items("long")
            await anext(stream)  # and no more, so that it stays in flight
            process.process.send_signal(number)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await asyncio.to_thread(process.process.wait, 1.5)
            process.process.send_signal(number)
            assert await asyncio.to_thread(process.process.wait, WITHIN_S) == -number
    finally:
        process.kill()
