"""How long connections live: shared by URL, across event loops, through cancellation and through a server's restart."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import turntree
from agents import Agent, Runner
from turntree.connect import open_store
from turntree.errors import ErrorReason, InvalidArgument, TurntreeError, Unavailable
from turntree.openai_agents import TurntreeSession, shared_stores
from turntree.remote import RemoteStore
from turntree.store import Store
from turntree.token import TokenSource

from tests.sdk.conftest import OpenSession
from tests.support.conversation import answering, heard, outline, user_item
from tests.support.server_process import ServerProcess, serving

WAIT_S_MAX = 30
SUBPROCESS_S_MAX = 60


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of the test's own, to be restarted."""
    with serving(tmp_path) as process:
        yield process


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Store]:
    """The stores that sessions opened by their URLs, in order."""
    stores: list[Store] = []

    async def recorded(url: str, *, token: TokenSource | None) -> Store:
        stores.append(await open_store(url, token=token))
        return stores[-1]

    monkeypatch.setattr(shared_stores, "open_store", recorded)
    return stores


def embedded(folder: Path) -> str:
    """The URL of a database file in a folder."""
    return f"sqlite:///{folder / 'conversations.db'}"


async def is_open(store: Store) -> bool:
    """Whether a store answers."""
    try:
        await store.list_sessions()
    except Unavailable as error:
        return error.reason is not ErrorReason.SERVER_STOPPING
    return True


# One connection for each URL


async def test_shared_connection(url: str, opened: list[Store]) -> None:
    """Sessions of a process that name the same URL share one connection, and the last one to be closed closes it."""
    first, second = TurntreeSession("shared 1", url=url), TurntreeSession("shared 2", url=url)
    await first.get_items()
    await second.get_items()
    (store,) = opened
    await first.close()
    assert await second.get_items() == []
    await first.close()
    assert await is_open(store)
    await second.close()
    assert not await is_open(store)
    async with TurntreeSession("shared 1", url=url) as third:
        await third.get_items()
    assert len(opened) == 2


async def test_two_urls(url: str, tmp_path: Path, opened: list[Store]) -> None:
    """Sessions that name different URLs have nothing to do with one another."""
    async with TurntreeSession("s", url=url), TurntreeSession("s", url=embedded(tmp_path)) as local:
        await local.add_items([user_item("local")])
        async with TurntreeSession("s", url=url) as remote:
            assert await remote.get_items() == []
        assert len(opened) == 2


async def test_given_store(url: str) -> None:
    """A store that was given to a session stays open when the session is closed."""
    async with await turntree.connect(url) as store:
        async with TurntreeSession("given", store=store) as session:
            await session.get_items()
        assert await is_open(store)


async def test_a_store_that_is_none() -> None:
    """What is no store is refused where it is given, without being shown: it may be a URL with a secret."""
    store: Any = "localhost:50051"
    with pytest.raises(InvalidArgument, match="url=") as refused:
        TurntreeSession("s", store=store)
    assert (refused.value.facts["field"], refused.value.facts["value"]) == ("store", "str")


