"""One server for each database file: a lock beside the file, which ends with its process."""

from __future__ import annotations

import fcntl
import os

from turntree_server.engine.refusals import DatabaseInUse, DatabaseMissing


class ServerLock:
    """The lock of one server on a database file, a file of its own: `conversations.db-lock`.

    It is not on the database itself, because closing any descriptor of that would end SQLite's own locks on it. The
    Agents SDK's class and embedded stores do not take it, and may use the file beside a server.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, db: str, lock: str | None = None) -> ServerLock:
        """Lock a database file, which need not exist yet, or a folder of them.

        Args:
            db: The file or folder.
            lock: The file that is locked; by default the one beside it.

        Raises:
            DatabaseInUse: Another server has it.
            DatabaseMissing: Its folder does not exist.
        """
        path = lock or f"{os.path.realpath(db)}-lock"
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:
                raise DatabaseMissing(db, f"the folder {os.path.dirname(db) or '.'} does not exist") from None
            except OSError as error:
                raise DatabaseMissing(db, f"{path} cannot be made ({error.strerror}): look at the folder") from None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise DatabaseInUse(db, "another turntree server serves it: stop that one first") from None
            if _is_still(path, descriptor):
                return cls(path, descriptor)
            os.close(descriptor)  # its last owner removed it between our two steps

    def release(self) -> None:
        """Give the file free, and leave nothing behind."""
        if _is_still(self._path, self._descriptor):  # else somebody removed it, and it may be another server's by now
            os.unlink(self._path)
        os.close(self._descriptor)


def _is_still(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
