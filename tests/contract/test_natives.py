"""Native forms: kept beside items, given back verbatim to readers of their dialect, and to nobody else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from pysqlite3 import dbapi2 as sqlite3
from turntree.errors import ErrorReason, FailedPrecondition, InvalidArgument
from turntree.limits import CHUNK_BYTES, DIALECT_BYTES_MAX, ITEM_BYTES_MAX
from turntree.model import (
    MAIN,
    AfterTurn,
    AtHead,
    BranchPointer,
    DeltaKind,
    ItemMetadata,
    ItemsWindow,
    NativeItem,
    Turn,
    TurnsDelta,
)
from turntree.seen_turns import SeenTurns
from turntree.store import Store
from turntree_server.engine.sqlite import SqliteEngine
from turntree_server.engine.sqlite_driver import connect
from turntree_server.local_store import LocalStore

from tests.conftest import OpenStore
from tests.support.clock import StillClock
from tests.support.items import assistant, large, turns, user
from tests.support.reading import collected, items_of

JS = "openai-agents-js"
FORM = b' {"b": 1.0,\n"a": [1e999, "\\ud800"], "a": 12345678901234567890123} '
"""JSON that no parser gives back as it came."""


def native(index: int, form: bytes = FORM, dialect: str = JS) -> NativeItem:
    """A native form of the item at a position."""
    return NativeItem(index, dialect, form)


async def natives_of(store: Store, branch: BranchPointer = MAIN, dialect: str | None = JS) -> list[tuple[int, bytes]]:
    """Where the items of a branch of `s` have native forms in a dialect, and which."""
    delta = await store.read_items("s", branch=branch, native_dialect=dialect)
    assert {item.dialect for item in delta.natives} <= {dialect}
    return [(item.index, item.native) for item in delta.natives]


async def test_verbatim(store: Store) -> None:
    """A native form comes back byte for byte with each way to read items, and the items are as they were written."""
    written = turns(2)
    await store.add_items("s", written, natives=[native(3, b"3"), native(1)])
    expected = (native(1), native(3, b"3"))
    delta = await store.get_items("s", native_dialect=JS, include_metadata=True)
    assert (list(delta.items), delta.natives) == (written, expected)
    assert [metadata.type for metadata in delta.metadata] == ["user", "assistant"] * 2
    (streamed,) = await collected(store.stream_items("s", native_dialect=JS))
    assert (list(streamed.items), streamed.natives) == (written, expected)
    async for watched in store.watch("s", native_dialect=JS):
        assert (list(watched.items), watched.natives) == (written, expected)
        break
    first, second = await collected(store.stream_turns("s", native_dialect=JS))
    assert (first.natives, second.natives) == ((native(1),), (native(1, b"3"),))
    popped = await store.pop_item("s", native_dialect=JS)
    assert (popped.item, popped.native) == (assistant("a2"), b"3")


@pytest.mark.parametrize("dialect", [None, "other", JS.upper(), JS[:-1], f"{JS} "])
async def test_other_dialects_see_nothing(store: Store, dialect: str | None) -> None:
    """Who names no dialect, or another one, sees the items alone."""
    await store.add_items("s", turns(1), natives=[native(0), native(1)])
    assert (await store.get_items("s", native_dialect=dialect)).natives == ()
    assert [turn.natives for turn in await collected(store.stream_turns("s", native_dialect=dialect))] == [()]
    async for watched in store.watch("s", native_dialect=dialect):
        assert (list(watched.items), watched.natives) == (turns(1), ())
        break
    popped = await store.pop_item("s", native_dialect=dialect)
    assert (popped.item, popped.native) == (assistant("a1"), None)


async def test_dialects_side_by_side(store: Store) -> None:
    """Items of several dialects stand on one branch, and each reader gets the forms of its own."""
    await store.add_items("s", turns(1), natives=[native(0, b"1"), native(1, b"2", "other")])
    await store.add_items("s", turns(1), natives=[native(1, b"3")])
    assert await natives_of(store) == [(0, b"1"), (3, b"3")]
    assert await natives_of(store, dialect="other") == [(1, b"2")]


async def test_new_to_the_reader(store: Store) -> None:
    """A conditional read counts positions from the first item it brings, and a window from its own first."""
    cursor = (await store.add_items("s", turns(1), natives=[native(0, b"1")])).cursor
    await store.add_items("s", turns(1), natives=[native(1, b"2")])
    appended = await store.get_items("s", cursor=cursor, native_dialect=JS)
    assert (appended.kind, appended.natives) == (DeltaKind.APPENDED, (native(1, b"2"),))
    newest = await store.get_items("s", window=ItemsWindow(limit=1), native_dialect=JS)
    assert newest.natives == (native(0, b"2"),)
    unchanged = await store.get_items("s", cursor=newest.cursor, native_dialect=JS)
    assert (unchanged.kind, unchanged.natives) == (DeltaKind.UNCHANGED, ())


async def test_forks_keep_them(store: Store) -> None:
    """A fork shows the native forms of the items it shares, as long as it shows the items, whoever else loses them."""
    await store.add_items("s", turns(2), natives=[native(0, b"1"), native(3, b"2")])
    fork = (await store.create_branch("s", AtHead(), new_branch_id="fork")).branch.pointer
    short = (await store.create_branch("s", AfterTurn(1), new_branch_id="short")).branch.pointer
    await store.add_items("s", [user("mine")], branch=short, natives=[native(0, b"3")])
    assert (await store.pop_item("s", native_dialect=JS)).native == b"2"
    assert await natives_of(store) == [(0, b"1")]
    assert await natives_of(store, fork) == [(0, b"1"), (3, b"2")]
    assert await natives_of(store, short) == [(0, b"1"), (2, b"3")]
    assert (await store.pop_item("s", branch=fork, native_dialect=JS)).native == b"2"


async def test_replace(store: Store) -> None:
    """Items that are replaced take their native forms with them, and those that come bring theirs."""
    cursor = (await store.add_items("s", turns(2), natives=[native(0, b"1"), native(3, b"2")])).cursor
    await store.replace_items(
        "s", 2, [user("r2"), assistant("b2"), assistant("b3")], expected_cursor=cursor, natives=[native(1, b"3")]
    )
    assert await natives_of(store) == [(0, b"1"), (3, b"3")]


Kept = Callable[[], int]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """Counts the native forms in the file `natives.db`."""

    def count() -> int:
        with closing(sqlite3.connect(tmp_path / "natives.db")) as connection:
            number: int = connection.execute("SELECT COUNT(*) FROM turntree_item_natives").fetchone()[0]
            return number

    return count


async def test_none_outlives_its_item(tmp_path: Path, kept: Kept, clock: StillClock) -> None:
    """The native form goes from the database with the last branch that shows its item, however that goes."""
    every = [native(0), native(1)]
    async with LocalStore(await SqliteEngine.open(tmp_path / "natives.db"), clock=clock) as store:
        cursor = (await store.add_items("s", turns(1), natives=every)).cursor
        await store.add_items("other", turns(1), natives=every)
        await store.create_branch("s", AtHead(), new_branch_id="fork")
        await store.replace_items("s", 2, [], expected_cursor=cursor)
        assert kept() == 4
        await store.delete_branch("s", "fork")
        assert kept() == 2
        await store.add_items("s", turns(1), natives=every)
        await store.clear_session("s")
        assert kept() == 2
        await store.add_items("s", turns(1), natives=every)
        await store.delete_session("s")
        assert kept() == 2
        await store.pop_item("other")
        assert kept() == 1
    with closing(sqlite3.connect(tmp_path / "natives.db")) as connection:
        connection.execute("DELETE FROM agent_messages WHERE session_id = 'other'")
        connection.commit()
    assert kept() == 0


async def test_repeat(store: Store) -> None:
    """A repeat keeps no native form twice and gets the popped one again; with other forms it is another request."""
    for _ in range(2):
        await store.add_items("s", turns(1), natives=[native(1)], request_id="add")
        assert await natives_of(store) == [(1, FORM)]
    for other in ([], [native(0)], [native(1, b"1")], [native(1, FORM, "other")]):
        with pytest.raises(FailedPrecondition) as refused:
            await store.add_items("s", turns(1), natives=other, request_id="add")
        assert refused.value.reason is ErrorReason.REQUEST_ID_REUSED
    popped = await store.pop_item("s", native_dialect=JS, request_id="pop")
    assert popped.native == FORM
    assert await store.pop_item("s", native_dialect=JS, request_id="pop") == popped
    assert await items_of(store, "s") == [user("q1")]


async def test_they_last(open_store: OpenStore) -> None:
    """Native forms are there after the store was closed and opened again."""
    async with open_store() as store:
        await store.add_items("s", turns(1), natives=[native(1)])
    async with open_store() as store:
        assert await natives_of(store) == [(1, FORM)]


async def test_parts_of_about_1_mib(store: Store) -> None:
    """Native forms count in the size of a part, so that no message grows beyond its bound; the parts make the whole."""
    forms = [native(index, large(f"{index}", 400 * 1024)) for index in range(7)]
    written = [user("q"), *(assistant(f"a{index}") for index in range(6))]
    await store.add_items("s", written, natives=forms)
    for deltas in (
        [(delta.items, delta.natives) for delta in await collected(store.stream_items("s", native_dialect=JS))],
        [
            (turn.items, turn.natives)
            for delta in await collected(store.stream_turn_deltas("s", native_dialect=JS))
            for turn in delta.turns
        ],
    ):
        assert len(deltas) >= 4
        for items, natives in deltas:
            sizes = [len(item) for item in items] + [len(item.native) for item in natives]
            assert len(items) == 1 or sum(sizes) <= CHUNK_BYTES
    whole = await store.read_items("s", native_dialect=JS)
    assert (list(whole.items), list(whole.natives)) == (written, forms)
    (turn,) = await collected(store.stream_turns("s", native_dialect=JS))
    assert (list(turn.items), list(turn.natives)) == (written, forms)


def test_a_resumed_turn_brings_the_rest_of_its_natives(clock: StillClock) -> None:
    """What was seen of a turn before a stream was cut is left out, and native forms keep to their items."""
    items, forms = tuple(turns(2)), tuple(native(index, b"%d" % index) for index in range(4))
    metadata = (ItemMetadata("user", None, 1, clock.now),) * 4
    turn = Turn(1, "main", clock.now, items[0], items, metadata, forms)
    seen = SeenTurns()
    part = turn._replace(items=items[:3], metadata=metadata[:3], natives=forms[:3])
    seen.take(TurnsDelta((part,), b"", MAIN, continued=True))
    seen.resume()
    rest = seen.take(TurnsDelta((turn,), b"", MAIN))
    assert rest is not None
    assert [(part.items, part.natives) for part in rest.turns] == [(items[3:], (replace(forms[3], index=0),))]


BAD = {
    "an index before the first": ([native(-1)], ErrorReason.FIELD_INVALID, "natives[0].index"),
    "an index after the last": ([native(1), native(2)], ErrorReason.FIELD_INVALID, "natives[1].index"),
    "an index twice": ([native(1), native(1, FORM, "other")], ErrorReason.FIELD_INVALID, "natives[1].index"),
    "a blank dialect": ([native(0, FORM, " ")], ErrorReason.FIELD_REQUIRED, "natives[0].dialect"),
    "a long dialect": ([native(0, FORM, "é" * 33)], ErrorReason.FIELD_TOO_LARGE, "natives[0].dialect"),
    "no JSON": ([native(0, b"NaN")], ErrorReason.ITEM_NOT_JSON, "natives[0].native"),
    "a large form": (
        [native(0, large("a", ITEM_BYTES_MAX + 1))],
        ErrorReason.FIELD_TOO_LARGE,
        "natives[0].native",
    ),
    "forms too large together": (
        [native(index, large("a", ITEM_BYTES_MAX)) for index in range(2)],
        ErrorReason.FIELD_TOO_LARGE,
        "natives",
    ),
}


@pytest.mark.parametrize(("natives", "reason", "field"), BAD.values(), ids=BAD.keys())
async def test_limits(store: Store, natives: list[NativeItem], reason: ErrorReason, field: str) -> None:
    """A native form that breaks a rule is refused by field, value and limit, and nothing is written."""
    cursor = (await store.add_items("s", [user("q")])).cursor
    for write in (
        store.add_items("s", turns(1), natives=natives),
        store.replace_items("s", 0, turns(1), expected_cursor=cursor, natives=natives),
    ):
        with pytest.raises(InvalidArgument) as refused:
            await write
        assert (refused.value.reason, refused.value.facts["field"]) == (reason, field)
        assert refused.value.facts["limit"]
    assert await items_of(store, "s") == [user("q")]
    for dialect in ("", " ", "x" * (DIALECT_BYTES_MAX + 1)):
        with pytest.raises(InvalidArgument) as refused:
            await store.get_items("s", native_dialect=dialect)
        assert refused.value.facts["field"] == "native_dialect"


async def test_without_natives_no_statement_more(tmp_path: Path) -> None:
    """A write without native forms and a read without a dialect never touch the table of native forms."""
    async with LocalStore(await SqliteEngine.open(tmp_path / "natives.db")) as store:
        await store.add_items("s", turns(2))
        with closing(connect(str(tmp_path / "natives.db"))) as connection:
            connection.execute("ALTER TABLE turntree_item_natives RENAME TO away")
        cursor = (await store.add_items("s", turns(1))).cursor
        await store.get_items("s", include_metadata=True)
        await collected(store.stream_turns("s"))
        await store.replace_items("s", 0, turns(1), expected_cursor=cursor)
        await store.pop_item("s")
        assert len(await items_of(store, "s")) == 7


def test_steps_of_the_schema_are_numbered_without_a_gap() -> None:
    """Each step of the schema has the next number, so that no database misses one."""
    folder = files("turntree_server.engine") / "migrations"
    numbers = sorted(path.name.partition("_")[0] for path in folder.iterdir() if path.name.endswith(".sql"))
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
