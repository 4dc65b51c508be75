"""Tokens: what a client shows to a server that asks who it is."""

from __future__ import annotations

import inspect
import ipaddress
from collections.abc import Awaitable, Callable
from typing import NoReturn

from turntree.errors import ErrorReason, InvalidArgument

TokenSource = str | Callable[[], str | Awaitable[str]]
"""A token, or a function that gives a fresh one each time it is called; it may be a coroutine function."""

Metadata = tuple[tuple[str, str], ...]

_TOKEN_LIMIT = "a token of visible ASCII characters"  # noqa: S105 - not a secret


class Credentials:
    """The metadata that says who calls, made anew for each stream.

    Args:
        token: Whose calls these are; None for nobody's.
        target: `host:port` of the server.
        is_private: Whether the connection is encrypted.

    Raises:
        InvalidArgument: FIELD_INVALID, when a token would go over the network in plaintext, or is none.
    """

    def __init__(self, token: TokenSource | None, target: str, *, is_private: bool) -> None:
        if token is not None and not is_private and not _is_loopback(target):
            _refuse("sent over TLS (turntrees://), or to a loopback address")
        if isinstance(token, str):
            _check(token)
        elif token is not None and not callable(token):
            _refuse("text, or a function that gives it")
        self._token = token

    @property
    def is_fresh(self) -> bool:
        """Whether each call of `metadata` may give another token."""
        return callable(self._token)

    async def metadata(self) -> Metadata:
        """The metadata of a call; whatever the token's function raises passes through."""
        token = self._token
        if callable(token):
            given = token()
            token = await given if inspect.isawaitable(given) else given
            _check(token)
        return (("authorization", f"Bearer {token}"),) if token is not None else ()


def _is_loopback(target: str) -> bool:
    host = target.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check(token: object) -> None:
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        _refuse(_TOKEN_LIMIT)


def _refuse(limit: str) -> NoReturn:
    """Refuse a token, without showing it."""
    raise InvalidArgument(
        ErrorReason.FIELD_INVALID, f"the token must be {limit}", field="token", value="(hidden)", limit=limit
    )
