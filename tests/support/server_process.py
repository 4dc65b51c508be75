"""A real server in a process of its own."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.tools import require_tool

_STARTED_WITHIN_S = 30
_STOPPED_WITHIN_S = 30
COMMAND = Path(sys.executable).with_name("turntree")


@dataclass(slots=True)
class ServerProcess:
    """A running `turntree serve`: the database it serves, its process, and the `HOST:PORT` where it listens."""

    db: Path
    process: subprocess.Popen[str]
    address: str

    @classmethod
    def start(
        cls,
        db: Path,
        *,
        listen: str = "127.0.0.1:0",
        command: Sequence[str | Path] = (COMMAND,),
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> ServerProcess:
        """Start a server on a database file, or on what the options name, and wait until it says that it answers."""
        process = launch(db, listen=listen, command=command, environment=environment, options=options)
        assert process.stdout is not None
        announced, _, _ = select.select([process.stdout], [], [], _STARTED_WITHIN_S)
        line = process.stdout.readline() if announced else ""
        words = line.split()
        if words[:1] != ["turntree"] or words[2:4] != ["listening", "on"]:
            process.kill()
            process.wait()
            process.stdout.close()
            raise AssertionError(f"the server announced {line!r}, and logged: {log_of(db).read_text()}")
        return cls(db, process, words[4])

    def stop(self) -> None:
        """Ask the server to stop, and insist that it does so in good order, with not a word more on its output."""
        try:
            self.process.send_signal(signal.SIGTERM)
            more, _ = self.process.communicate(timeout=_STOPPED_WITHIN_S)
        finally:
            self.kill()
        assert (self.process.returncode, more) == (0, ""), log_of(self.db).read_text()

    def kill(self) -> None:
        """End the server as a crash would, unless it has ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def start_again(self) -> None:
        """After `stop` or `kill`, start another process on the same database and address."""
        self.process = ServerProcess.start(self.db, listen=self.address).process

    def restart(self) -> None:
        """Stop the server, and start it again."""
        self.stop()
        self.start_again()


def launch(
    db: Path,
    *,
    listen: str = "127.0.0.1:0",
    command: Sequence[str | Path] = (COMMAND,),
    environment: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> subprocess.Popen[str]:
    """Start a server's process and wait for nothing. What it logs goes to `log_of(db)`."""
    served = () if "--data-dir" in options else ("--db", db)
    with log_of(db).open("a") as log:
        return subprocess.Popen(
            [*command, "serve", *served, "--listen", listen, *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **(environment or {})},
        )


def command_without_power() -> list[str | Path]:
    """The command, to be run as a user whom the modes of files bind."""
    if os.geteuid() != 0:
        return [COMMAND]
    require_tool("setpriv")  # root is bound by no mode of a file
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", COMMAND]


def log_of(db: Path) -> Path:
    """Where the servers on a database log."""
    return db.with_suffix(".log")


@contextmanager
def serving(folder: Path) -> Iterator[ServerProcess]:
    """A server on a new database in a folder, stopped in good order at the end."""
    server = ServerProcess.start(folder / "conversations.db")
    try:
        yield server
    except BaseException:
        server.kill()
        raise
    server.stop()
