"""Why a server cannot be reached: whether it speaks TLS, and what is wrong with the certificates."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from enum import Enum, auto

from turntree.address import ALPN, TlsFiles

_WITHIN_S = 5.0
_FRAME_HEAD_BYTES = 9
_SETTINGS = b"\x04"  # the type of the frame with which a server of HTTP/2 begins


class _Seen(Enum):
    """What a server does when somebody connects."""

    GREETS = auto()
    """It speaks HTTP/2."""
    CLOSES = auto()
    """It takes the connection, with TLS if that was asked for, and ends it."""
    IS_SILENT = auto()
    """It takes the connection, with TLS if that was asked for, and says nothing."""
    SPEAKS_NO_TLS = auto()
    NOTHING = auto()


async def what_is_wrong(target: str, tls: TlsFiles | None) -> str | None:
    """Say in a few words why a connection to a server cannot be made; None when that is not known.

    It makes one connection, or two, to find out, and waits a few seconds at most.
    """
    host, _, port = target.rpartition(":")
    if tls is None:
        seen = await _look(host, port, _unverified())
        return "it speaks TLS: use turntrees://" if seen not in (_Seen.SPEAKS_NO_TLS, _Seen.NOTHING) else None
    try:
        context = await asyncio.to_thread(tls.context)
    except OSError:  # the files were replaced since they were read: it is no matter of the server
        return None
    try:
        seen = await _look(host, port, context)
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted: {error.verify_message}"
    if seen is _Seen.CLOSES:
        return "it asks for a certificate of the client that it trusts: use ?cert_file=PATH&key_file=PATH"
    if seen is _Seen.SPEAKS_NO_TLS and await _look(host, port, None) is _Seen.GREETS:
        return "it does not speak TLS: use turntree://"
    return None


async def _look(host: str, port: str, context: ssl.SSLContext | None) -> _Seen:
    """Connect, with TLS if there is a context, and look what the server does; nothing is sent.

    Raises:
        ssl.SSLCertVerificationError: The server's certificate is not trusted.
    """
    connected = False
    try:
        async with asyncio.timeout(_WITHIN_S):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
            connected = True
            try:
                greeting = await reader.read(_FRAME_HEAD_BYTES)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            return _Seen.GREETS if greeting[3:4] == _SETTINGS else _Seen.CLOSES
    except ssl.SSLCertVerificationError:
        raise
    except ssl.SSLError as error:
        refused = connected or "CERTIFICATE" in (error.reason or "")
        return _Seen.CLOSES if refused else _Seen.SPEAKS_NO_TLS
    except TimeoutError:
        return _Seen.IS_SILENT if connected else _Seen.NOTHING
    except OSError:
        return _Seen.CLOSES if connected else _Seen.NOTHING


def _unverified() -> ssl.SSLContext:
    """For a look at whether there is TLS at all; nothing is sent that is worth a look."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([ALPN])
    return context
