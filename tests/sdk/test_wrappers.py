"""The SDK's own wrappers around a session on a server: encryption and compaction."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import turntree
from agents import Agent, Runner
from agents.extensions.memory import EncryptedSession
from agents.memory import OpenAIResponsesCompactionSession, Session, SessionSettings
from agents.memory.session import SessionABC
from cryptography.fernet import Fernet
from openai import AsyncOpenAI
from turntree.openai_agents import TurntreeSession

from tests.sdk.conftest import OpenSession
from tests.support.conversation import answering, assistant_item, heard, outline, user_item

KEY = Fernet.generate_key().decode()
SUMMARY: Any = {"type": "compaction", "id": "cmp", "encrypted_content": "all that was said"}


class FakeClient:
    """Stands for the OpenAI client: its `responses.compact` keeps what it was asked and answers with one item."""

    def __init__(self, meanwhile: Callable[[], Awaitable[None]] | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.responses = self
        self._meanwhile = meanwhile

    async def compact(self, **request: Any) -> Any:
        """Compact, while somebody else may do something."""
        self.asked.append(request)
        if self._meanwhile is not None:
            await self._meanwhile()
        return SimpleNamespace(output=[SUMMARY], usage=None)


def compacting(
    session: Session, client: FakeClient, *, when: Callable[[dict[str, Any]], bool] | None = None
) -> OpenAIResponsesCompactionSession:
    """A session that compacts through a fake client, by default only when it is told to."""
    return OpenAIResponsesCompactionSession(
        "compacting",
        session,
        client=cast(AsyncOpenAI, client),
        compaction_mode="input",
        should_trigger_compaction=when or (lambda _: False),
    )


def encrypted(session: SessionABC, *, ttl_s: int = 600) -> EncryptedSession:
    """A session that encrypts what another one keeps."""
    return EncryptedSession("encrypted", session, KEY, ttl=ttl_s)


def at_four(context: dict[str, Any]) -> bool:
    """Compact as soon as there are four items."""
    return len(context["session_items"]) >= 4


# Encryption


async def test_encrypted_run(session: TurntreeSession, url: str, session_id: str) -> None:
    """What is encrypted is read by runs that have the key, and is opaque on the server."""
    model = answering("a1", "a2")
    wrapped = encrypted(session)
    for question in ("the secret q1", "the secret q2"):
        await Runner.run(Agent("Assistant", model=model), question, session=wrapped)
    assert heard(model) == ["the secret q1", "a1", "the secret q2"]
    assert outline(await wrapped.get_items()) == ["the secret q1", "a1", "the secret q2", "a2"]
    assert await EncryptedSession("encrypted", session, "another key").get_items() == []
    async with await turntree.connect(url) as store:
        stored = (await store.read_items(session_id)).items
    assert [json.loads(item)["__enc__"] for item in stored] == [1, 1, 1, 1]
    assert not any(b"secret" in item for item in stored)


async def test_encrypted_limit_and_pop(session: TurntreeSession) -> None:
    """The newest items are read and popped through the encryption."""
    wrapped = encrypted(session)
    await wrapped.add_items([user_item(f"q{number}") for number in range(5)])
    assert outline(await wrapped.get_items(2)) == ["q3", "q4"]
    popped: Any = await wrapped.pop_item()
    assert popped == user_item("q4")
    assert outline(await wrapped.get_items()) == ["q0", "q1", "q2", "q3"]
    await wrapped.clear_session()
    assert await session.get_items() == []


async def test_encrypted_ttl(session: TurntreeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items past their time are passed over, however many there are among the newest, and those in time are found."""
    wrapped = encrypted(session, ttl_s=60)
    await wrapped.add_items([user_item("in time")])
    with monkeypatch.context() as hour_ago:
        hour_ago.setattr("cryptography.fernet.time", SimpleNamespace(time=lambda: time.time() - 3600))
        await wrapped.add_items([user_item(f"late {number}") for number in range(9)])
    assert len(await session.get_items()) == 10
    assert outline(await wrapped.get_items()) == outline(await wrapped.get_items(3)) == ["in time"]
    popped: Any = await wrapped.pop_item()
    assert popped == user_item("in time")
    assert await session.get_items() == []


async def test_turntree_methods_through_encryption(session: TurntreeSession) -> None:
    """What turntree adds to a session is at hand on the wrapper."""
    wrapped: Any = encrypted(session)
    await wrapped.add_items([user_item("q1")])
    await wrapped.create_branch_from_head("other")
    assert outline(await wrapped.get_items()) == ["q1"]
    assert {row["branch_id"] for row in await wrapped.list_branches()} == {"main", "other"}


# Compaction


async def test_manual_compaction(session: TurntreeSession) -> None:
    """Compaction on demand puts the summary in the place of the whole branch, and other branches stay."""
    client = FakeClient()
    wrapped = compacting(session, client)
    await wrapped.add_items([user_item("q1"), assistant_item("a1"), user_item("q2"), assistant_item("a2")])
    await session.create_branch_from_turn(2, "other")
    await session.add_items([user_item("r2")])
    await session.switch_to_branch("main")
    await wrapped.run_compaction({"force": True})
    (asked,) = client.asked
    assert outline(asked["input"]) == ["q1", "a1", "q2", "a2"]
    assert await wrapped.get_items() == await session.get_items() == [SUMMARY]
    assert outline(await session.get_items(branch_id="other")) == ["q1", "a1", "r2"]
    await session.switch_to_branch("other")
    await compacting(session, client).run_compaction({"force": True})
    assert await session.get_items() == [SUMMARY]


