"""Session memory for AI agents: conversations that branch, kept on a turntree server."""
