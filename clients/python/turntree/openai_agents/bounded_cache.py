"""A cache that is bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, Protocol, TypeVar


class _Sized(Protocol):
    @property
    def bytes_size(self) -> int:
        """How much memory it takes."""


V = TypeVar("V", bound=_Sized)


class BoundedCache(Generic[V]):
    """Values by names; those that were not used for longest go first. Safe to use from several threads."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._lock = threading.Lock()
        self._values: OrderedDict[tuple[str, ...], V] = OrderedDict()

    def get(self, *key: str) -> V | None:
        """The value that was put last."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, value: V, *key: str) -> None:
        """Keep a value, and drop others if there is no room."""
        with self._lock:
            self._drop(key)
            if value.bytes_size > self._bytes_max:
                return
            self._values[key] = value
            self._bytes += value.bytes_size
            while self._bytes > self._bytes_max:
                self._drop(next(iter(self._values)))

    def _drop(self, key: tuple[str, ...]) -> None:
        value = self._values.pop(key, None)
        if value is not None:
            self._bytes -= value.bytes_size
