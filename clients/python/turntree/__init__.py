"""Session memory for AI agents: conversations that branch, kept on a turntree server.

`await turntree.connect(url)` gives a `Store`; `turntree.openai_agents.TurntreeSession` is the session of the OpenAI
Agents SDK on one. The words are explained in `turntree.model`, the promises in `turntree.store`.
"""

import os

# gRPC reads this when it is loaded. Its own handling of forks crashes processes that are forked while a stream is open.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from turntree import errors, model
from turntree.connect import connect
from turntree.errors import ErrorReason, TurntreeError
from turntree.store import Store, every

__all__ = ["ErrorReason", "Store", "TurntreeError", "connect", "errors", "every", "model"]
__version__ = "0.1.0"