async def test_a_blank_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blank URL, given or in the environment, is refused as a bad one, and is not the default."""
    given = TurntreeSession("s", url="")
    monkeypatch.setenv("TURNTREE_URL", "")
    for session in (given, TurntreeSession("s")):
        with pytest.raises(InvalidArgument) as refused:
            await session.get_items()
        assert (refused.value.facts["field"], refused.value.facts["value"]) == ("url", "")
        await session.close()


async def test_use_after_close(session: TurntreeSession) -> None:
    """A closed session refuses every call, also one that needs no connection."""
    await session.add_items([user_item("q1")])
    await session.close()
    await session.close()
    calls: tuple[Callable[[], Awaitable[Any]], ...] = (
        session.get_items,
        lambda: session.get_items(branch_id=""),
        lambda: session.add_items([user_item("q2")]),
        lambda: session.add_items([]),
        session.pop_item,
        session.clear_session,
        session.list_branches,
        session.get_session_usage,
        lambda: session.create_branch_from_turn(1),
        lambda: session.stream_turns().__anext__(),
        lambda: session.watch().__anext__(),
    )
    for call in calls:
        with pytest.raises(RuntimeError, match="TurntreeSession is closed"):
            await call()


async def test_many_at_once(tmp_path: Path, opened: list[Store]) -> None:
    """Many sessions that open the same URL at once open it once, however many of their callers give up meanwhile."""
    sessions = [TurntreeSession(f"s{number}", url=embedded(tmp_path)) for number in range(20)]
    tasks = [asyncio.create_task(session.get_items()) for session in sessions]
    await asyncio.sleep(0)  # now all of them wait for the first one, and the first one for the database
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), WAIT_S_MAX)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
    assert outcomes[1::2] == [[]] * 10
    (store,) = opened
    for session in sessions[:-1]:
        await session.close()
    assert await is_open(store)
    await sessions[-1].close()
    assert not await is_open(store)


async def test_close_while_opening(tmp_path: Path, opened: list[Store]) -> None:
    """A session that is closed while it opens leaves nothing open."""
    session = TurntreeSession("s", url=embedded(tmp_path))
    reading = asyncio.create_task(session.get_items())
    await asyncio.sleep(0)
    await asyncio.wait_for(session.close(), WAIT_S_MAX)
    with pytest.raises((RuntimeError, Unavailable)):
        await reading
    (store,) = opened
    assert not await is_open(store)


async def test_opening_fails(tmp_path: Path, opened: list[Store]) -> None:
    """When a URL cannot be opened every session that waits for it is told, and can try again."""
    folder = tmp_path / "later"
    sessions = [TurntreeSession(f"s{number}", url=embedded(folder)) for number in range(3)]
    outcomes = await asyncio.gather(*(session.get_items() for session in sessions), return_exceptions=True)
    for outcome in outcomes:
        assert isinstance(outcome, Unavailable)
        assert outcome.reason is ErrorReason.STORE_FAILED
    folder.mkdir()
    for session in sessions:
        assert await session.get_items() == []
    assert len(opened) == 1
    for session in sessions:
        await session.close()


async def test_unreachable_server(session_id: str) -> None:
    """A server that cannot be reached is an `Unavailable` that names where it was looked for."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{nobody.getsockname()[1]}"
        async with TurntreeSession(session_id, url=target) as session:
            with pytest.raises(Unavailable) as refused:
                await asyncio.wait_for(session.get_items(), WAIT_S_MAX)
        assert (refused.value.reason, refused.value.facts) == (ErrorReason.SERVER_UNREACHABLE, {"target": target})
        with pytest.raises(Unavailable) as refused:
            await turntree.connect(target, timeout_s=0.1)
        assert (refused.value.reason, refused.value.facts) == (ErrorReason.SERVER_UNREACHABLE, {"target": target})


# Event loops and threads


@pytest.mark.parametrize("kind", ["served", "file", "memory"])
def test_successive_event_loops(kind: str, url: str, session_id: str, tmp_path: Path) -> None:
    """A session goes from one event loop to the next and keeps what it holds, also a database in memory."""
    session = TurntreeSession(session_id, url={"served": url, "file": embedded(tmp_path), "memory": "sqlite://"}[kind])
    for number in range(3):
        asyncio.run(session.add_items([user_item(f"q{number}")]))
    asyncio.run(session.create_branch_from_turn(2, "other"))
    assert outline(asyncio.run(session.get_items())) == ["q0"]
    asyncio.run(session.close())


def test_memory_goes_with_the_last_session() -> None:
    """A database in memory is shared by the sessions of a process, and gone when the last of them is closed."""

    async def write() -> None:
        async with TurntreeSession("s", url="sqlite://") as one, TurntreeSession("s", url="sqlite://") as other:
            await one.add_items([user_item("q1")])
            assert outline(await other.get_items()) == ["q1"]

    async def read() -> None:
        async with TurntreeSession("s", url="sqlite://") as session:
            assert await session.get_items() == []

    asyncio.run(write())
    asyncio.run(read())


