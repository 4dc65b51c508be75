"""From a URL to a store."""

from __future__ import annotations

import asyncio
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import grpc

from turntree.errors import ErrorReason, InvalidArgument
from turntree.limits import invalid
from turntree.remote import TIMEOUT_S_DEFAULT, RemoteStore
from turntree.store import Store

CONNECT_TIMEOUT_S_DEFAULT = 10.0

_URL_LIMIT = "host:port, turntree://host:port, turntrees://host:port or sqlite:///path"
_EMBEDDED = "turntree.stores"


async def connect(
    url: str, *, timeout_s: float = CONNECT_TIMEOUT_S_DEFAULT, call_timeout_s: float = TIMEOUT_S_DEFAULT
) -> Store:
    """Open the store that a URL names.

    - `localhost:50051` or `turntree://host:port`: a server.
    - `turntrees://host:port`: a server over TLS; `?ca_file=PATH` names the certificates to trust.
    - `sqlite:///relative.db`, `sqlite:////absolute.db`: a file, embedded in this process. Needs `turntree-server`.
    - `sqlite://`: a database in memory, gone with this store.

    Args:
        url: The URL.
        timeout_s: How long to wait for a server, in seconds.
        call_timeout_s: How long a call to a server may take, its retries included, in seconds. Streams have no limit.

    Raises:
        InvalidArgument: FIELD_INVALID, when the URL is none of these.
        Unavailable: SERVER_UNREACHABLE, when no server answers; STORE_FAILED, when the file cannot be opened.
    """
    store = await open_store(url, call_timeout_s=call_timeout_s)
    if isinstance(store, RemoteStore):
        try:
            await store.ready(timeout_s)
        except BaseException:
            await store.close()
            raise
    return store


async def open_store(url: str, *, call_timeout_s: float = TIMEOUT_S_DEFAULT) -> Store:
    """Open the store that a URL names, as `connect` does, without waiting for a server."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        return RemoteStore(_target(url, url), timeout_s=call_timeout_s)
    if scheme in ("turntree", "turntrees"):
        parts = urlsplit(url)
        options = parse_qs(parts.query)
        if unknown := options.keys() - ({"ca_file"} if scheme == "turntrees" else set()):
            invalid("url", url, f"without the option '{min(unknown)}'")
        credentials = await _tls(options) if scheme == "turntrees" else None
        return RemoteStore(_target(parts.netloc, url), credentials=credentials, timeout_s=call_timeout_s)
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


async def _tls(options: dict[str, list[str]]) -> grpc.ChannelCredentials:
    if "ca_file" not in options:
        return grpc.ssl_channel_credentials()
    path = Path(options["ca_file"][0])
    try:
        certificates = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        invalid("url", path, f"a file of certificates that can be read ({error.strerror})")
    return grpc.ssl_channel_credentials(certificates)
