"""Where a server is: its URL taken apart, and the files in PEM that it names."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qs

from turntree.errors import ErrorReason, InvalidArgument
from turntree.limits import invalid

_LIMIT = "host:port, turntree://host:port, turntrees://host:port or sqlite:///path"
_TARGET = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_TLS_SCHEME = "turntrees"
_TLS_OPTIONS = ("ca_file", "cert_file", "key_file")
ALPN = "h2"
"""What a client of HTTP/2 asks for within TLS."""


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
        context.set_alpn_protocols([ALPN])
        return context


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and how it is reached.

    Attributes:
        target: Its `host:port`.
        tls: What TLS uses; None for a connection in plaintext.
    """

    target: str
    tls: TlsFiles | None = None


def parse_address(url: str) -> Address:
    """Take the URL of a server apart: `host:port`, `turntree://host:port` or `turntrees://host:port?ca_file=…`.

    Raises:
        InvalidArgument: FIELD_INVALID, when it is none of these, or has anything else, which is never left out.
    """
    scheme, separator, after = url.partition("://")
    address, _, query = after.partition("?") if separator else (url, "", "")
    if "@" in address or "@" in query.partition("=")[0]:
        refuse(url, "without a user and a password: a token is given as token=")
    if "#" in url:
        refuse(url, "without a fragment, which begins with '#'")
    if any(character.isspace() or not character.isprintable() for character in address):
        refuse(url, f"{_LIMIT}, without blanks")
    target, slash, path = address.partition("/")
    found = _TARGET.fullmatch(target)
    if found is None or not 0 < int(found[1]) < 65536:
        refuse(url)
    if path or (slash and not separator):
        refuse(url, f"{_LIMIT}, without a path after the port")
    options = parse_qs(query, keep_blank_values=True)
    if unknown := options.keys() - (_TLS_OPTIONS if scheme == _TLS_SCHEME else ()):
        refuse(url, f"without the option '{min(unknown)}'")
    return Address(target, _tls_files(url, options) if separator and scheme == _TLS_SCHEME else None)


def refuse(url: str, limit: str = _LIMIT) -> NoReturn:
    """Refuse a URL, and show it without the password that it may have.

    Raises:
        InvalidArgument: FIELD_INVALID.
    """
    invalid("url", re.sub(r"(?s)^([\w+.-]+://)?.*@", r"\1(hidden)@", url), limit)


def _tls_files(url: str, options: dict[str, list[str]]) -> TlsFiles:
    for option, values in options.items():
        if len(values) != 1 or not values[0]:
            refuse(url, f"with one file as '{option}'")
    if ("cert_file" in options) != ("key_file" in options):
        refuse(url, "with both cert_file and key_file, or neither")
    return TlsFiles(*(Path(options[option][0]) if option in options else None for option in _TLS_OPTIONS))


def read_files(files: TlsFiles) -> tuple[bytes | None, bytes | None, bytes | None]:
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