@pytest.mark.parametrize("kind", ["served", "file"])
def test_threads(kind: str, url: str, tmp_path: Path, opened: list[Store]) -> None:
    """Threads with event loops of their own share a URL."""
    url = url if kind == "served" else embedded(tmp_path)
    ready = threading.Barrier(4)
    lengths: list[int] = []

    async def write(name: str) -> None:
        session = TurntreeSession(name, url=url)
        await session.get_items()
        ready.wait(WAIT_S_MAX)
        for number in range(20):
            await session.add_items([user_item(f"q{number}")])
        lengths.append(len(await session.get_items()))
        ready.wait(WAIT_S_MAX)
        await session.close()

    threads = [threading.Thread(target=lambda name=name: asyncio.run(write(name))) for name in ("t1", "t2", "t3", "t4")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S_MAX)
    assert lengths == [20] * 4
    assert len(opened) == 1


def test_the_opener_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """When the event loop that was opening a URL ends, whoever else waits for it opens it, and nothing is logged."""
    opening, waiting = threading.Event(), threading.Event()
    sessions = [TurntreeSession("s", url=embedded(tmp_path)) for _ in range(2)]

    async def slow(url: str, *, token: TokenSource | None) -> Store:
        monkeypatch.setattr(shared_stores, "open_store", open_store)
        opening.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def begin_only() -> None:
        task = asyncio.create_task(sessions[0].get_items())
        await asyncio.to_thread(waiting.wait, WAIT_S_MAX)
        assert not task.done()

    async def read() -> list[Any]:
        asyncio.get_running_loop().call_later(0.05, waiting.set)
        items: list[Any] = await sessions[1].get_items()
        await sessions[1].close()
        await sessions[0].close()
        return items

    monkeypatch.setattr(shared_stores, "open_store", slow)
    thread = threading.Thread(target=lambda: asyncio.run(begin_only()))
    thread.start()
    assert opening.wait(WAIT_S_MAX)
    assert asyncio.run(asyncio.wait_for(read(), WAIT_S_MAX)) == []
    thread.join(WAIT_S_MAX)
    assert not caplog.records


async def test_opening_is_cancelled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A caller who gives up while an embedded database is opened leaves nothing on the console."""
    for steps in range(4):
        opening = asyncio.create_task(turntree.connect(f"{embedded(tmp_path)}{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert not caplog.records


FORKED = """
import asyncio, os, signal, sys
from turntree.errors import TurntreeError
from turntree.openai_agents import TurntreeSession

url, used = sys.argv[1], TurntreeSession("forked", url=sys.argv[1])

async def attempt(session, text):
    try:
        await session.add_items([{"role": "user", "content": text}])
        print(len(await session.get_items()), flush=True)
    except (RuntimeError, TurntreeError) as error:
        print(type(error).__name__, "forked" in str(error), flush=True)
    await session.close()

def child(*sessions):
    pid = os.fork()
    if not pid:
        signal.alarm(20)  # it would wait for ever
        try:
            for session in sessions:
                asyncio.run(attempt(session, "child"))
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

child(TurntreeSession("forked", url=url))
asyncio.run(used.get_items())
child(used, TurntreeSession("forked", url=url))
asyncio.run(attempt(used, "parent"))
"""


@pytest.mark.parametrize("kind", ["served", "file"])
async def test_forked_processes(kind: str, server: ServerProcess, tmp_path: Path) -> None:
    """A process that was forked before turntree was used uses it; one forked later is told so, and does no harm."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", FORKED, server.address if kind == "served" else embedded(tmp_path)],
        capture_output=True,
        text=True,
        timeout=SUBPROCESS_S_MAX,
    )
    second = "RuntimeError" if kind == "served" else "Unavailable"
    assert (done.returncode, done.stdout.split("\n")) == (
        0,
        ["1", "RuntimeError True", f"{second} True", "2", ""],
    ), done.stderr


