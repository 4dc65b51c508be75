"""turntree for the OpenAI Agents SDK: `TurntreeSession` is a `Session` that is kept in a turntree store.

Importing this imports the SDK, which takes seconds; nothing else in turntree does.
"""

from turntree.openai_agents.session import TurntreeSession
from turntree.openai_agents.shapes import Change, StreamedTurn

__all__ = ["Change", "StreamedTurn", "TurntreeSession"]
