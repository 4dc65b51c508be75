"""Where the keys of signed tokens come from: they change while the server runs, and whoever gives them may fail."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from turntree.errors import InvalidArgument, Unauthenticated
from turntree.remote import RemoteStore
from turntree_server.access.jwt_settings import JwtSettings
from turntree_server.access.keys import revoke_key
from turntree_server.access.signed_tokens import SignedTokens
from turntree_server.app import Server
from turntree_server.exit_codes import ExitCode

from tests.service.test_access import _read_for_ever, serving
from tests.support.credentials import AUDIENCE, ISSUER, Authority, Signer, new_key
from tests.support.items import user
from tests.support.server_process import launch

WITHIN_S = 30

NO_KEYS = [
    b"not http\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n{",
    b"HTTP/1.0 500 No\r\n\r\n",
    b"HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
    b"HTTP/1.0 302 Found\r\nLocation: https://[/\r\n\r\n",
    b"",
]

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Provider:
    """An identity provider with an https address; `answer` says what it does about a request."""

    def __init__(self) -> None:
        self.port = 0
        self.answer: Answer = self.stall

    @property
    def url(self) -> str:
        """Where the keys are."""
        return f"https://127.0.0.1:{self.port}/jwks"

    def give(self, keys: Path) -> None:
        """Answer with a file."""
        body = keys.read_bytes()
        self.say(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def say(self, data: bytes) -> None:
        """Answer with these bytes, whatever they mean."""

        async def say(writer: asyncio.StreamWriter) -> None:
            writer.write(data)

        self.answer = say

    async def stall(self, writer: asyncio.StreamWriter) -> None:
        """Say a little, and then nothing for long."""
        writer.write(b"HTTP/1.0 200 OK\r\n")
        for _ in range(WITHIN_S):
            writer.write(b"X: y\r\n")
            await writer.drain()
            await asyncio.sleep(1)


@pytest.fixture
async def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Provider]:
    """An identity provider whose certificate is trusted."""
    authority = Authority(tmp_path)
    pem = authority.issue("idp")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
    provider = Provider()
    connections: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await provider.answer(writer)
            await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem.cert, pem.key)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        provider.port = server.sockets[0].getsockname()[1]
        yield provider
        for writer in connections:
            writer.transport.abort()
        await asyncio.sleep(0.1)  # for what they have to say about it


def look_again(server: Server) -> None:
    """Let the server take the keys for as old as they may become."""
    assert server._signed_tokens is not None
    server._signed_tokens._read_at -= 3_600


async def test_signing_keys_are_rotated_while_the_server_runs(tmp_path: Path) -> None:
    """A token of a key that is new to the set is accepted once the set is read again; one of a key that left is not."""
    signer = Signer(tmp_path / "jwks.json", "first")
    other = Signer(tmp_path / "other.json", "second")
    async with serving(tmp_path, jwks=signer.jwks) as server:
        async with RemoteStore(server.address, token=signer.token()) as store:
            await store.add_items("s", [user("1")])
            signer.jwks.write_text(other.jwks.read_text())
            look_again(server)
            await server._gate.refresh_signing_keys()
            with pytest.raises(Unauthenticated):
                await store.add_items("s", [user("2")])
        async with RemoteStore(server.address, token=other.token()) as store:
            assert len((await store.read_items("s")).items) == 1


async def test_the_set_may_be_at_an_https_address(tmp_path: Path, provider: Provider) -> None:
    """Signing keys are fetched over TLS from a server whose certificate is trusted."""
    signer = Signer(tmp_path / "jwks.json")
    provider.give(signer.jwks)
    async with (
        serving(tmp_path, jwks=provider.url) as server,
        RemoteStore(server.address, token=signer.token()) as store,
    ):
        assert (await store.add_items("s", [user("1")])).turn == 1


async def test_a_provider_that_stalls_holds_up_nobody(tmp_path: Path, provider: Provider) -> None:
    """While signing keys are waited for, API keys are revoked as soon as ever, and known tokens are accepted."""
    signer = Signer(tmp_path / "jwks.json")
    provider.give(signer.jwks)
    key = new_key(tmp_path / "keys.json", "k")
    async with (
        serving(tmp_path, jwks=provider.url) as server,
        RemoteStore(server.address, token=key) as by_key,
        RemoteStore(server.address, token=signer.token()) as by_token,
    ):
        await by_key.add_items("s", [user("1")])
        stalled = asyncio.Event()

        async def stall(writer: asyncio.StreamWriter) -> None:
            stalled.set()
            await asyncio.sleep(WITHIN_S)

        provider.answer = stall
        look_again(server)
        async with asyncio.timeout(WITHIN_S / 2):
            await stalled.wait()
            revoke_key(tmp_path / "keys.json", "k")
            with pytest.raises(Unauthenticated):
                await _read_for_ever(by_key)
            assert (await by_token.get_items("s")).items
        assert server._signed_tokens is not None
        assert server._signed_tokens._reading.locked()


async def test_keys_that_drip_are_given_up(tmp_path: Path, provider: Provider) -> None:
    """An answer that comes in drips is given up as one that does not come, and the server does not start with it."""
    tokens = SignedTokens(JwtSettings(provider.url, AUDIENCE, ISSUER))
    async with asyncio.timeout(WITHIN_S / 2):
        with pytest.raises(InvalidArgument, match="can be read in"):
            await tokens.refresh()


async def test_a_provider_that_drips_keeps_no_server_from_ending(tmp_path: Path, provider: Provider) -> None:
    """A server that does not start since its keys come in drips ends at once, however long they go on to drip."""
    options = ("--jwks", provider.url, "--jwt-audience", AUDIENCE, "--jwt-issuer", ISSUER)
    process = launch(tmp_path / "conversations.db", options=options)
    try:
        assert await asyncio.to_thread(process.wait, WITHIN_S / 2) == ExitCode.FAILED
        process.communicate()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("said", NO_KEYS)
async def test_an_answer_that_is_none(
    said: bytes, tmp_path: Path, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a provider says in place of keys, the keys stay as they were, and a token of no key is not accepted."""
    signer, stranger = Signer(tmp_path / "jwks.json"), Signer(tmp_path / "other.json", "k2")
    provider.give(signer.jwks)
    async with serving(tmp_path, jwks=provider.url) as server:
        provider.say(said)
        look_again(server)
        async with RemoteStore(server.address, token=stranger.token()) as store:
            with pytest.raises(Unauthenticated):
                await store.get_items("s")
        async with RemoteStore(server.address, token=signer.token()) as store:
            await store.add_items("s", [user("1")])
    assert "signing keys could not be read again" in caplog.text


