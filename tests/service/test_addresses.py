"""What is an address of a server is the same in every client: clients/addresses.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from turntree.address import Address, TlsFiles, parse_address
from turntree.connect import open_store
from turntree.errors import ErrorReason, InvalidArgument

from tests.support.items import user

ADDRESSES: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[2] / "clients" / "addresses.json").read_text()
)


@pytest.mark.parametrize("case", ADDRESSES["accepted"], ids=lambda case: case["url"])
def test_an_address(case: dict[str, Any]) -> None:
    """An address is host:port, with a scheme or without; with TLS it may name files, percent-encoded."""
    tls = None
    if "tls" in case:
        tls = TlsFiles(**{option.removesuffix("_file"): Path(path) for option, path in case["tls"].items()})
    assert parse_address(case["url"]) == Address(case["target"], tls)


@pytest.mark.parametrize("case", ADDRESSES["refused"], ids=lambda case: repr(case["url"]))
async def test_no_address(case: dict[str, str]) -> None:
    """Whatever else there is in a URL is refused by field, value and limit, and a password is not shown."""
    with pytest.raises(InvalidArgument) as raised:
        await open_store(case["url"])
    assert raised.value.reason is ErrorReason.FIELD_INVALID
    assert (raised.value.facts["field"], raised.value.facts["value"]) == ("url", case["shown"])
    assert raised.value.facts["limit"]
    assert "hunter2" not in str(raised.value)


async def test_one_slash_too_many(tmp_path: Path) -> None:
    """An absolute path behind `sqlite:////` begins with two slashes; the file opens, also when it exists already."""
    for session_id in ("new", "existing"):
        store = await open_store(f"sqlite:////{tmp_path}/conversations.db")
        await store.add_items(session_id, [user("q1")])
        await store.close()


async def test_a_url_that_is_no_text(tmp_path: Path) -> None:
    """What is no text, as a path, is refused as a URL that is none."""
    url: Any = tmp_path / "conversations.db"
    with pytest.raises(InvalidArgument, match="text") as raised:
        await open_store(url)
    assert (raised.value.facts["field"], raised.value.facts["value"]) == ("url", type(url).__name__)
