"""A process that was forked from another one has its memory, but neither its threads nor its locks on files."""

from __future__ import annotations

import os
from functools import cache


class OwnProcess:
    """The process that opened something. One that is forked from it later cannot use that."""

    def __init__(self) -> None:
        self._id = os.getpid()

    def is_here(self) -> bool:
        """Whether this is that process."""
        return os.getpid() == self._id

    def require(self) -> None:
        """Refuse to go on in another process, where it would wait for threads that are not there.

        Raises:
            RuntimeError: This is another process.
        """
        if not self.is_here():
            raise RuntimeError(
                "this process was forked from one that had used turntree already, and cannot use what is open there:"
                " begin to use it after the fork, or start the process with 'spawn'"
            )


@cache
def grpc_process() -> OwnProcess:
    """The process that used gRPC first: it has the threads, which no other one can start again."""
    return OwnProcess()
