"""Why a server cannot be reached: whether it speaks TLS, and what is wrong with the certificates."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from pathlib import Path

_WITHIN_S = 2.0
_ALPN = "h2"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # and an empty SETTINGS frame
_SETTINGS = 4


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files in PEM that a connection over TLS uses; what is None is the system's, or not there.

    Attributes:
        ca: The authorities to trust.
        cert: The client's certificate chain.
        key: Its private key.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """The same for Python's own TLS."""
        context = ssl.create_default_context(cafile=self.ca)
        if self.cert is not None:
            context.load_cert_chain(self.cert, self.key)
        context.set_alpn_protocols([_ALPN])
        return context


async def what_is_wrong(target: str, tls: TlsFiles | None) -> str | None:
    """Say in a few words why a connection to a server cannot be made; None when that is not known.

    It makes one connection, or two, to find out, and waits a few seconds at most.
    """
    host, _, port = target.rpartition(":")
    host = host.strip("[]")
    try:
        if tls is None:
            return "it speaks TLS: use turntrees://" if await _speaks(host, port, _unverified()) else None
        if await _speaks(host, port, tls.context()):
            return None
        return "it does not speak TLS: use turntree://" if await _speaks(host, port, None) else None
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted: {error.verify_message}"
    except ssl.SSLError as error:
        if _asks_for_a_certificate(error):
            return "it asks for a certificate of the client that it trusts: use ?cert_file=PATH&key_file=PATH"
        return "it does not speak TLS: use turntree://" if await _speaks(host, port, None) else None
    except (OSError, TimeoutError):
        return None


async def _speaks(host: str, port: str, context: ssl.SSLContext | None) -> bool:
    """Whether a server greets as HTTP/2 does, over TLS or without."""
    try:
        async with asyncio.timeout(_WITHIN_S):
            reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
            try:
                writer.write(_PREFACE)
                greeting = await reader.read(9)
                return len(greeting) > 3 and greeting[3] == _SETTINGS
            finally:
                writer.close()
                with contextlib.suppress(OSError, TimeoutError):
                    await writer.wait_closed()
    except ssl.SSLError as error:
        if context is None or context.check_hostname:
            raise
        return _asks_for_a_certificate(error)  # and so it speaks TLS
    except (OSError, TimeoutError):
        return False


def _asks_for_a_certificate(error: ssl.SSLError) -> bool:
    return "CERTIFICATE" in (error.reason or "")


def _unverified() -> ssl.SSLContext:
    """For a look at whether there is TLS at all; nothing is sent that is worth a look."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([_ALPN])
    return context
