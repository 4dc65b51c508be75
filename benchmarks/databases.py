"""The peers' databases: Redis and PostgreSQL, installed if they are missing, each in a folder of this run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import LOOPBACK, free_port, running, wait_for_port

_POSTGRES_USER = "postgres"
_CONNECTIONS_MAX = 200


def install_missing() -> None:
    """Install what is missing from Debian's packages.

    Raises:
        SystemExit: Something is missing and cannot be installed from here.
    """
    missing = []
    if shutil.which("redis-server") is None:
        missing.append("redis-server")
    if _postgres_folder() is None:
        missing.append("postgresql")
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"the benchmarks need {' and '.join(missing)}: install them, for example apt-get install {missing[0]}")
    print(f"installing {', '.join(missing)}", flush=True)
    # At run level 1, a package that brings a service does not start it.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *missing]):
        subprocess.run(command, check=True, env=quiet, stdout=subprocess.DEVNULL)


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run Redis with its log synced to disk every second, and give its URL."""
    folder.mkdir()
    port = free_port()
    options = {
        "bind": LOOPBACK,
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "logfile": str(folder / "log"),
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    with running(["redis-server", *arguments], folder) as process:
        wait_for_port(port, process, folder)
        yield f"redis://{LOOPBACK}:{port}/0"


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run PostgreSQL with its defaults, and give its URL for SQLAlchemy. It refuses to run as root."""
    programs = _postgres_folder()
    assert programs is not None
    user = _POSTGRES_USER if os.geteuid() == 0 else None
    folder.mkdir()
    if user is not None:
        shutil.chown(folder, user, user)
    data = folder / "data"
    groups: list[str] | None = [] if user is not None else None
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", _POSTGRES_USER, "--auth=trust", "--encoding=UTF8", "--no-sync"],
        check=True,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        user=user,
        group=user,
        extra_groups=groups,
    )
    port = free_port()
    settings = [
        f"listen_addresses={LOOPBACK}",
        f"unix_socket_directories={folder}",
        f"max_connections={_CONNECTIONS_MAX}",
    ]
    arguments = [part for setting in settings for part in ("-c", setting)]
    with running([programs / "postgres", "-D", data, "-p", str(port), *arguments], folder, user=user) as process:
        try:
            wait_for_port(port, process, folder)
            yield f"postgresql+asyncpg://{_POSTGRES_USER}@{LOOPBACK}:{port}/postgres"
        finally:
            process.send_signal(2)  # ends connections instead of waiting for them


def _postgres_folder() -> Path | None:
    """Where PostgreSQL's programs are; Debian does not put them on the path."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda folder: float(folder.parent.name), default=None)
