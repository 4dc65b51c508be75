"""Search: finds what users said, literally, as a person reads it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence

import pytest
from turntree.errors import ErrorReason, InvalidArgument
from turntree.model import MAIN, AfterTurn, AtHead, BranchPointer, LetterCase
from turntree.store import Store

from tests.support.items import assistant, item, system, user
from tests.support.reading import pages_of

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"
E_ACUTE_ESCAPED = rb'{"role":"user","content":"caf\u00e9"}'


async def found(
    store: Store, content: str, letter_case: LetterCase = LetterCase.ASCII, branch: BranchPointer = MAIN
) -> list[int]:
    """The turns of the session `s` that are found."""
    page = await store.search_turns("s", content, letter_case=letter_case, branch=branch)
    return [turn.turn for turn in page.entries]


async def say(store: Store, *texts: str) -> None:
    """Write a user item for each text."""
    await store.add_items("s", [user(text) for text in texts])


async def test_user_items_only(store: Store) -> None:
    """Only what users said is searched."""
    await store.add_items("s", [system("needle"), user("needle 1"), assistant("needle"), user("hay"), user("a needle")])
    page = await store.search_turns("s", "needle")
    assert [(turn.turn, turn.user_item) for turn in page.entries] == [(1, user("needle 1")), (3, user("a needle"))]
    assert await found(store, "missing") == []
    assert (await store.search_turns("nobody", "needle")).entries == ()


async def test_text_and_not_json(store: Store) -> None:
    """What a person reads is searched: content or text parts, and none of the JSON around them."""
    await store.add_items(
        "s",
        [
            item(role="user", content=[{"type": "input_text", "text": "first"}, {"type": "input_text", "text": "2nd"}]),
            item(role="user", content=[{"type": "input_image", "image_url": "http://first"}, "first", None]),
            item(role="user", content="plain", name="first"),
            item(role="user", content={"text": "first"}),
            item(role="user"),
        ],
    )
    assert await found(store, "first") == [1]
    assert await found(store, "2nd") == [1]
    assert await found(store, "first2nd") == []
    assert await found(store, "plain") == [3]
    for syntax in ("role", "user", "content", "input_text", '"', "{", ":"):
        assert await found(store, syntax) == [], syntax


@pytest.mark.parametrize("special", ["%", "_", "\\", "!", "100%", "a_b", "\\n", "%_", "'", '"', "*", "?", "[a]"])
async def test_literally(store: Store, special: str) -> None:
    """No character means anything but itself."""
    await say(store, "100 aXb [ ] nothing n", f"before {special} after", "nothing n", special)
    assert await found(store, special) == [2, 4]


async def test_ascii_case(store: Store) -> None:
    """ASCII letters are found in either case, and all others only as they are."""
    await say(store, "HELLO World", "ÉCOLE", "école", "straße")
    assert await found(store, "hello wORLD") == [1]
    assert await found(store, "école") == [3]
    assert await found(store, "éCOLE") == [3]
    assert await found(store, "ÉCole") == [2]
    assert await found(store, "STRASSE") == []
    assert await found(store, "\u212aelvin") == []


async def test_unicode_case(store: Store) -> None:
    """With Unicode folding letters are found in either case, in composed or decomposed form."""
    await say(store, "ÉCOLE", "straße", COMPOSED, DECOMPOSED, "ΣΊΣΥΦΟΣ", "100% \\ _")
    unicode = LetterCase.UNICODE
    assert await found(store, "école", unicode) == [1]
    assert await found(store, "STRASSE", unicode) == [2]
    assert await found(store, COMPOSED.upper(), unicode) == [3, 4]
    assert await found(store, DECOMPOSED.upper(), unicode) == [3, 4]
    assert await found(store, "σίσυφος", unicode) == [5]
    assert await found(store, "0% \\ _", unicode) == [6]
    assert await found(store, "e", unicode) == [1, 2]  # an accented letter is not the letter without


async def test_ascii_folding_keeps_forms_apart(store: Store) -> None:
    """Without Unicode folding composed and decomposed forms are different texts."""
    assert unicodedata.normalize("NFC", DECOMPOSED) == COMPOSED != DECOMPOSED
    await say(store, COMPOSED, DECOMPOSED)
    assert await found(store, COMPOSED) == [1]
    assert await found(store, DECOMPOSED) == [2]


ASCII_ROWS = ["!#", "12", "HI", "PQ", "abc", "xyz"]
"""Texts of which each is found, when all of it is escaped, by one escape only."""


def spellings(text: str) -> Sequence[bytes]:
    """A user item with a text in every way that JSON can spell it."""
    everything_escaped = "".join(f"\\u{unit:04x}" for unit in _utf16(text))
    upper_escapes = "".join(f"\\u{unit:04X}" for unit in _utf16(text))
    return [
        json.dumps({"role": "user", "content": text}).encode(),
        json.dumps({"role": "user", "content": text}, ensure_ascii=False).encode(),
        json.dumps({"role": "user", "content": text}).replace("/", "\\/").encode(),
        f'{{"role":"user","content":"{everything_escaped}"}}'.encode(),
        f'{{"role":"user","content":[{{"text":"x{upper_escapes}"}}]}}'.encode(),
    ]


def _utf16(text: str) -> Sequence[int]:
    encoded = text.encode("utf-16-be")
    return [int.from_bytes(encoded[position : position + 2], "big") for position in range(0, len(encoded), 2)]


@pytest.mark.parametrize("letter_case", LetterCase)
@pytest.mark.parametrize(
    "text", ["Hello", "a/b", "café 🌳", "line\nbreak\ttab", 'say "hi"', "C:\\dir", "\x7f", "é", *ASCII_ROWS]
)
async def test_any_spelling(store: Store, text: str, letter_case: LetterCase) -> None:
    """A text is found however its item spells it, escaped or not."""
    await store.add_items("s", [*spellings(text), *spellings("other")])
    assert await found(store, text, letter_case) == [1, 2, 3, 4, 5]


async def test_lone_surrogate(store: Store) -> None:
    """An item with half a character is no obstacle to finding the rest."""
    await store.add_items("s", [rb'{"role":"user","content":"half \ud83c of it"}', E_ACUTE_ESCAPED])
    assert await found(store, "of it") == [1]
    assert await found(store, COMPOSED) == [2]


async def test_branches(store: Store) -> None:
    """A branch finds what it shows; all branches find it wherever it shows, by branch."""
    await say(store, "shared needle", "needle of main")
    fork = (await store.create_branch("s", AfterTurn(1), new_branch_id="fork")).branch.pointer
    await store.add_items("s", [user("hay"), user("needle of fork")], branch=fork)
    assert await found(store, "needle") == [1, 2]
    assert await found(store, "needle", branch=fork) == [1, 3]
    everywhere = [("fork", 1), ("fork", 3), ("main", 1), ("main", 2)]
    page = await store.search_turns("s", "needle", all_branches=True)
    assert [(turn.branch_id, turn.turn) for turn in page.entries] == everywhere
    pages = await pages_of(
        lambda token: store.search_turns("s", "needle", all_branches=True, page_size=3, page_token=token)
    )
    assert [[(turn.branch_id, turn.turn) for turn in page] for page in pages] == [everywhere[:3], everywhere[3:]]


@pytest.mark.parametrize("page_size", range(1, 6))
async def test_pages(store: Store, page_size: int) -> None:
    """Page after page brings every match once, in order, and no empty last page."""
    await say(store, *(("needle", "hay", "Needle", "hay", "NEEDLE", "needle", "hay")))
    pages = await pages_of(lambda token: store.search_turns("s", "needle", page_size=page_size, page_token=token))
    assert [turn.turn for page in pages for turn in page] == [1, 3, 5, 6]
    assert [len(page) for page in pages[:-1]] == [page_size] * (len(pages) - 1)
    assert pages[-1]


async def test_page_tokens(store: Store) -> None:
    """A page token goes on with the search it was made for and no other."""
    await say(store, "needle", "needle")
    await store.create_branch("s", AtHead(), new_branch_id="fork")
    token = (await store.search_turns("s", "needle", page_size=1)).next_page_token
    for call in (
        store.search_turns("s", "needl", page_token=token),
        store.search_turns("s", "needle", page_token=token, all_branches=True),
        store.search_turns("s", "needle", page_token=token, branch=BranchPointer("fork")),
        store.search_turns("s", "needle", page_token=token, letter_case=LetterCase.UNICODE),
        store.search_turns("t", "needle", page_token=token),
    ):
        with pytest.raises(InvalidArgument) as refused:
            await call
        assert refused.value.reason is ErrorReason.PAGE_TOKEN_INVALID


async def test_long_histories(store: Store) -> None:
    """A search reads a history of any length, in both foldings, and pages of large items end at about 1 MiB."""
    written = [user(f"hay {number}") for number in range(1200)]
    for number in (0, 499, 500, 999, 1000, 1199):
        written[number] = user("needle")
    await store.add_items("s", written)
    for letter_case in LetterCase:
        assert await found(store, "needle", letter_case) == [1, 500, 501, 1000, 1001, 1200]
    await store.add_items("large", [user("needle " + "x" * 400_000)] * 5)
    pages = await pages_of(lambda token: store.search_turns("large", "needle", page_token=token))
    assert [[turn.turn for turn in page] for page in pages] == [[1, 2], [3, 4], [5]]
