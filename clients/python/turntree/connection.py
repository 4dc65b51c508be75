"""One connection to a server: its settings, its pipeline and its stubs."""

from __future__ import annotations

import grpc
import grpc.aio

from turntree.pipeline import Pipeline
from turntree.retries import RetryBudget
from turntree.token import Credentials
from turntree.v1 import branch_pb2_grpc, session_pb2_grpc, turn_pb2_grpc, usage_pb2_grpc

OPTIONS = (
    # A server that is back is found while a call is still retried, however long it was away: by default gRPC waits up
    # to two minutes before it tries to connect again, and calls fail meanwhile.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # How long an attempt to connect may take, on a slow network and on one that swallows it.
    ("grpc.min_reconnect_backoff_ms", 4_000),
    # A connection that died without a word is noticed within five seconds, also by a watch that only listens.
    ("grpc.keepalive_time_ms", 3_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


class Connection:
    """A channel to the server and the stubs on it, of one event loop."""

    def __init__(
        self,
        target: str,
        tls: grpc.ChannelCredentials | None,
        budget: RetryBudget,
        credentials: Credentials,
        retry_for_s: float,
    ) -> None:
        if tls is None:
            self.channel = grpc.aio.insecure_channel(target, options=OPTIONS)
        else:
            self.channel = grpc.aio.secure_channel(target, tls, options=OPTIONS)
        self.sessions: session_pb2_grpc.SessionServiceAsyncStub = session_pb2_grpc.SessionServiceStub(self.channel)
        self.turns: turn_pb2_grpc.TurnServiceAsyncStub = turn_pb2_grpc.TurnServiceStub(self.channel)
        branches, usage = branch_pb2_grpc.BranchServiceStub(self.channel), usage_pb2_grpc.UsageServiceStub(self.channel)
        unary = {
            name: call for stub in (self.sessions, branches, self.turns, usage) for name, call in vars(stub).items()
        }
        self.pipeline = Pipeline(self.channel, unary, target, budget, credentials, retry_for_s)
        self.streams: set[grpc.aio.Call] = set()
