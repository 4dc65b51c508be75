"""Whether the files of an open database still have their names: what is written to others is lost at a restart."""

from __future__ import annotations

import os


class Place:
    """The names of a database, its log and the index of that.

    Whoever opens the database again finds it, and what its log holds, by these names alone. SQLite itself goes on with
    the files that it has open.
    """

    def __init__(self, path: str) -> None:
        real_path = os.path.realpath(path)
        self._names = (os.path.abspath(path), f"{real_path}-wal", f"{real_path}-shm")
        self._noted: dict[str, tuple[int, int]] = {}

    def note(self) -> None:
        """Note the files, which are open now. A database in memory has none."""
        self._noted = {name: file for name in self._names if (file := _file(name)) is not None}

    def is_kept(self) -> bool:
        """Whether every name is still that of the file that it was."""
        try:
            return all(_file(name) == file for name, file in self._noted.items())
        except OSError:  # it cannot be seen, as in a folder that was closed, and may well be there
            return True


def _file(name: str) -> tuple[int, int] | None:
    try:
        state = os.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state.st_dev, state.st_ino
