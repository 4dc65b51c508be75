"""What the protos say of every reason of an error, read from their text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turntree.errors import CLASS_BY_REASON, ErrorReason, TurntreeError

PROTOS = Path(__file__).parents[2] / "protos" / "turntree" / "v1"


@dataclass(frozen=True, slots=True)
class Explained:
    """A reason as its comment explains it."""

    facts: frozenset[str]
    optional_facts: frozenset[str]
    example: dict[str, Any]


def explained() -> dict[str, Explained]:
    """Every reason of error_reason.proto with what its comment says."""
    text = (PROTOS / "error_reason.proto").read_text()
    reasons = {}
    for comment, name in re.findall(r"((?:  //.*\n)+)  (ERROR_REASON_\w+) = \d+;", text):
        prose, _, example = re.sub(r"(?m)^  // ?", "", comment).partition("Example:")
        if name != "ERROR_REASON_UNSPECIFIED":
            listed = re.search(r"Facts: ([^.]*)\.", " ".join(prose.split()))
            assert listed or "No facts." in prose, name
            facts = re.sub(r"\([^)]*\)", "", listed[1]).split(",") if listed else []
            optional = {"limit"} if "where known" in prose else set()
            names = {fact.strip() for fact in facts} - {"where known"}
            reasons[name] = Explained(frozenset(names - optional), frozenset(optional), json.loads(example))
    return reasons


EXPLAINED = explained()

STATED: dict[str, TurntreeError] = {
    name: CLASS_BY_REASON[ErrorReason(name)](
        ErrorReason(name),
        f"about {name}: Ü \U0001f333 %",
        **dict.fromkeys(sorted(reason.facts), "a fact: Ü \U0001f333"),
    )
    for name, reason in EXPLAINED.items()
}
"""An error of every reason, with every fact that it lists."""
