"""How a client tries again: with a budget, at times of its own, and resuming streams where they were cut."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import turntree
from turntree import pipeline, retries
from turntree.errors import (
    ErrorReason,
    InvalidArgument,
    NotFound,
    TurntreeError,
    Unauthenticated,
    Unavailable,
    stopping,
)
from turntree.model import DeltaKind, ItemsWindow, TurnsDelta
from turntree.remote import RemoteStore
from turntree.retries import BUDGET, Backoff, RetryBudget
from turntree.seen_turns import SeenTurns
from turntree_server.app import Server
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.local_store import LocalStore
from turntree_server.settings import Settings

from tests.support.credentials import new_key
from tests.support.items import large, turns, user
from tests.support.reading import applied, collected
from tests.support.server_process import ServerProcess

WITHIN_S = 30
WAIT_S = 0.46
"""Twice this, and less than a tenth of a second is left of a second."""


def test_the_budget_is_spent_and_comes_back() -> None:
    """As many retries as the budget holds may be made at once; then one a second, and one for every ten answers."""
    now = 0.0
    budget = RetryBudget(lambda: now)
    assert [budget.spend() for _ in range(int(BUDGET) + 1)] == [True] * int(BUDGET) + [False]
    for _ in range(10):
        assert not budget.spend()
        budget.answered()
    now += 1e-9
    assert [budget.spend(), budget.spend()] == [True, False]
    now += 2.5
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    now += 10_000
    assert sum(budget.spend() for _ in range(1000)) == BUDGET


def test_waits_grow_and_differ() -> None:
    """Each wait is up to twice as long as the one before, up to a limit, and no two clients wait the same."""
    backoff = Backoff(1.0)
    waits = [backoff.next_s() for _ in range(8)]
    for wait, longest in zip(waits, (0.1, 0.2, 0.4, 0.8, 1, 1, 1, 1), strict=True):
        assert longest / 2 <= wait <= longest
    assert len({Backoff(1.0).next_s() for _ in range(10)}) > 1
    backoff.reset()
    assert backoff.next_s() <= 0.1


async def test_a_server_that_refuses_everything_is_not_stormed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many callers there are, a server that cannot answer gets the calls once, and the budget's retries."""
    monkeypatch.setattr(retries, "BUDGET", 20.0)
    server = await Server.start(Settings(db=str(tmp_path / "conversations.db"), port=0, grace_s=5))
    asked = _refused(monkeypatch, Unavailable(ErrorReason.STORE_BUSY, "busy"))
    async with asyncio.timeout(WITHIN_S), RemoteStore(server.address) as store:
        begun = asyncio.get_running_loop().time()
        outcomes = await asyncio.gather(*(store.get_session("s") for _ in range(100)), return_exceptions=True)
        lasted_s = asyncio.get_running_loop().time() - begun
    await server.stop()
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    # A refusal is an answer too: it gives back a tenth.
    assert 100 + 20 <= len(asked) <= 100 + 20 + 0.1 * len(asked) + lasted_s


async def test_a_call_that_is_refused_has_time_for_each_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No try begins in the last tenth of a second of a call: the caller is told why the one before it failed."""
    monkeypatch.setattr(Backoff, "next_s", lambda _: WAIT_S)
    server = await Server.start(Settings(db=str(tmp_path / "conversations.db"), port=0, grace_s=5))
    asked = _refused(monkeypatch, Unavailable(ErrorReason.STORE_BUSY, "busy"), times=2)
    async with asyncio.timeout(WITHIN_S), RemoteStore(server.address, timeout_s=1) as store:
        with pytest.raises(Unavailable) as raised:
            await store.get_session("s")
    await server.stop()
    assert (raised.value.reason, len(asked)) == (ErrorReason.STORE_BUSY, 2)


async def test_a_call_without_a_stream_has_time_for_each_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stream is opened for a call in its last tenth of a second, when the one before it was lost."""
    monkeypatch.setattr(Backoff, "next_s", lambda _: WAIT_S)
    async with asyncio.timeout(WITHIN_S), RemoteStore("127.0.0.1:9", timeout_s=1) as store:
        opened = _counted(store, monkeypatch)
        with pytest.raises(Unavailable) as raised:
            await store.get_session("s")
    assert (raised.value.reason, len(opened)) == (ErrorReason.SERVER_UNREACHABLE, 2)