FORKS = """
import asyncio, os, sys
import turntree

async def main():
    async with await turntree.connect(sys.argv[1]) as store:
        for _ in range(30):
            await store.add_items("forks", [b"{}"])
            pid = os.fork()
            if not pid:
                os._exit(0)
            print(os.waitpid(pid, 0)[1], end=" ")

asyncio.run(main())
"""


async def test_forks_at_work(server: ServerProcess) -> None:
    """A process that is forked while a connection is at work, and leaves it alone, neither crashes nor complains."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", FORKS, server.address],
        capture_output=True,
        text=True,
        timeout=SUBPROCESS_S_MAX,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 " * 30, "")


NEVER_CLOSED = """
import asyncio, sys
from turntree.openai_agents import TurntreeSession
session = TurntreeSession("s", url=sys.argv[1])
asyncio.run(session.add_items([{"role": "user", "content": "q1"}]))
"""


async def test_never_closed(tmp_path: Path) -> None:
    """A process that never closes an embedded database ends in good order, and what it wrote is kept."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "error", "-c", NEVER_CLOSED, embedded(tmp_path)],
        capture_output=True,
        text=True,
        timeout=SUBPROCESS_S_MAX,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    async with TurntreeSession("s", url=embedded(tmp_path)) as session:
        assert outline(await session.get_items()) == ["q1"]


# Imports


@pytest.mark.parametrize("package", ["turntree", "turntree_server"])
def test_agents_is_not_imported(package: str) -> None:
    """Neither the client nor the server imports the Agents SDK, except in `turntree.openai_agents`."""
    folder = Path(*import_module(package).__path__)
    paths = (path.relative_to(folder.parent).with_suffix("") for path in folder.rglob("*.py"))
    modules = [".".join(path.parts) for path in paths if path.stem != "__main__" and "openai_agents" not in path.parts]
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SUBPROCESS_S_MAX)
    assert (done.returncode, done.stderr) == (0, "")
    imported = {name.split(".")[0] for name in done.stdout.split()}
    assert package in imported
    assert not imported & {"agents", "openai"}


# Cancellation


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
async def test_cancelled_mutations(open_session: OpenSession, session: TurntreeSession, steps: int) -> None:
    """A mutation that was begun finishes although its caller is cancelled, whenever that happens."""
    observer = open_session()

    async def cancelled(mutation: Awaitable[object]) -> None:
        task = asyncio.ensure_future(mutation)
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await cancelled(session.add_items([user_item("q1"), user_item("q2")]))
    assert outline(await observer.get_items()) == ["q1", "q2"]
    await cancelled(session.pop_item())
    assert outline(await observer.get_items()) == ["q1"]
    await cancelled(session.create_branch_from_head("other"))
    assert {row["branch_id"]: row["is_current"] for row in await session.list_branches()} == {
        "main": False,
        "other": True,
    }
    await cancelled(session.clear_session())
    assert await observer.get_items() == []
    assert [row["branch_id"] for row in await session.list_branches()] == []


