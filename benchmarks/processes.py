"""Starting programs on this machine, watching them, and ending exactly those."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

LOOPBACK = "127.0.0.1"

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 15.0


@contextmanager
def running(
    command: Sequence[str | Path], folder: Path, *, user: str | None = None, stdin: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a program in a folder, its errors in a log file there; it is told to stop at the end, then made to."""
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(),
            user=user,
            group=user,
            extra_groups=[] if user is not None else None,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def python_server(arguments: Sequence[str], folder: Path) -> Iterator[tuple[int, str]]:
    """Run a server written in Python that says `listening on HOST:PORT`; gives its pid and address."""
    folder.mkdir(parents=True, exist_ok=True)
    with running([sys.executable, *arguments], folder) as process:
        line = _first_line(process, folder)
        _, _, rest = line.partition("listening on ")
        if not rest:
            raise RuntimeError(f"{arguments} did not start: {line!r} {_log_end(folder)}")
        yield process.pid, rest.split()[0]


@contextmanager
def turntree_server(db: Path, *, synchronous: str = "FULL") -> Iterator[tuple[int, str]]:
    """Run `turntree serve` on a database file; NORMAL is for measuring what FULL costs."""
    module = "turntree_server" if synchronous == "FULL" else "benchmarks.normal_server"
    arguments = ["-m", module, "serve", "--db", str(db), "--listen", f"{LOOPBACK}:0"]
    with python_server(arguments, db.parent / f"{db.stem}-server") as started:
        yield started


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[str], folder: Path) -> None:
    """Wait until a program listens on a port."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} did not start: {_log_end(folder)}")


def resident_mb(pid: int) -> float:
    """How much memory a process has in use, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has ended")


def environment() -> dict[str, str]:
    """The environment for a program that imports what this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _first_line(process: subprocess.Popen[str], folder: Path) -> str:
    assert process.stdout is not None
    waiting = select.poll()
    waiting.register(process.stdout, select.POLLIN)
    if not waiting.poll(1000 * _START_TIMEOUT_S):
        raise RuntimeError(f"{process.args!r} says nothing: {_log_end(folder)}")
    return process.stdout.readline()


def _log_end(folder: Path) -> str:
    return (folder / "log").read_text()[-2000:]
