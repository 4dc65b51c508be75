"""Callers: what a credential says about whoever sent it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from turntree.limits import invalid

NAMESPACE_DEFAULT = "default"
NAMESPACE_LIMIT = "1 to 63 of a-z, 0-9, '-' and '_', the first a letter or digit"

_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Role(StrEnum):
    """What a caller may do; each may what those before it may."""

    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what the other one may."""
        return _RANK[self] >= _RANK[needed]


_RANK = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a credential.

    Attributes:
        credential: Names the credential; limits of load count by it. Not a secret.
        role: What the caller may do.
        namespace: The tenant, and the only one that the caller can see.
        expires_at: When the credential ends, in seconds since 1970.
        token: The credential itself, to look at it again when keys change.
        generation: Of the keys by which it was accepted.
    """

    credential: str
    role: Role
    namespace: str
    expires_at: float = math.inf
    token: str = ""
    generation: int = 0

    def __repr__(self) -> str:
        return f"Caller({self.credential!r}, {self.role!r}, {self.namespace!r})"


ANYONE = Caller("anyone", Role.ADMIN, NAMESPACE_DEFAULT)
"""The caller of a server that asks for no credential."""


def check_namespace(field: str, value: object) -> str:
    """Check the name of a namespace, which becomes that of a file.

    Raises:
        InvalidArgument: FIELD_INVALID.
    """
    if not isinstance(value, str) or not _NAMESPACE.fullmatch(value):
        invalid(field, value, NAMESPACE_LIMIT)
    return value
