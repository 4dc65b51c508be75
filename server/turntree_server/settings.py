"""What an operator can set."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from turntree.limits import MESSAGE_BYTES_MAX, invalid

from turntree_server.access.jwt_settings import JwtSettings

DATABASE_DEFAULT = "turntree.db"
LISTEN_DEFAULT = "127.0.0.1:50051"
GRACE_S_DEFAULT = 10.0
REQUEST_WINDOW_H_DEFAULT = 24.0
_REQUEST_WINDOW_H_MAX = 24.0 * 365
GRACE_LIMIT = "a number of seconds from 0 on"
REQUEST_WINDOW_LIMIT = f"hours above 0, at most {_REQUEST_WINDOW_H_MAX:g}"
_NUMBER_MIN = 0.001
"""gRPC counts milliseconds; and who has to wait for the next call is told how long, in a number that can be sent."""
_SOCKETS = ("unix", "unix-abstract")
"""What gRPC takes for a socket in the file system, and the port for its path, where a host stands."""
_HOST = re.compile(r"[^:\[\]]+|\[[^\[\]]+\]")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Files in PEM that make the server speak TLS.

    Attributes:
        cert: The certificate chain.
        key: Its private key.
        client_ca: The authorities whose clients are let in; None lets every client in.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class LoadLimits:
    """How much the server takes on; 0 means no limit where it is the default.

    Attributes:
        calls_max: Calls of one credential at once.
        watches_max: Watches of one credential at once.
        rate_max: Calls a second of one credential.
        sessions_max: Sessions of one namespace.
        bytes_max: Bytes of one namespace.
        namespaces_max: Namespaces whose databases are open at once.
        connections_max: Connections at once, those that are being set up too; one more is closed at once.
        streams_max: Calls and streams of one connection at once; more wait at the client.
        message_max: Bytes of a message that comes in; as many are held for each call that is coming in.
        handshake_s: How long a connection may take to be set up, in seconds.
        connection_age_s: After how long a connection is closed in good order, in seconds.
    """

    calls_max: int = 4_096
    watches_max: int = 10_000
    rate_max: float = 0.0
    sessions_max: int = 0
    bytes_max: int = 0
    namespaces_max: int = 64
    connections_max: int = 4_096
    streams_max: int = 1_000
    message_max: int = MESSAGE_BYTES_MAX
    handshake_s: float = 10.0
    connection_age_s: float = 0.0

    def __post_init__(self) -> None:
        for name, least in _WHOLE.items():
            value = getattr(self, name)
            if not least <= value <= _NUMBER_MAX and not (name == "bytes_max" and least <= value):
                invalid(option_of(name), value, load_limit(name))
        for name in ("rate_max", "connection_age_s", "handshake_s"):
            value = getattr(self, name)
            most = math.inf if name == "rate_max" else _SECONDS_MAX
            is_off = value == 0 and name != "handshake_s"
            if (not is_off and not _NUMBER_MIN <= value <= most) or value == math.inf:
                invalid(option_of(name), value, load_limit(name))


_NUMBER_MAX = 2**31 - 2
"""What gRPC can count: with one more it ends the process at the first look at its connections."""
_SECONDS_MAX = 2_000_000
"""About 23 days; gRPC counts milliseconds in 31 bits."""

_WHOLE = {
    "calls_max": 1,
    "watches_max": 1,
    "namespaces_max": 1,
    "connections_max": 1,
    "streams_max": 1,
    "message_max": 1,
    "sessions_max": 0,
    "bytes_max": 0,
}
"""The limits that are whole numbers, and the least that each may be."""


def load_limit(name: str) -> str:
    """What a limit of load must be."""
    if name in _WHOLE:
        return f"a whole number from {_WHOLE[name]} on" + ("" if name == "bytes_max" else f", at most {_NUMBER_MAX}")
    number = f"a number from {_NUMBER_MIN} on" + ("" if name == "rate_max" else f", at most {_SECONDS_MAX}")
    return number if name == "handshake_s" else f"0, or {number}"


def option_of(setting: str) -> str:
    """The option that sets something."""
    return "--" + setting.removesuffix("_s").replace("_", "-")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server runs.

    Attributes:
        db: The SQLite file, or `:memory:`.
        data_dir: A folder with a database for each namespace, in place of `db`.
        host: The address to listen on.
        port: The port; 0 picks a free one.
        grace_s: How long a shutdown waits for what is in flight, in seconds.
        tls: The server speaks TLS; None for plaintext.
        keys_file: The API keys that are accepted; None for none.
        jwt: The signed tokens that are accepted; None for none.
        insecure: Listen beyond this machine also without TLS and credentials.
        load: How much the server takes on.
        request_window_h: How long the answer to a request is kept for its repeats, in hours, at least.
        check: Whether to look for damage in the whole file at the start.
    """

    db: str = DATABASE_DEFAULT
    host: str = "127.0.0.1"
    port: int = 50051
    grace_s: float = GRACE_S_DEFAULT
    data_dir: Path | None = None
    tls: TlsSettings | None = None
    keys_file: Path | None = None
    jwt: JwtSettings | None = None
    insecure: bool = False
    load: LoadLimits = field(default_factory=LoadLimits)
    request_window_h: float = REQUEST_WINDOW_H_DEFAULT
    check: bool = True

    def __post_init__(self) -> None:
        if not self.db.strip():
            invalid("--db", self.db, "a path, or :memory:")
        if not 0 <= self.grace_s < math.inf:
            invalid("--grace", self.grace_s, GRACE_LIMIT)
        if not 0 < self.request_window_h <= _REQUEST_WINDOW_H_MAX:
            invalid("--request-window", self.request_window_h, REQUEST_WINDOW_LIMIT)
        if not self.insecure and not self._is_protected and not is_loopback(self.host):
            invalid(
                "--listen",
                f"{self.host}:{self.port}",
                "a loopback address such as 127.0.0.1, unless there are both TLS (--tls-cert, --tls-key) and"
                " credentials (--keys-file, --jwks or --tls-client-ca), or --insecure lets everybody on the network in",
            )

    @property
    def asks_for_tokens(self) -> bool:
        """Whether a call needs a token."""
        return self.keys_file is not None or self.jwt is not None

    @property
    def _is_protected(self) -> bool:
        return self.tls is not None and (self.asks_for_tokens or self.tls.client_ca is not None)


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_listen(listen: str) -> tuple[str, int]:
    """Read `HOST:PORT`.

    Raises:
        InvalidArgument: FIELD_INVALID.
    """
    host, _, port = listen.rpartition(":")
    if not _HOST.fullmatch(host) or host.lower() in _SOCKETS or not _PORT.fullmatch(port) or int(port) > 65535:
        invalid("--listen", listen, "HOST:PORT with a port from 0 to 65535, and an address of IPv6 in brackets")
    return host, int(port)