async def test_an_expired_token_is_renewed_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that has expired is renewed once for a call, if there is time left for another try."""
    server = await Server.start(Settings(db=str(tmp_path / "conversations.db"), port=0, grace_s=5))
    asked = _refused(monkeypatch, Unauthenticated(ErrorReason.CREDENTIAL_INVALID, "expired"))
    async with asyncio.timeout(WITHIN_S), RemoteStore(server.address, timeout_s=WITHIN_S, token=lambda: "t") as store:
        with pytest.raises(Unauthenticated):
            await store.get_session("s")
        assert len(asked) == 2
        monkeypatch.setattr(pipeline, "TRY_S_MIN", WITHIN_S)
        with pytest.raises(Unauthenticated):
            await store.get_session("s")
        assert len(asked) == 3
    await server.stop()


def _refused(monkeypatch: pytest.MonkeyPatch, error: TurntreeError, *, times: float = math.inf) -> list[None]:
    """Gets an entry for each call that asks for a session: so many are refused, and later ones get no answer."""
    asked: list[None] = []

    async def refuse(*_: object, **__: object) -> None:
        asked.append(None)
        if len(asked) > times:
            await asyncio.Event().wait()
        raise error

    monkeypatch.setattr(LocalStore, "get_session", refuse)
    return asked


def _counted(store: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Gets an entry for each stream of calls that a client opens."""
    stub = store._connection().pipeline._stub
    opened: list[None] = []
    method: Callable[..., object] = stub.Pipeline

    def count(**options: object) -> object:
        opened.append(None)
        return method(**options)

    monkeypatch.setattr(stub, "Pipeline", count)
    return opened