@pytest.mark.parametrize("said", NO_KEYS)
async def test_an_answer_that_is_none_leaves_no_connection(said: bytes, provider: Provider) -> None:
    """The connection to a provider is closed whatever it said, and not when its turn comes to be forgotten."""
    provider.say(said)
    gc.disable()
    try:
        with pytest.raises(InvalidArgument, match="--jwks"):
            await SignedTokens(JwtSettings(provider.url, AUDIENCE, ISSUER)).refresh()
        sockets = [thing for thing in gc.get_objects() if isinstance(thing, ssl.SSLSocket)]
        assert [socket for socket in sockets if socket.fileno() != -1] == []
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("claims", "is_accepted"),
    [
        ({"nbf": 10, "iat": 10}, True),
        ({"nbf": 60}, False),
        ({"iat": 60}, False),
        ({"exp": -1}, False),
        ({"nbf": -60, "iat": -60, "exp": 60}, True),
    ],
)
async def test_the_clock_of_a_signer(claims: dict[str, int], is_accepted: bool, tmp_path: Path) -> None:
    """A token may begin some seconds in the future, for its signer's clock may be ahead; when it ends, it ends."""
    signer = Signer(tmp_path / "jwks.json")
    times: dict[str, Any] = {claim: int(time.time()) + seconds for claim, seconds in claims.items()}
    token = signer.token(**times)
    async with serving(tmp_path, jwks=signer.jwks) as server, RemoteStore(server.address, token=token) as store:
        if is_accepted:
            assert (await store.add_items("s", [user("1")])).turn == 1
        else:
            with pytest.raises(Unauthenticated):
                await store.add_items("s", [user("1")])


async def test_keys_without_names(tmp_path: Path) -> None:
    """Keys of a set need no names: a token without one is accepted when any of them signed it, and no other one."""
    signers = [Signer(tmp_path / f"{number}.json", "") for number in range(3)]
    nameless = [{name: value for name, value in signer.jwk().items() if name != "kid"} for signer in signers[:2]]
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": nameless}))
    tokens = SignedTokens(JwtSettings(str(tmp_path / "jwks.json"), AUDIENCE, ISSUER))
    await tokens.refresh()
    first, second, third = [jwt.encode(signer.claims(), signer.key, algorithm="RS256") for signer in signers]
    assert tokens.find(first) is not None
    assert tokens.find(second) is not None
    assert tokens.find(third) is None
    assert not tokens.misses_key_of(third)


async def test_a_private_key_is_none(tmp_path: Path) -> None:
    """A set that gives away private keys has no keys: whoever reads it could sign."""
    signer = Signer(tmp_path / "jwks.json")
    private = jwt.algorithms.RSAAlgorithm.to_jwk(signer.key, as_dict=True)
    signer.jwks.write_text(json.dumps({"keys": [{**private, "kid": "k1"}]}))
    with pytest.raises(InvalidArgument, match="keys to verify"):
        await SignedTokens(JwtSettings(str(signer.jwks), AUDIENCE, ISSUER)).refresh()


async def test_tenants_whose_agents_have_one_name(tmp_path: Path) -> None:
    """Agents of one name in two namespaces are two credentials: what one does takes nothing of the other's limits."""
    signer = Signer(tmp_path / "jwks.json")
    tokens = SignedTokens(JwtSettings(str(signer.jwks), AUDIENCE, ISSUER))
    await tokens.refresh()
    callers = [tokens.find(signer.token(namespace=namespace)) for namespace in ("one", "other")]
    assert len({caller.credential for caller in callers if caller is not None}) == 2
