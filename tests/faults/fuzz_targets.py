"""What is fuzzed, one `Target` each: which inputs there are, how each is held to the promise, and which were kept.

An input is a name and bytes. In `corpus/TARGET.txt` it is a line: the name, and the bytes in hexadecimal.
"""

from __future__ import annotations

import base64
import random
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

from tests.faults.fuzz_configuration import command_lines, credentials, files
from tests.faults.fuzzing import CURSORS, PAGE_TOKENS, PIPELINE, names_with, read_corpus, with_fields
from tests.faults.oracle import Oracle, oracle_of
from tests.service.bad_input import OTHER_REQUESTS, World
from tests.service.test_bad_input import running
from tests.support.rpc import RPCS

CORPUS = Path(__file__).with_name("corpus")


class Subject(Protocol):
    """Whatever is given inputs."""

    async def check(self, name: str, data: bytes) -> None:
        """Give it one, and insist on what must hold."""


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of input.

    Attributes:
        names: The names that inputs have.
        subject: What they are given to, in a folder of its own.
    """

    name: str
    names: Sequence[str]
    subject: Callable[[Path], AbstractAsyncContextManager[Subject]]

    @property
    def corpus(self) -> Path:
        """Where inputs are kept."""
        return CORPUS / f"{self.name}.txt"

    def read_corpus(self) -> list[tuple[str, bytes]]:
        """The inputs that were kept."""
        return read_corpus(self.corpus.read_text())

    def pack(self, name: str, data: bytes) -> bytes:
        """An input in bytes alone, as the search for inputs has it."""
        return bytes([self.names.index(name)]) + data

    def unpack(self, packed: bytes) -> tuple[str, bytes]:
        """What `pack` was given; any bytes are an input."""
        return self.names[packed[0] % len(self.names)] if packed else self.names[0], packed[1:]


@asynccontextmanager
async def requests(folder: Path) -> AsyncIterator[Oracle]:
    """A server; inputs are the bytes of requests."""
    async with running(folder) as server:
        with oracle_of(server) as oracle:
            yield oracle


@dataclass(frozen=True, slots=True)
class _InRequests:
    """A server; inputs are turned into requests first."""

    oracle: Oracle
    request: Callable[[str, bytes, World], bytes]

    async def check(self, name: str, data: bytes) -> None:
        await self.oracle.check(name, self.request(name, data, self.oracle.world))


def _in_requests(
    request: Callable[[str, bytes, World], bytes],
) -> Callable[[Path], AbstractAsyncContextManager[Subject]]:
    @asynccontextmanager
    async def subject(folder: Path) -> AsyncIterator[_InRequests]:
        async with requests(folder) as oracle:
            yield _InRequests(oracle, request)

    return subject


def _with_cursor(name: str, data: bytes, world: World) -> bytes:
    """The first byte says how much is cut off a good cursor, the others what is changed in it."""
    cursor = _masked(world.cursor, data[1:], cut=data[0] if data else 0)
    return with_fields(name, CURSORS, cursor, world, _rng(data))


def _with_page_token(name: str, data: bytes, world: World) -> bytes:
    """The first byte picks a good token, the second says how much is cut off it, the others what is changed in it.

    From 127 on the first byte picks none, and from 128 on the others are text as it stands. From 128 on the second byte
    asks for the request that the RPC's own token is of.
    """
    which, cut, mask = data[:1] or b"\0", data[1:2] or b"\0", data[2:]
    good = b""
    if which[0] < 127:
        tokens = list(world.page_tokens.values())
        good = base64.urlsafe_b64decode(tokens[which[0] % len(tokens)])
    changed = _masked(good, mask, cut=cut[0] % 128)
    token = base64.urlsafe_b64encode(changed).decode() if which[0] < 128 else mask.decode("latin-1")
    if cut[0] >= 128:
        return RPCS[name].request(**{**OTHER_REQUESTS[name], "page_token": token, "page_size": 1}).SerializeToString()
    return with_fields(name, PAGE_TOKENS, token, world, _rng(data))


def _masked(good: bytes, mask: bytes, *, cut: int) -> bytes:
    return bytes(one ^ other for one, other in zip_longest(good[: max(0, len(good) - cut)], mask, fillvalue=0))


def _rng(data: bytes) -> random.Random:
    return random.Random(zlib.crc32(data))


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("requests", tuple(RPCS), requests),
        Target("pipeline", (PIPELINE,), requests),
        Target("cursors", names_with(CURSORS), _in_requests(_with_cursor)),
        Target("page_tokens", names_with(PAGE_TOKENS), _in_requests(_with_page_token)),
        Target("settings", ("serve",), command_lines),
        Target("credentials", ("signed", "shown"), credentials),
        Target("files", ("keys", "jwks"), files),
    )
}