async def test_callers_wait_for_one_new_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a server is gone, a client asks for one stream at a time, whatever the number of its callers."""
    server = await asyncio.to_thread(ServerProcess.start, tmp_path / "conversations.db")
    try:
        async with asyncio.timeout(WITHIN_S), RemoteStore(server.address) as store:
            await store.add_items("s", turns(1))
            opened = _counted(store, monkeypatch)
            server.kill()
            waiting = [asyncio.create_task(store.read_items("s")) for _ in range(64)]
            await asyncio.wait(waiting, timeout=1.0)
            assert not any(task.done() for task in waiting)
            assert 1 < len(opened) < 12
            await asyncio.to_thread(server.start_again)
            assert {len((await task).items) for task in waiting} == {2}
        await asyncio.to_thread(server.stop)
    finally:
        server.kill()


# Streams


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """A server in a process of its own, to be killed."""
    process = await asyncio.to_thread(ServerProcess.start, tmp_path / "conversations.db")
    yield process
    process.kill()


LONG = [user("q1"), *(large(f"a{number}", 400_000) for number in range(12))]


async def test_a_stream_of_items_resumes(server: ServerProcess) -> None:
    """A stream of items goes on after a restart of the server where it was cut, with nothing left out or twice."""
    async with asyncio.timeout(WITHIN_S), RemoteStore(server.address) as store:
        for item in LONG:
            await store.add_items("s", [item])
        deltas = []
        async for delta in store.stream_items("s"):
            deltas.append(delta)
            if len(deltas) == 2:
                server.kill()
                await asyncio.to_thread(server.start_again)
        assert applied(deltas) == LONG
        assert [delta.kind for delta in deltas].count(DeltaKind.REPLACED) == 1
        assert len(deltas) > 3


@pytest.mark.parametrize("cut_after", [1, 2, 3, 4, 5, 6])
async def test_a_stream_of_turns_resumes(server: ServerProcess, cut_after: int) -> None:
    """A stream of turns goes on after a restart of the server where it was cut, between turns or within a long one."""
    async with asyncio.timeout(WITHIN_S), RemoteStore(server.address) as store:
        written = [[user("q1")], [user("q2"), *(large(f"a{number}", 100_000) for number in range(40))]]
        written += [[user(f"q{number}"), large(f"b{number}", 300_000)] for number in range(3, 9)]
        for turn in written:
            await store.add_items("s", turn)
        count = 0
        unfinished: list[bytes] = []
        streamed = []
        async for delta in store.stream_turn_deltas("s"):
            assert not delta.restarted
            for position, part in enumerate(delta.turns):
                unfinished += part.items
                if not delta.continued or position < len(delta.turns) - 1:
                    streamed.append(unfinished)
                    unfinished = []
            count += 1
            if count == cut_after:
                server.kill()
                await asyncio.to_thread(server.start_again)
        assert streamed == written
        assert count > cut_after


async def test_a_stream_of_turns_does_not_resume_in_a_turn_that_has_changed(server: ServerProcess) -> None:
    """When the turn that came last has grown since, a stream that was cut ends with UNAVAILABLE: begin it again."""
    async with asyncio.timeout(WITHIN_S), RemoteStore(server.address) as store:
        await store.add_items("s", [*turns(1), *(large("a", 700_000) for _ in range(2)), user("q2"), user("q3")])
        seen = SeenTurns()
        deltas = await collected(store.stream_turn_deltas("s"))
        assert [seen.take(delta) for delta in deltas] == deltas
        await store.add_items("s", [large("b", 10)])
        seen.resume()
        (resumed,) = await collected(store.stream_turn_deltas("s", cursor=deltas[-1].cursor))
        assert seen.take(resumed) is None


@pytest.mark.parametrize("cuts", [1, 2])
async def test_a_turn_that_changes_while_it_comes_again(cuts: int, tmp_path: Path) -> None:
    """What took the place of items that were seen is not taken for them: the turns begin again."""
    before = [user("q"), *(large(f"old{number}", 60_000) for number in range(40))]
    after = [*before[:3], *(large(f"new{number}", 60_000) for number in range(38))]
    async with _Cutting(await SqliteEngine.open(tmp_path / "conversations.db"), cuts, after[3:]) as store:
        server = Server(Settings(port=0, grace_s=5), store)
        await server._listen()
        async with asyncio.timeout(WITHIN_S), RemoteStore(server.address) as client:
            await client.add_items("s", before)
            shown: list[bytes] = []
            cursor = b""
            async for delta in client.stream_turn_deltas("s"):
                if delta.restarted:
                    shown = []
                shown += [item for turn in delta.turns for item in turn.items]
                cursor = delta.cursor
            assert shown == after
            assert cursor == (await client.get_items("s", window=ItemsWindow(0))).cursor
        await server.stop()


class _Cutting(LocalStore):
    """Cuts the first streams of turns, and writes the turn anew when the second one has brought its first message."""

    def __init__(self, engine: SqliteEngine, cuts: int, items: list[bytes]) -> None:
        super().__init__(engine)
        self._cuts = cuts
        self._items = items
        self._streams = 0

    async def stream_turn_deltas(self, *arguments: Any, **options: Any) -> AsyncGenerator[TurnsDelta, None]:
        self._streams += 1
        stream = self._streams
        count = 0
        async for delta in super().stream_turn_deltas(*arguments, **options):
            yield delta
            count += 1
            if stream == 2 and count == 1:
                here = (await self.get_items("s", window=ItemsWindow(0))).cursor
                await self.replace_items("s", len(self._items), self._items, expected_cursor=here)
            if stream <= self._cuts and count == (3 if stream == 1 else 1):
                raise stopping()


async def test_a_watch_goes_on_for_ever(server: ServerProcess) -> None:
    """Watches, however many, go on when the server is back, also when the budget of retries was spent meanwhile."""
    async with asyncio.timeout(WITHIN_S), RemoteStore(server.address) as store:
        watches = [store.watch("s") for _ in range(50)]
        for watch in watches:
            assert (await anext(watch)).kind is DeltaKind.REPLACED
        store._budget._left = 0
        store._budget._clock = lambda: store._budget._refilled  # and no time gives anything back
        server.kill()
        news = [asyncio.ensure_future(anext(watch)) for watch in watches]
        await asyncio.sleep(2)
        server.start_again()
        await store.add_items("s", [user("1")])
        assert [delta.kind for delta in await asyncio.gather(*news)] == [DeltaKind.APPENDED] * 50


async def test_a_watch_begins_while_the_server_is_away(server: ServerProcess) -> None:
    """Watches that are asked for while the server restarts begin when it is back, and say so: from a cursor, too."""
    async with asyncio.timeout(WITHIN_S), RemoteStore(server.address) as store:
        await store.add_items("s", [user("1")])
        known = await store.get_items("s")
        server.kill()
        begun = asyncio.ensure_future(anext(store.watch("s")))
        going_on = asyncio.ensure_future(anext(store.watch("s", branch=known.branch, cursor=known.cursor)))
        await asyncio.to_thread(server.start_again)
        assert (await begun).kind is DeltaKind.REPLACED
        assert (await going_on).kind is DeltaKind.UNCHANGED


async def test_a_token_is_asked_for_once_a_stream(tmp_path: Path) -> None:
    """Callers who wait for a stream do not each ask for a token: the function is called once for the stream."""
    key = new_key(tmp_path / "keys.json", "k")
    asked = []

    async def token() -> str:
        asked.append(key)
        await asyncio.sleep(0.1)
        return key

    server = await Server.start(
        Settings(db=str(tmp_path / "conversations.db"), port=0, grace_s=5, keys_file=tmp_path / "keys.json")
    )
    async with RemoteStore(server.address, token=token) as store:
        await asyncio.gather(*(store.get_items("s") for _ in range(100)))
    await server.stop()
    assert len(asked) == 1


async def test_a_server_that_does_not_know_the_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without the pipeline gets each call by itself: answers, errors, retries and deadlines are the same."""
    monkeypatch.setattr("turntree_server.app.add_PipelineServiceServicer_to_server", lambda *_: None)
    server = await Server.start(Settings(db=str(tmp_path / "conversations.db"), port=0, grace_s=5))
    async with asyncio.timeout(WITHIN_S), RemoteStore(server.address, timeout_s=5) as store:
        await asyncio.gather(*(store.add_items(f"s{number}", [user("1")]) for number in range(20)))
        assert len((await store.list_sessions()).entries) == 20
        with pytest.raises(NotFound):
            await store.get_branch("s1", "none")
        answer, busy = LocalStore.list_branches, [stopping(), stopping()]

        async def sometimes_busy(self: LocalStore, *arguments: Any, **options: Any) -> Any:
            if busy:
                raise busy.pop()
            return await answer(self, *arguments, **options)

        monkeypatch.setattr(LocalStore, "list_branches", sometimes_busy)
        assert len((await store.list_branches("s1")).entries) == 1
        assert not busy
    await server.stop()


