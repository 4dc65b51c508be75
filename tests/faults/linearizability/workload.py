"""Clients that do random things to the same sessions at the same time, and note what they did and were told."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from turntree.errors import AlreadyExists, Conflict, DeadlineExceeded, NotFound, Unavailable
from turntree.model import AtHead, BranchPointer, DeltaKind
from turntree.request_ids import new_request_id
from turntree.store import Store

from tests.faults.linearizability.history import Answer, Call, Kind, Operation, Outcome
from tests.support.items import user
from tests.support.reading import collected

SESSIONS = 3
FORKS = ("fork 0", "fork 1")

_REPEATED_AFTER_S = 0.05
_WEIGHTS = {Kind.APPEND: 9, Kind.READ: 8, Kind.POP: 3, Kind.FORK: 1, Kind.CLEAR: 1}


@dataclass(slots=True)
class Record:
    """What happened to each session, and the counter that puts the events in order."""

    histories: dict[str, list[Operation]]
    events: itertools.count[int] = field(default_factory=itertools.count)
    items: itertools.count[int] = field(default_factory=itertools.count)


@dataclass(slots=True)
class _Held:
    """What a client holds of a branch: a cursor, and the items or only the last of them."""

    cursor: bytes
    last: str
    items: tuple[str, ...] | None = None


class Client:
    """One client: one call after the other, each on a random session.

    A call that got no answer is repeated with its `request_id` until there is one, or left alone for good.
    """

    def __init__(self, number: int, store: Store, record: Record, rng: random.Random, *, patience_s: float) -> None:
        self._number = number
        self._store = store
        self._record = record
        self._rng = rng
        self._patience_s = patience_s
        self._held: dict[tuple[str, str], _Held] = {}

    async def run(self, calls: int) -> None:
        """Make so many calls."""
        for _ in range(calls):
            session_id = self._rng.choice(list(self._record.histories))
            call = self._any_call(session_id)
            began = next(self._record.events)
            answer = await self._answer(session_id, call)
            ended = next(self._record.events) if answer is not None else None
            self._record.histories[session_id].append(Operation(self._number, call, began, ended, answer))

    def _any_call(self, session_id: str) -> Call:
        kind = self._rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        branch = self._rng.choice(("main", "main", *FORKS))
        match kind:
            case Kind.APPEND:
                held = self._held.get((session_id, branch))
                expected = held.last if held is not None and self._rng.random() < 0.5 else None
                return Call(kind, branch, str(next(self._record.items)), expected)
            case Kind.FORK:
                return Call(kind, branch, new_branch=self._rng.choice(FORKS))
            case Kind.CLEAR:
                return Call(kind)
        return Call(kind, branch)

    async def _answer(self, session_id: str, call: Call) -> Answer | None:
        request_id = new_request_id()
        held = self._held.get((session_id, call.branch))
        cursor = held.cursor if held is not None and call.expected_last is not None else None
        repeats = self._rng.random() < 0.5
        while True:
            try:
                async with asyncio.timeout(self._patience_s):
                    return await self._make(session_id, call, request_id, cursor)
            except NotFound:
                return Answer(Outcome.NOT_FOUND)
            except Conflict:
                return Answer(Outcome.CONFLICT)
            except AlreadyExists:
                return Answer(Outcome.USED)
            except (Unavailable, DeadlineExceeded, TimeoutError):
                if not repeats:
                    return None
                await asyncio.sleep(_REPEATED_AFTER_S)

    async def _make(self, session_id: str, call: Call, request_id: str, cursor: bytes | None) -> Answer:
        pointer = BranchPointer(call.branch)
        match call.kind:
            case Kind.APPEND:
                written = await self._store.add_items(
                    session_id, [user(call.item)], branch=pointer, expected_cursor=cursor, request_id=request_id
                )
                self._held[session_id, call.branch] = _Held(written.cursor, call.item)
                return Answer(number=written.turn)
            case Kind.POP:
                popped = await self._store.pop_item(session_id, branch=pointer, request_id=request_id)
                return Answer(items=() if popped.item is None else (_text(popped.item),))
            case Kind.CLEAR:
                cleared = await self._store.clear_session(session_id, request_id=request_id)
                return Answer(number=cleared.generation or 0)
            case Kind.FORK:
                created = await self._store.create_branch(
                    session_id, AtHead(), branch=pointer, new_branch_id=call.new_branch, request_id=request_id
                )
                return Answer(number=created.branch.item_count)
            case Kind.READ:
                return Answer(items=await self._read(session_id, call.branch))

    async def _read(self, session_id: str, branch: str) -> tuple[str, ...]:
        """Read whole or by cursor, in one answer or as a stream."""
        held = self._held.get((session_id, branch))
        known = held.items if held is not None and self._rng.random() < 0.5 else None
        cursor = held.cursor if held is not None and known is not None else None
        pointer = BranchPointer(branch)
        if self._rng.random() < 0.3:
            (delta,) = await collected(self._store.stream_items(session_id, branch=pointer, cursor=cursor))
        else:
            delta = await self._store.get_items(session_id, branch=pointer, cursor=cursor)
        new = tuple(map(_text, delta.items))
        items = new if delta.kind is DeltaKind.REPLACED else (known or ()) + new
        self._held[session_id, branch] = _Held(delta.cursor, items[-1] if items else "", items)
        return items


def _text(item: bytes) -> str:
    return str(json.loads(item)["content"])


async def record(
    stores: Sequence[Store], rng: random.Random, *, calls: int, name: str = "", patience_s: float = 30
) -> dict[str, list[Operation]]:
    """Let one client on each store make so many calls, all at once; returns the history of each session.

    Args:
        stores: All of one and the same sessions.
        rng: Decides on everything.
        calls: How many a client makes.
        name: What the ids of the sessions begin with; nobody has used it yet.
        patience_s: How long a client waits for an answer, in seconds.
    """
    seen = Record({f"{name} {number}": [] for number in range(SESSIONS)})
    clients = (
        Client(number, store, seen, random.Random(rng.random()), patience_s=patience_s)
        for number, store in enumerate(stores)
    )
    await asyncio.gather(*(client.run(calls) for client in clients))
    return seen.histories
