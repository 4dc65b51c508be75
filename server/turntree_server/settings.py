"""What an operator can set."""

from __future__ import annotations

import math
from dataclasses import dataclass

from turntree.limits import invalid

DATABASE_DEFAULT = "turntree.db"
LISTEN_DEFAULT = "127.0.0.1:50051"
GRACE_S_DEFAULT = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server runs.

    Attributes:
        db: The SQLite file, or `:memory:`.
        host: The address to listen on.
        port: The port; 0 picks a free one.
        grace_s: How long a shutdown waits for what is in flight, in seconds.
    """

    db: str = DATABASE_DEFAULT
    host: str = "127.0.0.1"
    port: int = 50051
    grace_s: float = GRACE_S_DEFAULT

    def __post_init__(self) -> None:
        if not self.db.strip():
            invalid("--db", self.db, "a path, or :memory:")
        if not 0 <= self.grace_s < math.inf:
            invalid("--grace", self.grace_s, "a number of seconds from 0 on")


def read_listen(listen: str) -> tuple[str, int]:
    """Read `HOST:PORT`.

    Raises:
        InvalidArgument: FIELD_INVALID.
    """
    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        invalid("--listen", listen, "HOST:PORT with a port from 0 to 65535")
    return host, int(port)
