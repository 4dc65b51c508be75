"""From a URL to a store."""

from __future__ import annotations

import asyncio
import os
from importlib.metadata import entry_points

import grpc

from turntree.address import TlsFiles, parse_address, read_files, refuse
from turntree.errors import ErrorReason, InvalidArgument
from turntree.limits import check, invalid
from turntree.remote import TIMEOUT_S_DEFAULT, RemoteStore
from turntree.retries import RETRY_FOR_S_DEFAULT
from turntree.store import Store
from turntree.token import TokenSource

CONNECT_TIMEOUT_S_DEFAULT = 10.0

_EMBEDDED = "turntree.stores"


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
    if not isinstance(url, str):
        invalid("url", type(url).__name__, "text")
    scheme, separator, _ = url.partition("://")
    if not separator or scheme in ("turntree", "turntrees"):
        address = parse_address(url)
        return RemoteStore(
            address.target,
            credentials=await _credentials(address.tls) if address.tls is not None else None,
            timeout_s=call_timeout_s,
            retry_for_s=retry_for_s,
            token=_or_environment(token),
            tls=address.tls,
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
    return refuse(url)


def _or_environment(token: TokenSource | None) -> TokenSource | None:
    return token if token is not None else os.environ.get("TURNTREE_TOKEN") or None


async def _credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(*await asyncio.to_thread(read_files, files))
