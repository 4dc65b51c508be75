"""Puts the rooms together: an engine, a store on it, services on that, and a server around them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from dataclasses import astuple
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from turntree.errors import TurntreeError, Unavailable
from turntree.limits import invalid
from turntree.v1 import branch_pb2, pipeline_pb2, session_pb2, turn_pb2, usage_pb2
from turntree.v1.branch_pb2_grpc import add_BranchServiceServicer_to_server
from turntree.v1.pipeline_pb2_grpc import add_PipelineServiceServicer_to_server
from turntree.v1.session_pb2_grpc import add_SessionServiceServicer_to_server
from turntree.v1.turn_pb2_grpc import add_TurnServiceServicer_to_server
from turntree.v1.usage_pb2_grpc import add_UsageServiceServicer_to_server

from turntree_server import failpoints
from turntree_server.access.authenticator import Authenticator
from turntree_server.access.caller import check_namespace
from turntree_server.access.jwt_settings import JwtSettings
from turntree_server.access.keys import KeyRing
from turntree_server.access.load import Load
from turntree_server.engine.refusals import DatabaseMissing, DiskFailed, refusal
from turntree_server.engine.server_lock import ServerLock
from turntree_server.engine.sqlite import IN_MEMORY, SqliteEngine
from turntree_server.local_store import LocalStore
from turntree_server.namespaces import ManyNamespaces, Namespaces, OneNamespace
from turntree_server.operations.quota import Quota
from turntree_server.service.branches import BranchService
from turntree_server.service.gate import Gate
from turntree_server.service.health import HealthService
from turntree_server.service.interceptor import Interceptor
from turntree_server.service.pipeline import PipelineService
from turntree_server.service.sessions import SessionService
from turntree_server.service.tls import CertificateFiles
from turntree_server.service.turns import TurnService
from turntree_server.service.usage import UsageService
from turntree_server.settings import LoadLimits, Settings

if TYPE_CHECKING:
    from turntree_server.access.signed_tokens import SignedTokens

log = logging.getLogger(__name__)

_EXPIRY_SWEEP_S = 30.0
_REFRESH_S = 1.0
PING_MS_MIN = 1_000
_PINGS_TOO_OFTEN_MAX = 3
_LAST_CALLS_MS = 10_000
_GRPC_CERTIFICATES = "PEM that gRPC can use, with keys of RSA, P-256, P-384, P-521 or Ed25519"

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_send_message_length", -1),
    # A client that died without a word is given up within fifteen seconds.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # Clients may ask whether the server lives once a second. Who does so more often, and does not stop, is cut off.
    ("grpc.http2.min_ping_interval_without_data_ms", PING_MS_MIN),
    ("grpc.http2.max_ping_strikes", _PINGS_TOO_OFTEN_MAX),
)

_SERVICE_NAMES = tuple(
    service.full_name
    for file in (session_pb2, branch_pb2, turn_pb2, usage_pb2, pipeline_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)
_HEALTH_NAME = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class AddressInUse(Exception):
    """The server cannot listen on its address."""


def _namespaces(settings: Settings, when_failed: Callable[[Unavailable], None]) -> Namespaces:
    """What a server serves. Nothing is opened or made yet."""

    def engine_of(db: str) -> SqliteEngine:
        engine = SqliteEngine(db, check=settings.check, of_server=True)
        engine.when_failed(when_failed)
        return engine

    def store_on(engine: SqliteEngine) -> LocalStore:
        quota = Quota(settings.load.sessions_max, settings.load.bytes_max)
        return LocalStore(engine, quota=quota, request_window=timedelta(hours=settings.request_window_h))

    if settings.data_dir is None:
        engine = engine_of(settings.db)
        return OneNamespace(store_on(engine), partial(_start, engine))
    folder = settings.data_dir

    async def make_folder() -> Callable[[], None]:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise DatabaseMissing(str(folder), f"the folder cannot be made ({error.strerror})") from None
        return ServerLock.take(str(folder), str(folder / "server-lock")).release

    async def open_store(namespace: str) -> LocalStore:
        engine = engine_of(str(folder / f"{check_namespace('namespace', namespace)}.db"))
        await engine.start()
        return store_on(engine)

    description = f"sqlite: {folder}/NAMESPACE.db"
    return ManyNamespaces(open_store, settings.load.namespaces_max, description, make_folder)


async def _start(engine: SqliteEngine) -> None:
    """Start an engine. Whoever starts the server is told what no client may read."""
    try:
        await engine.start()
    except TurntreeError as error:
        if error.__cause__ is None:
            raise
        raise refusal(engine.path, error.__cause__) from error


def _load_options(load: LoadLimits) -> list[tuple[str, int]]:
    options = [
        ("grpc.max_allowed_incoming_connections", load.connections_max),
        ("grpc.max_concurrent_streams", load.streams_max),
        ("grpc.max_receive_message_length", load.message_max),
        ("grpc.server_handshake_timeout_ms", round(load.handshake_s * 1000)),
    ]
    if load.connection_age_s:
        options.append(("grpc.max_connection_age_ms", round(load.connection_age_s * 1000)))
        options.append(("grpc.max_connection_age_grace_ms", _LAST_CALLS_MS))
    return options


async def open_sqlite_store(url: str) -> LocalStore:
    """Open the embedded store of a `sqlite:` URL: `sqlite:///file.db`, or `sqlite://` for a database in memory.

    With `?check=false` the file is not searched for damage first.
    """
    parts = urlsplit(url)
    if parts.netloc or parts.query not in ("", "check=false") or parts.fragment:
        invalid("url", url, "sqlite:///path, sqlite:///path?check=false or sqlite://")
    path = unquote(parts.path.removeprefix("/")) if parts.path else IN_MEMORY
    if not path.strip():
        invalid("url", url, "sqlite:///path with a path, or sqlite:// for a database in memory")
    return LocalStore(await SqliteEngine.open(path, check=not parts.query))


class Server:
    """A gRPC server on a store. `await Server.start(settings)`, then `stop()`."""

    def __init__(self, settings: Settings, served: LocalStore | Namespaces) -> None:
        self.namespaces = OneNamespace(served) if isinstance(served, LocalStore) else served
        self.host = settings.host
        self.port = settings.port
        self._tls = settings.tls
        self._signed_tokens = _signed_tokens(settings.jwt) if settings.jwt is not None else None
        keys = KeyRing(settings.keys_file) if settings.keys_file is not None else None
        load = Load(settings.load.calls_max, settings.load.watches_max, settings.load.rate_max)
        self._gate = Gate(Authenticator(keys, self._signed_tokens), load, self.namespaces)
        self._grace_s = settings.grace_s
        self._health = HealthService(_SERVICE_NAMES)
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._grpc = grpc.aio.server(
            interceptors=[Interceptor(self._gate)],
            options=[*_OPTIONS, *_load_options(settings.load)],
        )
        services = (SessionService(), BranchService(), TurnService(), UsageService())
        session_service, branch_service, turn_service, usage_service = services
        add_SessionServiceServicer_to_server(session_service, self._grpc)
        add_BranchServiceServicer_to_server(branch_service, self._grpc)
        add_TurnServiceServicer_to_server(turn_service, self._grpc)
        add_UsageServiceServicer_to_server(usage_service, self._grpc)
        self._pipeline = PipelineService(services, self._gate)
        add_PipelineServiceServicer_to_server(self._pipeline, self._grpc)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        reflection.enable_server_reflection((*_SERVICE_NAMES, _HEALTH_NAME, reflection.SERVICE_NAME), self._grpc)

    @classmethod
    async def start(cls, settings: Settings, when_failed: Callable[[Unavailable], None] = lambda _: None) -> Self:
        """Take the address, open the database and serve it; a database is not touched before the address is taken.

        Args:
            settings: How the server runs.
            when_failed: Called, from any thread, when nothing is written any more; see `Engine.when_failed`.

        Raises:
            DatabaseRefused: The database must not or cannot be opened; if it must not, it is not changed.
            DiskFailed: The disk failed while the database was opened.
            Unavailable: STORE_FAILED, when this process has the database open through another SQLite library.
            AddressInUse: The server cannot listen on its address.
            InvalidArgument: FIELD_INVALID, when a file that the settings name cannot be read.
        """
        server = cls(settings, _namespaces(settings, when_failed))
        try:
            await server._listen()
        except BaseException:
            await server._grpc.stop(None)
            await server.namespaces.close()
            raise
        return server

    @property
    def address(self) -> str:
        """`HOST:PORT`, with the port that was picked."""
        return f"{self.host}:{self.port}"

    async def _listen(self) -> None:
        if self._signed_tokens is not None:
            await self._signed_tokens.refresh()
        tls = CertificateFiles(self._tls.cert, self._tls.key, self._tls.client_ca).credentials() if self._tls else None
        try:
            if tls is not None:
                self.port = self._grpc.add_secure_port(self.address, tls)
            else:
                self.port = self._grpc.add_insecure_port(self.address)
        except RuntimeError:
            if self._tls is not None and self._is_free():
                files = ", ".join(str(file) for file in astuple(self._tls) if file is not None)
                invalid("--tls-cert, --tls-key, --tls-client-ca", files, _GRPC_CERTIFICATES)
            raise AddressInUse(
                f"cannot listen on {self.address}: the address is in use, not of this machine, or not open to this user"
            ) from None
        await self.namespaces.open()
        if failpoints.ON:
            failpoints.hit("listen.begin")
        await self._grpc.start()
        self._tasks = tuple(map(asyncio.create_task, (self._sweep(), self._refresh(), self._refresh_signing_keys())))

    def _is_free(self) -> bool:
        """Whether the server could listen without TLS: gRPC does not say what it is that it does not like."""
        with contextlib.suppress(RuntimeError):
            self._grpc.add_insecure_port(self.address)  # of a server that is not started any more
            return True
        return False

    async def stop(self) -> None:
        """Let calls in flight finish, tell watchers to resume elsewhere, then close the database."""
        if failpoints.ON:
            failpoints.hit("stop.begin")
        self._health.stop_serving()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        stopped = asyncio.create_task(self._grpc.stop(self._grace_s))
        self.namespaces.end_watches()
        self._pipeline.end()
        await stopped
        if failpoints.ON:
            failpoints.hit("stop.end")
        await self.namespaces.close()

    async def _sweep(self) -> None:
        """Give back the space of expired sessions, now and then."""
        while True:
            await asyncio.sleep(_EXPIRY_SWEEP_S)
            for namespace in self.namespaces.open_names():
                if namespace not in self.namespaces.open_names():  # closed meanwhile
                    continue
                try:
                    async with self.namespaces.use(namespace) as store:
                        await store.delete_expired_sessions()
                        await store.forget_old_requests()
                except TurntreeError as error:  # the next sweep tries again
                    log.error("expired sessions could not be removed: %s", error)
                except Exception:  # so it does here
                    log.exception("expired sessions could not be removed")

    async def _refresh(self) -> None:
        """Take note of keys that changed, soon after they do."""
        while True:
            await asyncio.sleep(_REFRESH_S)
            try:
                self._gate.refresh()
            except Exception:  # the next time tries again
                log.exception("keys could not be looked at")

    async def _refresh_signing_keys(self) -> None:
        """The same for the keys of signed tokens; a slow answer from elsewhere holds up nothing else."""
        while True:
            await asyncio.sleep(_REFRESH_S)
            try:
                await self._gate.refresh_signing_keys()
            except Exception:  # the next time tries again
                log.exception("signing keys could not be looked at")


def _signed_tokens(settings: JwtSettings) -> SignedTokens:
    """What accepts signed tokens. It is imported only here, since a server starts a tenth sooner without it."""
    from turntree_server.access.signed_tokens import SignedTokens

    return SignedTokens(settings)


async def serve(settings: Settings, announce: Callable[[Server], None]) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; `announce` is called when the server answers, and not before.

    SIGHUP, which comes when a terminal is closed, is ignored if whoever started the server ignores it, as `nohup` does.

    Raises:
        DiskFailed: The server stopped by itself, because writing failed in a way that leaves the outcome unknown.
        DatabaseRemoved: It did because its database was removed or replaced.
    """
    stop = asyncio.Event()
    failures: list[Unavailable] = []
    loop = asyncio.get_running_loop()
    ending = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ending.append(signal.SIGHUP)
    for number in ending:
        loop.add_signal_handler(number, stop.set)

    def fail(failure: Unavailable) -> None:
        failures.append(failure)
        loop.call_soon_threadsafe(stop.set)

    starting = asyncio.create_task(Server.start(settings, fail))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        announce(await starting)
        await stopping
    for number in ending:  # who asks twice does not want to wait
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
    starting.cancel()  # which changes nothing if it has started
    try:
        server = await starting
    except asyncio.CancelledError:
        return
    await server.stop()
    if failures:
        if failures[0].__cause__ is not None:
            raise failures[0].__cause__
        where = settings.data_dir or settings.db
        raise DiskFailed(
            f"the disk of {where} failed: what was acknowledged is kept, and a restart finds what else is there"
        )
