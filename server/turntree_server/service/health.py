"""The standard gRPC health service. Its watches end with the server, so that none of them holds up a shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

from turntree_server.service.interceptor import Context

_WHOLE_SERVER = ""


class HealthService(HealthServicer):  # type: ignore[misc]
    """Says SERVING for the server and each of its services, until it stops."""

    def __init__(self, service_names: Iterable[str]) -> None:
        self._names = {_WHOLE_SERVER, *service_names}
        self._stopping = asyncio.Event()

    def stop_serving(self) -> None:
        """Say NOT_SERVING from now on, to every watch as its last word."""
        self._stopping.set()

    def _status(self, name: str) -> Any:
        if name not in self._names:
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        serving = HealthCheckResponse.NOT_SERVING if self._stopping.is_set() else HealthCheckResponse.SERVING
        return HealthCheckResponse(status=serving)

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return self._status(request.service)

    async def List(self, request: HealthListRequest, context: Context) -> HealthListResponse:
        return HealthListResponse(statuses={name: self._status(name) for name in self._names})

    async def Watch(self, request: HealthCheckRequest, context: Context) -> AsyncIterator[HealthCheckResponse]:
        first = self._status(request.service)
        yield first
        await self._stopping.wait()
        last = self._status(request.service)
        if last != first:
            yield last
