"""Items that Python writes are known to the converters of other languages."""

from __future__ import annotations

import json
from pathlib import Path

from tests.sdk.item_types import item_types

LISTED = Path(__file__).parents[2] / "clients/typescript/test/convert/python-item-types.json"


def test_the_list_of_item_types_is_that_of_the_installed_package() -> None:
    """The list that the converter for JavaScript is tested with names every type and field there is in Python."""
    assert len(item_types()) > 25
    assert json.loads(LISTED.read_text()) == item_types(), "make it anew, as tests/sdk/item_types.py says"
