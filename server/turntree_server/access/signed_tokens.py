"""JSON Web Tokens: who signed them, for whom, until when, and what they say about their holder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import jwt
from turntree.limits import invalid

from turntree_server.access.caller import Caller, Role, check_namespace
from turntree_server.access.files import read_file
from turntree_server.access.jwt_settings import JwtSettings
from turntree_server.outcomes import carry_out

_FETCH_TIMEOUT_S = 5.0
_READ_S_MAX = 6.0
_KEYS_BYTES_MAX = 1024 * 1024
_REFRESH_S = 300.0
_REFRESH_S_MIN = 10.0
_CACHED_MAX = 1_024
_CLOCK_AHEAD_S_MAX = 30.0


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Follows no redirect out of TLS: whoever is on the way could put their own keys in."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith("https://"):
            raise URLError("it leads to a URL that is not https://")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except BaseException:
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


@dataclass(frozen=True, slots=True)
class _SigningKey:
    """A key, and the one algorithm that it may be used with, if it says so."""

    key: Any
    algorithm: str | None


class SignedTokens:
    """Accepts tokens that one of the keys signed. `await refresh()` once before, and now and then."""

    def __init__(self, settings: JwtSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.generation = 0
        self._settings = settings
        self._clock = clock
        self._keys: dict[str | None, list[_SigningKey]] = {}
        self._read_at = -_REFRESH_S
        self._content = b""
        self._reading = asyncio.Lock()
        self._accepted: dict[str, Caller] = {}

    async def refresh(self, *, key_is_missing: bool = False) -> None:
        """Read the keys again: when they are old, or sooner when one is missing.

        Raises:
            InvalidArgument: FIELD_INVALID, when they cannot be read, or not in time; those that were read before stay.
        """
        try:
            async with asyncio.timeout(_READ_S_MAX):
                await self._refresh(key_is_missing)
        except TimeoutError:
            invalid("--jwks", self._settings.jwks, f"a file or URL that can be read in {_READ_S_MAX:g} s")

    async def _refresh(self, key_is_missing: bool) -> None:
        async with self._reading:
            if self._clock() - self._read_at < (_REFRESH_S_MIN if key_is_missing or self._is_file else _REFRESH_S):
                return
            self._read_at = self._clock()
            content = await _on_a_thread_of_its_own(self._fetch)
            if content == self._content:
                return
            keys = _read_keys(content)
            if not keys:
                invalid("--jwks", self._settings.jwks, "a JSON Web Key Set with keys to verify signatures")
            self._keys = keys
            self._content = content
            self._accepted.clear()
            self.generation += 1

    @property
    def _is_file(self) -> bool:
        return "://" not in self._settings.jwks

    def _fetch(self) -> bytes:
        where = self._settings.jwks
        try:
            if self._is_file:
                return read_file(Path(where))
            with urllib.request.build_opener(_OnlyHttps()).open(where, timeout=_FETCH_TIMEOUT_S) as response:
                return bytes(response.read(_KEYS_BYTES_MAX))
        except (OSError, ValueError, HTTPException) as error:
            if isinstance(error, HTTPError):
                error.close()
            why = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
            invalid("--jwks", where, f"a file or URL that can be read ({why})")

    def misses_key_of(self, token: str) -> bool:
        """Whether the token names a key that is not known, and may be a new one."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            return False
        return "kid" in header and header["kid"] not in self._keys

    def find(self, token: str) -> Caller | None:
        """Whose token this is; None when it is not accepted. One that was accepted before is not verified again."""
        known = self._accepted.get(token)
        if known is not None:
            return known
        try:
            caller = self._verified(token)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        if len(self._accepted) >= _CACHED_MAX:
            self._accepted.clear()
        self._accepted[token] = caller
        return caller

    def _verified(self, token: str) -> Caller:
        header = jwt.get_unverified_header(token)
        algorithm = str(header.get("alg"))
        # The algorithm is the operator's choice and the key's, never the token's alone. The key is handed over as what
        # it is, not as bytes, so that none can serve another algorithm than its own.
        if algorithm not in self._settings.algorithms:
            raise jwt.InvalidAlgorithmError
        named = self._keys.get(header["kid"], ()) if "kid" in header else chain.from_iterable(self._keys.values())
        for key in named:
            if key.algorithm in (None, algorithm):
                with contextlib.suppress(jwt.PyJWTError, TypeError):  # another one may be the signer's
                    return self._verified_by(key, token, algorithm)
        raise jwt.InvalidKeyError

    def _verified_by(self, key: _SigningKey, token: str, algorithm: str) -> Caller:
        settings = self._settings
        claims = jwt.decode(
            token,
            key.key,
            algorithms=[algorithm],
            audience=settings.audience,
            issuer=settings.issuer,
            options={"require": ["exp", "aud", "iss", "sub"]},
            leeway=_CLOCK_AHEAD_S_MAX,  # for when it begins; that it ended is seen each time it comes
        )
        namespace = check_namespace(settings.namespace_claim, claims.get(settings.namespace_claim))
        return Caller(
            credential=f"jwt:{namespace}:{claims['sub']}",
            role=Role(str(claims.get(settings.role_claim))),
            namespace=namespace,
            expires_at=float(claims["exp"]),
            token=token,
        )


async def _on_a_thread_of_its_own(fetch: Callable[[], bytes]) -> bytes:
    """The result of a call that may last for as long as somebody elsewhere likes.

    Nobody waits for its thread: one of the event loop's own threads would keep the process from ending.
    """
    fetched: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    threading.Thread(target=carry_out, args=(fetched, fetch), name="turntree-jwks", daemon=True).start()
    return await fetched


def _read_keys(content: bytes) -> dict[str | None, list[_SigningKey]]:
    """The keys of a JSON Web Key Set that verify signatures, by id; private ones and unknown kinds are left out."""
    keys: dict[str | None, list[_SigningKey]] = {}
    try:
        listed = json.loads(content)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return keys
    for jwk in listed if isinstance(listed, list) else ():
        if isinstance(jwk, dict) and jwk.get("use") in (None, "sig") and "d" not in jwk:
            with contextlib.suppress(Exception):  # whatever is wrong with one key, the others are read
                key = _SigningKey(jwt.PyJWK(jwk).key, jwk.get("alg"))
                keys.setdefault(jwk.get("kid"), []).append(key)
    return keys