async def test_a_stream_begins_while_the_server_is_away(server: ServerProcess) -> None:
    """Streams that are asked for while the server restarts begin when it is back."""
    async with asyncio.timeout(WITHIN_S), RemoteStore(server.address) as store:
        await store.add_items("s", turns(2))
        server.kill()
        reading = asyncio.create_task(collected(store.stream_items("s")))
        by_turns = asyncio.create_task(collected(store.stream_turns("s")))
        await asyncio.to_thread(server.start_again)
        assert applied(await reading) == turns(2)
        assert [turn.turn for turn in await by_turns] == [1, 2]


@pytest.mark.parametrize("retry_for_s", [0, 1.5])
async def test_a_call_gives_up(retry_for_s: float, server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that finds no server is tried again for `retry_for_s` after it failed first; 0 stands for one try."""
    async with asyncio.timeout(WITHIN_S), RemoteStore(server.address, retry_for_s=retry_for_s) as store:
        opened = _counted(store, monkeypatch)
        server.kill()
        with pytest.raises(Unavailable) as raised:
            await store.get_session("s")
    assert raised.value.reason is ErrorReason.SERVER_UNREACHABLE
    assert (len(opened) == 1) == (retry_for_s == 0)


async def test_the_time_for_retries_begins_with_the_first_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that was at work for longer than `retry_for_s` before it failed is tried again all the same."""
    server = await Server.start(Settings(db=str(tmp_path / "conversations.db"), port=0, grace_s=5))
    asked: list[None] = []

    async def refuse_late(*_: object) -> object:
        asked.append(None)
        if len(asked) == 1:
            await asyncio.sleep(1)
            raise Unavailable(ErrorReason.STORE_BUSY, "busy")
        raise NotFound(ErrorReason.SESSION_NOT_FOUND, "no")

    monkeypatch.setattr(LocalStore, "get_session", refuse_late)
    async with asyncio.timeout(WITHIN_S), RemoteStore(server.address, retry_for_s=0.5) as store:
        with pytest.raises(NotFound):
            await store.get_session("s")
    await server.stop()
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout_s", 0),
        ("timeout_s", math.inf),
        ("call_timeout_s", -1),
        ("call_timeout_s", math.nan),
        ("retry_for_s", -0.1),
        ("retry_for_s", math.inf),
    ],
)
async def test_times_that_are_none_are_refused(field: str, value: Any) -> None:
    """A time that cannot be waited for is named, with its value and the limit, before anything is opened."""
    with pytest.raises(InvalidArgument) as raised:
        await turntree.connect("127.0.0.1:1", **{field: value})
    assert (raised.value.facts["field"], raised.value.facts["value"]) == (field, str(value))
    assert raised.value.facts["limit"].startswith("a number of seconds")


async def test_a_stream_gives_up(server: ServerProcess) -> None:
    """A stream whose server does not come back ends with UNAVAILABLE after a while."""
    async with asyncio.timeout(WITHIN_S), RemoteStore(server.address, retry_for_s=0.5) as store:
        await store.add_items("s", turns(2))
        server.kill()
        for stream in (store.stream_items("s"), store.stream_turn_deltas("s")):
            with pytest.raises(Unavailable) as raised:
                await collected(stream)
            assert raised.value.reason is ErrorReason.SERVER_UNREACHABLE
