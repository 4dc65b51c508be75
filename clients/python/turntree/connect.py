"""From a URL to a store."""

from __future__ import annotations

import asyncio
import os
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

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
        InvalidArgument: FIELD_INVALID, when the URL is none of these, a time is none, or the token would be sent in
            plaintext.
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
            _target(url, url), timeout_s=call_timeout_s, retry_for_s=retry_for_s, token=_or_environment(token)
        )
    if scheme in ("turntree", "turntrees"):
        parts = urlsplit(url)
        options = parse_qs(parts.query)
        if unknown := options.keys() - (_TLS_OPTIONS if scheme == "turntrees" else set()):
            invalid("url", url, f"without the option '{min(unknown)}'")
        files = _tls_files(url, options) if scheme == "turntrees" else None
        return RemoteStore(
            _target(parts.netloc, url),
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
    return invalid("url", url, _URL_LIMIT)


def _target(netloc: str, url: str) -> str:
    host, _, port = netloc.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        invalid("url", url, _URL_LIMIT)
    return netloc


def _or_environment(token: TokenSource | None) -> TokenSource | None:
    return token if token is not None else os.environ.get("TURNTREE_TOKEN") or None


def _tls_files(url: str, options: dict[str, list[str]]) -> TlsFiles:
    named = {option: Path(options[option][0]) for option in options}
    if ("cert_file" in named) != ("key_file" in named):
        invalid("url", url, "with both cert_file and key_file, or neither")
    return TlsFiles(named.get("ca_file"), named.get("cert_file"), named.get("key_file"))


async def _tls(files: TlsFiles) -> grpc.ChannelCredentials:
    contents = [
        await asyncio.to_thread(_read, path) if path is not None else None for path in (files.ca, files.key, files.cert)
    ]
    return grpc.ssl_channel_credentials(*contents)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        invalid("url", path, f"a file of certificates or keys that can be read ({error.strerror})")
