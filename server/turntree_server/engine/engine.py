"""The contract of an engine: a database that runs operations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from turntree.errors import Unavailable

from turntree_server.operations.statement import OperationFactory

T = TypeVar("T")

Listener = Callable[[], None]


class Engine(ABC):
    """A database that runs operations, each in a transaction. Safe to use from several tasks and event loops."""

    database_id: bytes
    """Tells this database from every other."""

    description: str
    """What and where the database is, for people."""

    @abstractmethod
    async def read(self, operation: OperationFactory[T], *, brief: bool = False) -> T:
        """Run an operation that changes nothing, on one consistent state of the database.

        A brief one usually reads next to nothing, so that handing it to a thread may cost more than the reading. If it
        turns out to read much, it is begun again on a thread.
        """

    @abstractmethod
    async def write(self, operation: OperationFactory[T], session_id: str, *, brief: bool = False) -> T:
        """Run an operation that changes a session, and return once the change is on disk.

        It happens whole or not at all, whether or not the caller still waits. A brief one touches few rows, so that
        handing it to a thread may cost more than carrying it out; what waits for the disk is handed over all the same.
        """

    @abstractmethod
    def listen(self, session_id: str, listener: Listener) -> Callable[[], None]:
        """Call `listener`, on any thread, when a session may have changed or the engine closes.

        Changes by other programs count too. Returns a function that ends it.
        """

    @abstractmethod
    def when_failed(self, callback: Callable[[Unavailable], None]) -> None:
        """Call `callback`, on any thread and at most once, with the error of later writes, when writing has stopped.

        The disk failed, and the outcome of the last writes is unknown; or, if the error has a cause, that one, which is
        for whoever runs the engine. Reads go on; writes do after the database is opened again.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish the writes that were accepted and release the database."""
