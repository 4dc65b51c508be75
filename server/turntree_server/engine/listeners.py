"""Who wants to know of changes: listeners by session, called from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from turntree_server.engine.engine import Listener


class Listeners:
    """Listeners by session."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_session: dict[str, set[Listener]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_session)

    def add(self, session_id: str, listener: Listener) -> Callable[[], None]:
        """Add a listener; returns a function that removes it."""
        with self._lock:
            self._by_session.setdefault(session_id, set()).add(listener)

        def remove() -> None:
            with self._lock:
                listeners = self._by_session.get(session_id, set())
                listeners.discard(listener)
                if not listeners:
                    self._by_session.pop(session_id, None)

        return remove

    def notify(self, session_ids: Iterable[str]) -> None:
        """Call the listeners of some sessions."""
        with self._lock:
            listeners = [
                listener for session_id in set(session_ids) for listener in self._by_session.get(session_id, ())
            ]
        for listener in listeners:
            listener()

    def notify_all(self) -> None:
        """Call every listener."""
        self.notify(tuple(self._by_session))
