"""Session memory for AI agents: conversations that branch, kept on a turntree server.

`await turntree.connect(url)` gives a `Store`; `turntree.openai_agents.TurntreeSession` is the session of the OpenAI
Agents SDK on one. The words are explained in `turntree.model`, the promises in `turntree.store`.
"""

from turntree import errors, model
from turntree.connect import connect
from turntree.errors import ErrorReason, TurntreeError
from turntree.store import Store, every

__all__ = ["ErrorReason", "Store", "TurntreeError", "connect", "errors", "every", "model"]
__version__ = "0.1.0"