async def test_mutations_keep_their_order(session: TurntreeSession) -> None:
    """Mutations happen in the order they were called, also when some callers do not wait for the end."""
    tasks = [asyncio.ensure_future(session.add_items([user_item(f"q{number}")])) for number in range(10)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    await session.add_items([user_item("last")])
    await asyncio.gather(*tasks, return_exceptions=True)
    assert outline(await session.get_items()) == [*(f"q{number}" for number in range(10)), "last"]


async def test_cut_in_mid_call(url: str, session_id: str) -> None:
    """A connection that is cut in the middle of a write leaves all of it or nothing."""
    written = [user_item(f"{number} " + "x" * 50_000) for number in range(40)]
    kept: list[int] = []
    cut_count = 0
    for delay_ms in range(0, 30, 2):
        store = await turntree.connect(url)
        writing = asyncio.create_task(TurntreeSession(f"{session_id} {delay_ms}", store=store).add_items(written))
        await asyncio.wait({writing}, timeout=delay_ms / 1000)
        assert isinstance(store, RemoteStore)
        await store._connection().channel.close()
        (outcome,) = await asyncio.wait_for(asyncio.gather(writing, return_exceptions=True), WAIT_S_MAX)
        assert outcome is None or isinstance(outcome, (asyncio.CancelledError, TurntreeError))
        await store.close()
        async with TurntreeSession(f"{session_id} {delay_ms}", url=url) as observer:
            kept.append(len(await observer.get_items()))
        cut_count += outcome is not None
        assert outcome is not None or kept[-1] == len(written)
    assert set(kept) <= {0, len(written)}
    assert cut_count > 0


# A server that goes and comes back


@pytest.mark.long
@pytest.mark.parametrize("asked_meanwhile", [0, 3])
async def test_conversation_outlives_a_restart(own_server: ServerProcess, asked_meanwhile: int) -> None:
    """The conversation goes on with the same session object once the server is back, however long it was missed."""
    model = answering("a1", "a2")
    agent = Agent("Assistant", model=model)
    async with TurntreeSession("s", url=own_server.address) as session:
        await session.store_run_usage(await Runner.run(agent, "q1", session=session))
        await session.create_branch_from_head("other")
        await asyncio.to_thread(own_server.stop)
        for _ in range(asked_meanwhile):
            with pytest.raises(Unavailable):
                await asyncio.wait_for(session.get_items(), WAIT_S_MAX)
        await asyncio.to_thread(own_server.start_again)
        result = await asyncio.wait_for(Runner.run(agent, "q2", session=session), WAIT_S_MAX)
        await session.store_run_usage(result)
        assert heard(model) == ["q1", "a1", "q2"]
        assert outline(await session.get_items()) == ["q1", "a1", "q2", "a2"]
        assert {row["branch_id"]: row["is_current"] for row in await session.list_branches()} == {
            "main": False,
            "other": True,
        }


async def collect(session: TurntreeSession, changes: asyncio.Queue[str]) -> None:
    """Put every item that a watch brings into a queue."""
    async for change in session.watch():
        for text in outline(change.items):
            changes.put_nowait(text)


@pytest.fixture
async def watched(own_server: ServerProcess) -> AsyncIterator[tuple[TurntreeSession, asyncio.Queue[str]]]:
    """A session on the test's own server, and what a watch of it brings."""
    changes: asyncio.Queue[str] = asyncio.Queue()
    async with TurntreeSession("s", url=own_server.address) as session:
        await session.add_items([user_item("q1")])
        watching = asyncio.create_task(collect(session, changes))
        yield session, changes
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching


async def test_watch_outlives_a_restart(
    own_server: ServerProcess, watched: tuple[TurntreeSession, asyncio.Queue[str]]
) -> None:
    """A watch goes on after a restart where it was, with nothing left out and nothing twice."""
    session, changes = watched
    for number in (1, 2, 3):
        assert await asyncio.wait_for(changes.get(), WAIT_S_MAX) == f"q{number}"
        await asyncio.to_thread(own_server.restart)
        await session.add_items([user_item(f"q{number + 1}")])
    assert await asyncio.wait_for(changes.get(), WAIT_S_MAX) == "q4"
    assert changes.empty()


async def test_close_ends_watches(open_session: OpenSession) -> None:
    """When the connection is closed a watch on it ends at once, with an error that says so."""
    session = open_session()
    changes: asyncio.Queue[str] = asyncio.Queue()
    await session.add_items([user_item("q1")])
    watching = asyncio.create_task(collect(session, changes))
    await asyncio.wait_for(changes.get(), WAIT_S_MAX)
    await asyncio.wait_for(session.close(), 5)
    with pytest.raises(Unavailable) as ended:
        await asyncio.wait_for(watching, WAIT_S_MAX)
    assert ended.value.reason is ErrorReason.SERVER_STOPPING
