"""turntree as users of the OpenAI Agents SDK meet it: a `Session` on a server in another process."""
