"""Named places where a test makes the server die, fail or wait, to see that its promises hold all the same.

They are off unless the environment variable TURNTREE_FAILPOINTS is set when the server starts: a list of
`PLACE=ACTION` or `PLACE=ACTION@N`, with commas between, which happens the first or the N-th time the place is reached.

    TURNTREE_FAILPOINTS=batch.commit=kill@3,reply.begin=delay turntree serve
"""

from __future__ import annotations

import os
import signal
import threading
import time
from enum import StrEnum

from turntree.limits import invalid

NAMES = (
    *("open.begin", "open.end", "listen.begin", "stop.begin", "stop.end", "close.checkpoint"),
    *("migration.begin", "migration.statement", "migration.commit", "migration.end"),
    *("batch.begin", "batch.begun", "batch.commit", "batch.committed", "deliver.begin", "deliver.end"),
    *("operation.begin", "operation.statement", "operation.end", "operation.released"),
    *("read.begin", "call.begin", "reply.begin", "reply.end", "unary.end", "stream.message"),
)
"""Every place, each of which is in the code exactly once."""

DELAY_S = 0.02

_VARIABLE = "TURNTREE_FAILPOINTS"
_SETTING = os.environ.get(_VARIABLE, "")

ON = bool(_SETTING)
"""Whether any is set. Asked before `hit`, so that a server without them does not even call it."""


class Action(StrEnum):
    """What happens: SIGKILL, an error that nothing expects, or a wait of `DELAY_S`."""

    KILL = "kill"
    RAISE = "raise"
    DELAY = "delay"


class Injected(RuntimeError):
    """The error of a failpoint."""


def _read(setting: str) -> dict[str, tuple[Action, int]]:
    plan = {}
    for part in filter(None, setting.split(",")):
        name, _, what = part.partition("=")
        action, _, at = what.partition("@")
        if name not in NAMES:
            invalid(_VARIABLE, part, f"a place: {', '.join(NAMES)}")
        if action not in set(Action) or not (at or "1").isdecimal():
            invalid(_VARIABLE, part, f"PLACE=ACTION or PLACE=ACTION@N, with an action of {', '.join(Action)}")
        plan[name] = Action(action), int(at or 1)
    return plan


_plan = _read(_SETTING)
_lock = threading.Lock()


def hit(name: str) -> None:
    """Reach a place: do what is to happen there, if anything and if not yet, after saying so on stderr."""
    with _lock:
        if name not in _plan:
            return
        action, left = _plan.pop(name)
        if left > 1:
            _plan[name] = action, left - 1
            return
    os.write(2, f"failpoint {name}: {action}\n".encode())
    match action:
        case Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Action.RAISE:
            raise Injected(f"failpoint {name}")
        case Action.DELAY:
            time.sleep(DELAY_S)
