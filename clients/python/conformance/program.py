"""The conformance program of the Python client: steps on stdin, answers on stdout, each call made by `turntree.Store`.

turntree-server's services turn a message into a call of a `Store` and its result into a message. Here they stand on a
`Store` that is itself a client of the server under test.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from turntree.connect import open_store
from turntree.errors import TurntreeError
from turntree.remote import TIMEOUT_S_DEFAULT
from turntree.rpc_errors import CODE_BY_CLASS
from turntree.store import Store
from turntree.v1 import branch_pb2, session_pb2, turn_pb2, usage_pb2
from turntree_server.service.branches import BranchService
from turntree_server.service.sessions import SessionService
from turntree_server.service.turns import TurnService
from turntree_server.service.usage import UsageService

_SERVICES = {
    "SessionService": (session_pb2, SessionService),
    "BranchService": (branch_pb2, BranchService),
    "TurnService": (turn_pb2, TurnService),
    "UsageService": (usage_pb2, UsageService),
}


class _OwnRequestIds:
    """A store whose mutations without a `request_id` are left to name themselves."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        def call(*arguments: Any, **named: Any) -> Any:
            if named.get("request_id") == "":
                del named["request_id"]
            return method(*arguments, **named)

        return call


class Program:
    """Plays steps, one after the other."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stores: dict[float | None, Store] = {}
        self._streams: dict[str, AsyncIterator[Message | bytes]] = {}

    async def play(self, step: dict[str, Any]) -> dict[str, Any]:
        """Play one step and return its answer."""
        if "next" in step:
            return await _read(self._streams[step["next"]], step.get("take"))
        if "stop" in step:
            await _close(self._streams.pop(step["stop"]))
            return {"stopped": step["stop"]}
        service, method = step["call"].split("/")
        messages, servicer = _SERVICES[service]
        descriptor = messages.DESCRIPTOR.services_by_name[service].methods_by_name[method]
        request = json_format.ParseDict(step["request"], GetMessageClass(descriptor.input_type)())
        store = _OwnRequestIds(await self._store(step.get("timeout_s")))
        handler = getattr(type(service, (servicer,), {"store": store})(), method)
        if not descriptor.server_streaming:
            try:
                return {"response": _json(await handler(request, None))}
            except TurntreeError as error:
                return {"error": _error(error)}
        stream = handler(request, None)
        if "start" in step:
            self._streams[step["start"]] = stream
            return {"started": step["start"]}
        try:
            return await _read(stream, step.get("take"))
        finally:
            await _close(stream)

    async def _store(self, timeout_s: float | None) -> Store:
        if timeout_s not in self._stores:
            self._stores[timeout_s] = await open_store(self._url, call_timeout_s=timeout_s or TIMEOUT_S_DEFAULT)
        return self._stores[timeout_s]

    async def close(self) -> None:
        """End what is open."""
        for stream in self._streams.values():
            await _close(stream)
        for store in self._stores.values():
            await store.close()


async def _read(stream: AsyncIterator[Message | bytes], take: int | None) -> dict[str, Any]:
    responses: list[dict[str, Any]] = []
    try:
        while take is None or len(responses) < take:
            responses.append(_json(await anext(stream)))
    except StopAsyncIteration:
        pass
    except TurntreeError as error:
        return {"responses": responses, "error": _error(error)}
    return {"responses": responses}


async def _close(stream: Any) -> None:
    await stream.aclose()


def _json(message: Message | bytes) -> dict[str, Any]:
    if isinstance(message, bytes):  # turns, which the service makes no message of
        message = turn_pb2.StreamTurnsResponse.FromString(message)
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _error(error: TurntreeError) -> dict[str, Any]:
    return {
        "code": CODE_BY_CLASS[type(error)].name,
        "reason": str(error.reason),
        "facts": dict(error.facts),
        "message": error.message,
    }


async def main(url: str) -> None:
    """Answer every line of stdin by a line on stdout."""
    program = Program(url)
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            answer = await program.play(json.loads(line))
            print(json.dumps(answer), flush=True)
    finally:
        await program.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
