"""The operations of the ledger's writers: how each is sent, and what it does to a session."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from turntree.model import MAIN_BRANCH_ID, AtHead, BranchPointer, Usage, UsageMode
from turntree.store import Store

from tests.support.items import assistant, user
from tests.support.reading import items_of

SHARED = "shared"
LARGE_BYTES = 300_000

Items = tuple[bytes, ...]
Figures = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Session:
    """What a session holds: the items of each branch that has any, and the usage of its turns."""

    branches: Mapping[str, Items] = field(default_factory=dict)
    usage: Mapping[tuple[str, int], Figures] = field(default_factory=dict)

    def items(self, branch_id: str) -> Items:
        """The items of a branch."""
        return self.branches.get(branch_id, ())

    def turn(self, branch_id: str) -> int:
        """The turn of the branch's last item."""
        return sum(b'"role":"user"' in item for item in self.items(branch_id))

    def with_items(self, branch_id: str, items: Items) -> Session:
        """The session with other items on a branch. A turn's usage goes with its last item."""
        branches = {**self.branches, branch_id: items}
        changed = replace(self, branches={name: each for name, each in branches.items() if each})
        turn = changed.turn(branch_id)
        usage = {key: figures for key, figures in self.usage.items() if key[0] != branch_id or key[1] <= turn}
        return replace(changed, usage=usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(ABC):
    """One mutation."""

    session_id: str
    branch_id: str = MAIN_BRANCH_ID

    @property
    def branch(self) -> BranchPointer:
        """The branch by its name."""
        return BranchPointer(self.branch_id)

    @abstractmethod
    async def send(self, store: Store, request_id: str) -> Any:
        """Ask a store to do it."""

    @abstractmethod
    def applied(self, session: Session) -> Session:
        """The session after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Operation):
    """Append a turn, conditionally if there is a cursor."""

    items: Items
    cursor: bytes | None = None

    async def send(self, store: Store, request_id: str) -> Any:
        return await store.add_items(
            self.session_id, self.items, branch=self.branch, expected_cursor=self.cursor, request_id=request_id
        )

    def applied(self, session: Session) -> Session:
        return session.with_items(self.branch_id, session.items(self.branch_id) + self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pop(Operation):
    """Remove the newest item."""

    async def send(self, store: Store, request_id: str) -> Any:
        return await store.pop_item(self.session_id, branch=self.branch, request_id=request_id)

    def applied(self, session: Session) -> Session:
        return session.with_items(self.branch_id, session.items(self.branch_id)[:-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace(Operation):
    """Replace the newest items by others."""

    remove_count: int
    items: Items
    cursor: bytes

    async def send(self, store: Store, request_id: str) -> Any:
        return await store.replace_items(
            *(self.session_id, self.remove_count, self.items),
            expected_cursor=self.cursor,
            branch=self.branch,
            request_id=request_id,
        )

    def applied(self, session: Session) -> Session:
        items = session.items(self.branch_id)
        left = session.with_items(self.branch_id, items[: len(items) - self.remove_count])
        return left.with_items(self.branch_id, left.items(self.branch_id) + self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork(Operation):
    """Fork a branch at its end."""

    new_branch_id: str

    async def send(self, store: Store, request_id: str) -> Any:
        return await store.create_branch(
            self.session_id, AtHead(), branch=self.branch, new_branch_id=self.new_branch_id, request_id=request_id
        )

    def applied(self, session: Session) -> Session:
        return session.with_items(self.new_branch_id, session.items(self.branch_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordUsage(Operation):
    """Replace the usage of the current turn, or add to it."""

    mode: UsageMode
    tokens: int

    async def send(self, store: Store, request_id: str) -> Any:
        usage = Usage(1, self.tokens, 1, self.tokens + 1)
        return await store.record_usage(
            self.session_id, usage, branch=self.branch, mode=self.mode, request_id=request_id
        )

    def applied(self, session: Session) -> Session:
        if not session.items(self.branch_id):
            return session
        key = self.branch_id, session.turn(self.branch_id)
        before = session.usage.get(key, (0, 0, 0, 0)) if self.mode is UsageMode.ADD else (0, 0, 0, 0)
        requests, input_tokens, output_tokens, total = before
        figures = requests + 1, input_tokens + self.tokens, output_tokens + 1, total + self.tokens + 1
        return replace(session, usage={**session.usage, key: figures})


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear(Operation):
    """Remove everything."""

    async def send(self, store: Store, request_id: str) -> Any:
        return await store.clear_session(self.session_id, request_id=request_id)

    def applied(self, session: Session) -> Session:
        return Session()


async def next_operation(store: Store, session_id: str, number: int, session: Session, rng: random.Random) -> Operation:
    """What a writer does next. Where it needs a cursor it reads one, and insists that the read shows every write."""
    tag = f"{session_id} {number}"
    size = LARGE_BYTES if rng.random() < 0.02 else rng.randrange(200)
    items = user(f"{tag} q"), assistant(f"{tag} a" + "x" * size)
    branch_id = rng.choice([MAIN_BRANCH_ID, *session.branches])
    tokens = rng.randrange(1000)
    own: dict[str, Any] = {"session_id": session_id, "branch_id": branch_id}
    kinds = {"add": 6, "add_if": 3, "pop": 3, "replace": 3, "fork": 1, "usage": 2, "more_usage": 3, "clear": 1}
    kinds |= {"shared": 4, "shared_if": 3, "shared_usage": 3}
    (kind,) = rng.choices(list(kinds), list(kinds.values()))
    if kind in ("replace", "add_if"):
        read = await store.read_items(session_id, branch=BranchPointer(branch_id))
        assert read.items == session.items(branch_id), "a read sees every write acknowledged before it"
    match kind:
        case "add_if":
            return Add(**own, items=items, cursor=read.cursor)
        case "pop":
            return Pop(**own)
        case "replace":
            return Replace(**own, remove_count=rng.randint(0, min(3, len(read.items))), items=items, cursor=read.cursor)
        case "fork" if session.items(branch_id):
            return Fork(**own, new_branch_id=f"fork-{number}")
        case "usage":
            return RecordUsage(**own, mode=UsageMode.REPLACE, tokens=tokens)
        case "more_usage":
            return RecordUsage(**own, mode=UsageMode.ADD, tokens=tokens)
        case "clear":
            return Clear(session_id=session_id)
        case "shared":
            return Add(session_id=SHARED, items=items)
        case "shared_if":
            cursor = (await store.read_items(SHARED)).cursor
            return Add(session_id=SHARED, items=items, cursor=cursor)
        case "shared_usage":
            return RecordUsage(session_id=SHARED, mode=UsageMode.ADD, tokens=tokens)
    return Add(**own, items=items)


async def read_session(store: Store, session_id: str) -> Session:
    """A session as the store tells it; its sum of usage must be that of its turns."""
    branches: dict[str, Items] = {}
    usage: dict[tuple[str, int], Figures] = {}
    for branch in (await store.list_branches(session_id, page_size=1000)).entries:
        if items := await items_of(store, session_id, branch.pointer):
            branches[branch.branch_id] = tuple(items)
        for row in (await store.list_turn_usage(session_id, branch=branch.pointer, page_size=1000)).entries:
            of = row.usage
            figures = of.requests, of.input_tokens, of.output_tokens, of.total_tokens
            usage[branch.branch_id, row.turn] = figures
    total = await store.get_session_usage(session_id)
    found = (
        (0, 0, 0, 0) if total is None else (total.requests, total.input_tokens, total.output_tokens, total.total_tokens)
    )
    sums = tuple(sum(column) for column in zip((0, 0, 0, 0), *usage.values(), strict=True))
    assert found == sums, f"usage adds up: {session_id} {found} {sums}"
    return Session(branches, usage)
