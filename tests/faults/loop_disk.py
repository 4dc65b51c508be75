"""A disk whose power can be cut: ext4 in a file, through a loop device.

What the system has in memory for a mounted file system is not in the file behind it, until the system writes it there.
A copy of that file is therefore the disk as it was in that moment, and mounting the copy is turning the power on again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DISK_BYTES = 64 * 1024 * 1024
STILL_WITHIN_S = 30
COMMANDS = ("mkfs.ext4", "mount", "umount", "losetup")
_WITHIN_S = 30


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command that ends soon."""
    return subprocess.run(command, capture_output=True, text=True, timeout=_WITHIN_S, check=False)


def done(*command: str | Path) -> None:
    """Run a command that must succeed."""
    ended = run(*command)
    assert ended.returncode == 0, ended


def require_disks(folder: Path) -> None:
    """Skip the test where no disk can be made, with the reason; a missing command is a failure where CI is set."""
    _require(*COMMANDS)
    try:
        image = folder / "probe.img"
        make_disk(image)
        with mounted(image, folder / "probe"):
            pass
    except AssertionError as error:
        pytest.skip(
            "the system lets this user mount no file system (it takes root and loop devices): docs/reliability.md has"
            f" the rounds that were played where it does ({error})"
        )


def _require(*commands: str) -> None:
    if missing := [command for command in commands if shutil.which(command) is None]:
        reason = f"a disk of its own needs {', '.join(missing)}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def make_disk(image: Path) -> None:
    """An empty file system."""
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    done("mkfs.ext4", "-q", "-F", image)


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    """Turn a disk on."""
    at.mkdir(exist_ok=True)
    done("mount", "-o", "loop", image, at)
    try:
        yield at
    finally:
        done("umount", at)


@contextmanager
def small_disk(at: Path, size_bytes: int) -> Iterator[Path]:
    """A disk in memory with room for so much; skips or fails the test as `require_disks` does."""
    _require("mount", "umount")
    at.mkdir()
    mounting = run("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", at)
    if mounting.returncode:
        pytest.skip(f"the system lets this user mount no file system (it takes root): {mounting.stderr.strip()}")
    try:
        yield at
    finally:
        done("umount", at)


def copy_as_it_is(image: Path, copy: Path) -> None:
    """Copy a disk in one moment, while nobody writes to files on it.

    The system may write to it meanwhile. Then the copy would be of several moments, as no disk ever was; so it is taken
    until two in a row are the same.
    """
    give_up = time.monotonic() + STILL_WITHIN_S
    before: bytes | None = None
    while (now := image.read_bytes()) != before:
        assert time.monotonic() < give_up, "the disk does not come to rest"
        before = now
    copy.write_bytes(now)


def discard(image: Path) -> None:
    """Throw a disk away."""
    image.unlink()
