"""From a URL to a store."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qs

import grpc

from turntree.errors import ErrorReason, InvalidArgument
from turntree.limits import check, invalid
from turntree.probe import TlsFiles
from turntree.remote import TIMEOUT_S_DEFAULT, RemoteStore
from turntree.retries import RETRY_FOR_S_DEFAULT
from turntree.store import Store
from turntree.token import TokenSource

CONNECT_TIMEOUT_S_DEFAULT = 10.0

_URL_LIMIT = "host:port, turntree://host:port, turntrees://host:port or sqlite:///path"
_TARGET = re.compile(r"(?:\[[^\[\]]+\]|[^\[\]]+):([0-9]{1,5})")
_EMBEDDED = "turntree.stores"
_TLS_OPTIONS = {"ca_file", "cert_file", "key_file"}


async def connect(
    url: str,
    *,
    timeout_s: float = CONNECT_TIMEOUT_S_DEFAULT,
    call_timeout_s: float = TIMEOUT_S_DEFAULT,
    retry_for_s: float = RETRY_FOR_S_DEFAULT,
    token: TokenSource | None = None,
) -> Store:
    """Open the store that a URL names.

    - `localhost:50051` or `turntree://host:port`: a server.
    - `turntrees://host:port`: a server over TLS; `?ca_file=PATH` names the certificates to trust, and
      `cert_file=PATH&key_file=PATH` the client's own, for a server that asks for one.
    - `sqlite:///relative.db`, `sqlite:////absolute.db`: a file, embedded in this process. Needs `turntree-server`.
    - `sqlite://`: a database in memory, gone with this store.

    Args:
        url: The URL.
        timeout_s: How long to wait for a server, in seconds.
        call_timeout_s: How long a call to a server may take, its retries included, in seconds. Streams have no limit.
        retry_for_s: How long a call, or a stream, that finds the server unavailable is tried again, from its first
            failure on, in seconds; 0 for not at all. A watch that has begun is tried again for ever.
        token: An API key or signed token for a server that asks for one, or a function, also a coroutine function,
            that gives a fresh one when asked; by default the environment's `TURNTREE_TOKEN`. It is not sent in
            plaintext, except to a loopback address.

    Raises:
        InvalidArgument: FIELD_INVALID, when the URL is none of these, a file that it names is not in PEM, a time is
            none, or the token would be sent in plaintext.
        Unavailable: SERVER_UNREACHABLE, when no server answers; STORE_FAILED, when the file cannot be opened.
    """
    check(timeout_s=timeout_s)
    store = await open_store(url, call_timeout_s=call_timeout_s, retry_for_s=retry_for_s, token=token)
    if isinstance(store, RemoteStore):
        try:
            await store.ready(timeout_s)
        except BaseException:
            await store.close()
            raise
    return store


async def open_store(
    url: str,
    *,
    call_timeout_s: float = TIMEOUT_S_DEFAULT,
    retry_for_s: float = RETRY_FOR_S_DEFAULT,
    token: TokenSource | None = None,
) -> Store:
    """Open the store that a URL names, as `connect` does, without waiting for a server."""
    check(call_timeout_s=call_timeout_s, retry_for_s=retry_for_s)
    scheme, separator, _ = url.partition("://")
    if not separator:
        return RemoteStore(
            _target(url)[0], timeout_s=call_timeout_s, retry_for_s=retry_for_s, token=_or_environment(token)
        )
    if scheme in ("turntree", "turntrees"):
        target, query = _target(url)
        options = parse_qs(query, keep_blank_values=True)
        if unknown := options.keys() - (_TLS_OPTIONS if scheme == "turntrees" else set()):
            invalid("url", url, f"without the option '{min(unknown)}'")
        files = _tls_files(url, options) if scheme == "turntrees" else None
        return RemoteStore(
            target,
            credentials=await _tls(files) if files is not None else None,
            timeout_s=call_timeout_s,
            retry_for_s=retry_for_s,
            token=_or_environment(token),
            tls=files,
        )
    if token is not None:
        invalid("token", "(hidden)", f"absent for an embedded store, as '{scheme}://' names one")
    for entry_point in entry_points(group=_EMBEDDED, name=scheme):
        store = await entry_point.load()(url)
        assert isinstance(store, Store)
        return store
    if scheme == "sqlite":
        raise InvalidArgument(
            ErrorReason.FIELD_INVALID,
            f"'{url}' is an embedded store, and needs the package turntree-server: pip install 'turntree[embedded]'",
            field="url",
            value=url,
            limit="turntree-server installed",
        )
    return _refuse(url, _URL_LIMIT)


def _target(url: str) -> tuple[str, str]:
    """The `host:port` and the options of a URL that names a server; whatever else it has is refused, not left out."""
    _, scheme, after = url.partition("://")
    address, _, options = after.partition("?") if scheme else (url, "", "")
    if "@" in address or "@" in options.partition("=")[0]:
        _refuse(url, "without a user and a password: a token is given as token=")
    if "#" in url:
        _refuse(url, "without a fragment, which begins with '#'")
    if any(character.isspace() or not character.isprintable() for character in address):
        _refuse(url, f"{_URL_LIMIT}, without blanks")
    target, _, path = address.partition("/")
    found = _TARGET.fullmatch(target)
    if found is None or not 0 < int(found[1]) < 65536:
        _refuse(url, _URL_LIMIT)
    if path or (target != address and not scheme):
        _refuse(url, f"{_URL_LIMIT}, without a path after the port")
    return target, options


def _refuse(url: str, limit: str) -> NoReturn:
    """Refuse a URL, and show it without the password that it may have."""
    invalid("url", re.sub(r"(?s)^(\s*[\w+.-]+://)?.*@", r"\1(hidden)@", url), limit)


def _or_environment(token: TokenSource | None) -> TokenSource | None:
    return token if token is not None else os.environ.get("TURNTREE_TOKEN") or None


def _tls_files(url: str, options: dict[str, list[str]]) -> TlsFiles:
    named = {option: Path(options[option][0]) for option in options}
    if ("cert_file" in named) != ("key_file" in named):
        invalid("url", url, "with both cert_file and key_file, or neither")
    return TlsFiles(named.get("ca_file"), named.get("cert_file"), named.get("key_file"))


async def _tls(files: TlsFiles) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(*await asyncio.to_thread(_contents, files))


def _contents(files: TlsFiles) -> tuple[bytes | None, bytes | None, bytes | None]:
    """The authorities, the key and the certificate; what gRPC could not use is refused now, not when it connects."""
    ca = _pem(files.ca, "certificates to trust", _try_certificates)
    cert = _pem(files.cert, "a certificate", _try_certificates)
    key = _pem(files.key, "the key of the certificate", partial(_try_key, files.cert))
    return ca, key, cert


def _pem(path: Path | None, what: str, attempt: Callable[[Path], None]) -> bytes | None:
    if path is None:
        return None
    try:
        contents = path.read_bytes()
        attempt(path)
    except (OSError, ValueError) as error:
        limit = f"a PEM file of {what} ({_why(error)})"
        shown = str(path).encode("utf-8", "backslashreplace").decode()  # whole: of a path the end says most
        raise InvalidArgument(
            ErrorReason.FIELD_INVALID,
            f"url names {shown!r}, which must be {limit}",
            field="url",
            value=shown,
            limit=limit,
        ) from None
    return contents


def _try_certificates(path: Path) -> None:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)


def _try_key(cert: Path | None, path: Path) -> None:
    assert cert is not None  # `_tls_files` lets neither be without the other
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, path, password=_no_password)


def _no_password() -> NoReturn:
    raise ValueError("it needs a password")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").lower().replace("_", " ")
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