async def test_manual_compaction_of_nothing(session: TurntreeSession) -> None:
    """The summary of an empty session is all it has then."""
    await compacting(session, FakeClient()).run_compaction({"force": True})
    assert await session.get_items() == [SUMMARY]


async def test_automatic_compaction(session: TurntreeSession) -> None:
    """After the run that makes the history long enough it is compacted, and the next run goes on from the summary."""
    client = FakeClient()
    wrapped = compacting(session, client, when=at_four)
    model = answering("a1", "a2", "a3")
    agent = Agent("Assistant", model=model)
    await Runner.run(agent, "q1", session=wrapped)
    assert client.asked == []
    await Runner.run(agent, "q2", session=wrapped)
    (asked,) = client.asked
    assert outline(asked["input"]) == ["q1", "a1", "q2", "a2"]
    assert await session.get_items() == [SUMMARY]
    await Runner.run(agent, "q3", session=wrapped)
    assert heard(model) == ["compaction", "q3"]
    assert outline(await session.get_items()) == ["compaction", "q3", "a3"]


async def test_automatic_compaction_of_a_branch(session: TurntreeSession) -> None:
    """Automatic compaction rewrites the branch that the run was on, and no other."""
    await session.add_items([user_item("q1"), assistant_item("a1")])
    await session.create_branch_from_head("other")
    wrapped = compacting(session, FakeClient(), when=at_four)
    await Runner.run(Agent("Assistant", model=answering("b2")), "r2", session=wrapped)
    assert await session.get_items() == [SUMMARY]
    assert outline(await session.get_items(branch_id="main")) == ["q1", "a1"]
    assert {row["branch_id"] for row in await session.list_branches()} == {"main", "other"}


async def test_automatic_compaction_keeps_what_the_model_did_not_see(session: TurntreeSession) -> None:
    """Only the newest items, those that the run was about, are replaced when the run was given no more of them."""
    await session.add_items([user_item("q1"), assistant_item("a1"), user_item("q2"), assistant_item("a2")])
    session.session_settings = SessionSettings(limit=2)
    client = FakeClient()
    wrapped = compacting(session, client, when=lambda context: len(context["session_items"]) >= 2)
    await Runner.run(Agent("Assistant", model=answering("a3")), "q3", session=wrapped)
    (asked,) = client.asked
    assert outline(asked["input"]) == ["q2", "a2", "q3", "a3"]
    assert outline(await session.get_items(10)) == ["q1", "a1", "compaction"]


async def test_write_during_automatic_compaction(open_session: OpenSession, session: TurntreeSession) -> None:
    """What another client writes while the summary is made is not lost: the compaction is given up."""
    other = open_session()

    async def write() -> None:
        await other.add_items([user_item("meanwhile")])

    client = FakeClient(meanwhile=write)
    wrapped = compacting(session, client, when=at_four)
    agent = Agent("Assistant", model=answering("a1", "a2"))
    await Runner.run(agent, "q1", session=wrapped)
    await Runner.run(agent, "q2", session=wrapped)
    assert len(client.asked) == 1
    assert outline(await session.get_items()) == ["q1", "a1", "q2", "a2", "meanwhile"]


async def test_stale_snapshot(open_session: OpenSession, session: TurntreeSession) -> None:
    """A snapshot replaces its suffix once, says whether it did, and does nothing after any other write."""
    await session.add_items([user_item("q1"), assistant_item("a1"), user_item("q2"), assistant_item("a2")])
    snapshot = await session._get_compaction_snapshot(3)
    assert snapshot is not None
    assert (outline(snapshot.items), snapshot.complete) == (["a1", "q2", "a2"], False)
    assert await snapshot.replace_suffix(1, [SUMMARY])
    assert not await snapshot.replace_suffix(1, [SUMMARY])
    assert outline(await session.get_items()) == ["q1", "a1", "compaction"]

    other = open_session()
    writes: tuple[Callable[[], Awaitable[Any]], ...] = (
        lambda: other.add_items([user_item("q3")]),
        other.pop_item,
        other.clear_session,
    )
    for write in writes:
        snapshot = await session._get_compaction_snapshot(10)
        assert snapshot is not None
        assert snapshot.complete
        await write()
        left = await session.get_items()
        assert not await snapshot.replace_suffix(0, [SUMMARY])
        assert await session.get_items() == left


async def test_compaction_under_encryption(session: TurntreeSession) -> None:
    """Encryption around compaction around turntree: the model's side sees plain items, the server none of them."""
    client = FakeClient()
    wrapped = encrypted(compacting(session, client, when=at_four))
    model = answering("a1", "a2", "a3")
    agent = Agent("Assistant", model=model)
    await Runner.run(agent, "q1", session=wrapped)
    await session.create_branch_from_head("other")
    await session.switch_to_branch("main")
    await Runner.run(agent, "q2", session=wrapped)
    (asked,) = client.asked
    assert outline(asked["input"]) == ["q1", "a1", "q2", "a2"]
    assert await wrapped.get_items() == [SUMMARY]
    (stored,) = await session.get_items()
    assert "__enc__" in stored
    assert len(await session.get_items(branch_id="other")) == 2
    await Runner.run(agent, "q3", session=wrapped)
    assert heard(model) == ["compaction", "q3"]

    run_compaction = cast(OpenAIResponsesCompactionSession, wrapped).run_compaction
    await run_compaction({"force": True})
    assert outline(client.asked[1]["input"]) == ["compaction", "q3", "a3"]
    assert await wrapped.get_items() == [SUMMARY]
    assert len(await session.get_items(branch_id="other")) == 2
