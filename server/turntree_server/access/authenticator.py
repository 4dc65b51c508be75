"""From the metadata of a call to its caller."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from turntree.errors import ErrorReason, InvalidArgument, Unauthenticated

from turntree_server.access.caller import ANYONE, Caller
from turntree_server.access.keys import KEY_PREFIX, KeyRing

if TYPE_CHECKING:
    from turntree_server.access.signed_tokens import SignedTokens

log = logging.getLogger(__name__)

_HEADER = "authorization"
_SCHEME = "bearer"
_TOKEN_CHARACTERS_MAX = 8 * 1024


class Authenticator:
    """Knows callers by API keys, by signed tokens, or by both. With neither, everybody may everything."""

    def __init__(
        self,
        keys: KeyRing | None = None,
        signed_tokens: SignedTokens | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._signed_tokens = signed_tokens
        self._clock = clock

    @property
    def is_open(self) -> bool:
        """Whether no credential is asked for."""
        return self._keys is None and self._signed_tokens is None

    async def caller_of(self, metadata: Iterable[tuple[str, str | bytes]]) -> Caller:
        """Whose call this is.

        Raises:
            Unauthenticated: CREDENTIAL_REQUIRED or CREDENTIAL_INVALID.
        """
        if self.is_open:
            return ANYONE
        token = _token_in(metadata)
        if self._signed_tokens is not None and _may_be_signed(token) and self._signed_tokens.misses_key_of(token):
            await self.refresh_signing_keys(key_is_missing=True)
        return self._found(token)

    def still(self, caller: Caller) -> Caller:
        """The caller as of now: the same while keys and time allow it, at the cost of two comparisons.

        Raises:
            Unauthenticated: CREDENTIAL_INVALID, when the credential has expired or was revoked.
        """
        if self._clock() >= caller.expires_at:
            raise _refused()
        return caller if caller.generation == self._generation or caller is ANYONE else self._found(caller.token)

    def reload_keys(self) -> None:
        """Take note of API keys that changed. If they cannot be read that is logged, and they stay as they were."""
        try:
            if self._keys is not None and self._keys.reload():
                log.info("keys were read again")
        except InvalidArgument as error:
            log.error("keys could not be read again, those read before stay: %s", error)

    async def refresh_signing_keys(self, *, key_is_missing: bool = False) -> None:
        """Take note of signing keys that changed. If they cannot be read that is logged, and they stay as they were."""
        try:
            if self._signed_tokens is not None:
                await self._signed_tokens.refresh(key_is_missing=key_is_missing)
        except InvalidArgument as error:
            log.error("signing keys could not be read again, those read before stay: %s", error)

    @property
    def _generation(self) -> int:
        return sum(source.generation for source in (self._keys, self._signed_tokens) if source is not None)

    def _found(self, token: str) -> Caller:
        source = self._signed_tokens if _may_be_signed(token) else self._keys
        caller = source.find(token) if source is not None else None
        if caller is None or self._clock() >= caller.expires_at:
            raise _refused()
        return replace(caller, generation=self._generation)


def _may_be_signed(token: str) -> bool:
    return not token.startswith(KEY_PREFIX)


def _token_in(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    found = [value for key, value in metadata if key == _HEADER]
    if not found:
        raise Unauthenticated(
            ErrorReason.CREDENTIAL_REQUIRED, "a credential is required: 'authorization: Bearer TOKEN'"
        )
    value = found[0]
    scheme, _, token = value.partition(" ") if isinstance(value, str) else ("", "", "")
    if len(found) != 1 or scheme.lower() != _SCHEME or not 0 < len(token) <= _TOKEN_CHARACTERS_MAX:
        raise _refused()
    return token


def _refused() -> Unauthenticated:
    return Unauthenticated(ErrorReason.CREDENTIAL_INVALID, "the credential is not valid")
