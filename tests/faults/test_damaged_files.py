"""Files that were cut, flipped and overwritten: refused, or right, or found by `verify`; never wrong in silence."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import turntree
from pysqlite3 import dbapi2 as sqlite3
from turntree.errors import Internal, Unavailable
from turntree.model import AfterTurn, BranchPointer
from turntree.store import Store
from turntree_server.engine.refusals import DatabaseRefused
from turntree_server.engine.verify import verify

from tests.faults.report import tallied
from tests.faults.rounds import new_seed, rounds
from tests.support.items import turns
from tests.support.reading import items_of

ROUNDS = rounds(quick=40, torture=300)
PAGE_BYTES = 4096
FORK = BranchPointer("fork")
SESSIONS = ("a", "b", "c")

Content = list[object]


async def content_of(store: Store) -> Content:
    """All that a store shows of the sessions: items, turns, branches."""
    shown: Content = [sorted(entry.session_id for entry in (await store.list_sessions()).entries)]
    for session_id in SESSIONS:
        for branch in (BranchPointer(), FORK):
            shown.append(await items_of(store, session_id, branch))
            outline = (await store.get_conversation_by_turns(session_id, branch=branch)).entries
            shown.append([(entry.turn, entry.type, entry.tool_name) for entry in outline])
    return shown


async def fill(db: Path) -> list[Content]:
    """Write a file in steps, leave the last ones in its log, and return what it holds after each of those."""
    async with await turntree.connect(f"sqlite:///{db}") as store:
        for session_id in SESSIONS:
            await store.add_items(session_id, turns(20))
            await store.create_branch(session_id, AfterTurn(10), new_branch_id="fork")
    async with await turntree.connect(f"sqlite:///{db}") as store:
        contents = [await content_of(store)]
        for number in range(6):
            await store.add_items("a", turns(1, first=100 + number))
            contents.append(await content_of(store))
        for end in ("", "-wal"):
            shutil.copyfile(f"{db}{end}", f"{db}{end}.copy")
    return contents


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Content]]:
    """A file with a log beside it, and what it holds after each step that is in the log."""
    db = tmp_path_factory.mktemp("sound") / "sound.db"
    contents = asyncio.run(fill(db))
    return db, contents


def copied(sound: Path, folder: Path, *, with_log: bool) -> Path:
    """A copy of the file, to be damaged."""
    folder.mkdir()
    db = folder / "conversations.db"
    shutil.copyfile(f"{sound}.copy", db)
    shutil.copyfile(f"{sound}-wal.copy", f"{db}-wal")
    if not with_log:
        with closing(sqlite3.connect(db)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return db


def flip(path: Path, position: int, rng: random.Random) -> None:
    """Change a byte."""
    content = bytearray(path.read_bytes())
    content[position] ^= rng.randrange(1, 256)
    path.write_bytes(content)


def flip_header(db: Path, rng: random.Random) -> None:
    """Change a byte of the file's header."""
    flip(db, rng.randrange(100), rng)


def flip_page(db: Path, rng: random.Random) -> None:
    """Change a byte of a page, outside the text of items."""
    content = db.read_bytes()
    while True:
        position = rng.randrange(100, len(content))
        if not in_an_item(content, position):
            return flip(db, position, rng)


def in_an_item(content: bytes, position: int) -> bool:
    """Whether a position is within what a caller wrote, where no rule can tell right from wrong."""
    before = content.rfind(b"{", max(0, position - 120), position + 1)
    after = content.find(b"}", position, position + 120)
    return before >= 0 and after >= 0 and b"\x00" not in content[before:after]


def overwrite_page(db: Path, rng: random.Random) -> None:
    """Put random bytes or nothing in the place of a page."""
    content = bytearray(db.read_bytes())
    page = rng.randrange(len(content) // PAGE_BYTES)
    content[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = (
        rng.randbytes(PAGE_BYTES) if rng.random() < 0.5 else bytes(PAGE_BYTES)
    )
    db.write_bytes(content)


def swap_pages(db: Path, rng: random.Random) -> None:
    """Put one page in the place of another."""
    content = bytearray(db.read_bytes())
    one, other = (rng.randrange(len(content) // PAGE_BYTES) * PAGE_BYTES for _ in range(2))
    content[one : one + PAGE_BYTES] = content[other : other + PAGE_BYTES]
    db.write_bytes(content)


def cut(db: Path, rng: random.Random) -> None:
    """Cut the file."""
    with db.open("r+b") as file:
        file.truncate(rng.randrange(1, db.stat().st_size))


def cut_log(db: Path, rng: random.Random) -> None:
    """Cut the log."""
    cut(log_of(db), rng)


def flip_log(db: Path, rng: random.Random) -> None:
    """Change a byte of the log."""
    flip(log_of(db), rng.randrange(log_of(db).stat().st_size), rng)


def log_of(db: Path) -> Path:
    """The log of a file."""
    return Path(f"{db}-wal")


Damage = Callable[[Path, random.Random], None]
DAMAGES: tuple[Damage, ...] = (flip_header, flip_page, overwrite_page, swap_pages, cut)
LOG_DAMAGES: tuple[Damage, ...] = (cut_log, flip_log)


async def shown(db: Path) -> Content | None:
    """What a store shows of a file; None when it refuses the file, or an answer."""
    try:
        async with await turntree.connect(f"sqlite:///{db}") as store:
            return await content_of(store)
    except (Unavailable, Internal):
        return None


def is_found(db: Path) -> bool:
    """Whether `verify` finds the damage."""
    try:
        verify(str(db))
    except DatabaseRefused:
        return True
    return False


async def test_a_damaged_file(sound: tuple[Path, list[Content]], tmp_path: Path) -> None:
    """However a file is damaged, a store refuses it, or answers right, or `verify` says what is wrong."""
    seed = new_seed()
    rng = random.Random(seed)
    path, contents = sound
    refused = 0
    with tallied("files damaged: headers, pages, lengths", seed) as tally:
        for number in range(ROUNDS):
            damage = DAMAGES[number % len(DAMAGES)]
            db = copied(path, tmp_path / str(number), with_log=False)
            damage(db, rng)
            is_known = is_found(db)
            answer = await shown(db)
            refused += answer is None
            assert answer in (None, contents[-1]) or is_known, f"round {number}: {damage.__name__}"
            tally.rounds += 1
    assert 0 < refused < ROUNDS


async def test_a_damaged_log(sound: tuple[Path, list[Content]], tmp_path: Path) -> None:
    """However a log is damaged, the file is refused or is as it was after one of the writes, the later ones missing."""
    seed = new_seed()
    rng = random.Random(seed)
    path, contents = sound
    seen = set()
    with tallied("logs damaged: cut and flipped", seed) as tally:
        for number in range(ROUNDS):
            damage = LOG_DAMAGES[number % len(LOG_DAMAGES)]
            db = copied(path, tmp_path / str(number), with_log=True)
            damage(db, rng)
            answer = await shown(db)
            assert answer is None or answer in contents, f"round {number}: {damage.__name__}"
            seen.add(None if answer is None else contents.index(answer))
            assert answer is None or not is_found(db)
            tally.rounds += 1
    assert len(seen) > 2
