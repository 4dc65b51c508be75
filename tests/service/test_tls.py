"""TLS: who speaks it, with which certificates, and what those hear who do not."""

from __future__ import annotations

import asyncio
import codecs
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import turntree
from turntree.connect import open_store
from turntree.errors import ErrorReason, InvalidArgument, Unavailable
from turntree.remote import RemoteStore
from turntree.store import Store
from turntree_server.app import AddressInUse, Server
from turntree_server.settings import Settings, TlsSettings

from tests.support.credentials import Authority, Pem, new_key
from tests.support.items import user
from tests.support.server_process import ServerProcess, command_without_power, log_of

WITHIN_S = 30
IMPATIENT_S = 0.5


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Server]:
    """A server with these settings."""
    server = await Server.start(settings)
    try:
        yield server
    finally:
        await server.stop()


def settings(folder: Path, pem: Pem | None, client_ca: Path | None = None, keys_file: Path | None = None) -> Settings:
    """Settings of a server with a certificate."""
    tls = TlsSettings(pem.cert, pem.key, client_ca) if pem is not None else None
    return Settings(db=str(folder / "conversations.db"), port=0, grace_s=1, tls=tls, keys_file=keys_file)


async def can_write(store: Store) -> bool:
    """Whether the store answers."""
    async with store:
        return (await store.add_items("s", [user("hi")])).turn >= 1


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whoever signs the certificates of a test."""
    return Authority(tmp_path)


async def test_a_conversation_over_tls(authority: Authority, tmp_path: Path) -> None:
    """A client that trusts the server's authority reads, writes and shows its token over TLS."""
    keys = tmp_path / "keys.json"
    token = new_key(keys, "agent")
    async with serving(settings(tmp_path, authority.issue("server"), keys_file=keys)) as server:
        url = f"turntrees://{server.address}?ca_file={authority.cert}"
        assert await can_write(await turntree.connect(url, token=token))


async def test_an_untrusted_certificate_is_named(authority: Authority, tmp_path: Path) -> None:
    """A client that does not trust the server's certificate says so, and sends nothing."""
    (tmp_path / "others").mkdir()
    stranger = Authority(tmp_path / "others")
    async with serving(settings(tmp_path, authority.issue("server"))) as server:
        with pytest.raises(Unavailable, match="certificate is not trusted") as raised:
            await turntree.connect(f"turntrees://{server.address}?ca_file={stranger.cert}", timeout_s=IMPATIENT_S)
    assert raised.value.reason is ErrorReason.SERVER_UNREACHABLE


async def test_a_plain_client_at_a_tls_port(authority: Authority, tmp_path: Path) -> None:
    """It is told that the server speaks TLS, and what to write instead."""
    async with serving(settings(tmp_path, authority.issue("server"))) as server:
        with pytest.raises(Unavailable, match="it speaks TLS: use turntrees://"):
            await turntree.connect(server.address, timeout_s=IMPATIENT_S)


async def test_a_tls_client_at_a_plain_port(authority: Authority, tmp_path: Path) -> None:
    """It is told that the server does not speak TLS, and what to write instead."""
    async with serving(settings(tmp_path, None)) as server:
        with pytest.raises(Unavailable, match="it does not speak TLS: use turntree://"):
            await turntree.connect(f"turntrees://{server.address}?ca_file={authority.cert}", timeout_s=IMPATIENT_S)


async def test_mutual_tls(authority: Authority, tmp_path: Path) -> None:
    """With --tls-client-ca only clients with a certificate of that authority come in; others are told why."""
    (tmp_path / "others").mkdir()
    stranger = Authority(tmp_path / "others", "others")
    client, intruder = authority.issue("client"), stranger.issue("intruder")
    async with serving(settings(tmp_path, authority.issue("server"), client_ca=authority.cert)) as server:
        url = f"turntrees://{server.address}?ca_file={authority.cert}"
        assert await can_write(await turntree.connect(f"{url}&cert_file={client.cert}&key_file={client.key}"))
        for refused in (url, f"{url}&cert_file={intruder.cert}&key_file={intruder.key}"):
            with pytest.raises(Unavailable, match="asks for a certificate"):
                await _use_for_a_moment(refused)


async def _use_for_a_moment(url: str) -> None:
    """Connect and call; with TLS 1.3 a client learns of its refusal only after it believes to be connected."""
    store = await turntree.connect(url, timeout_s=IMPATIENT_S)
    async with store:
        await store.get_items("s")


async def test_certificates_are_replaced_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    """New connections get the new certificate, one that cannot be used changes nothing, and the server runs on."""
    (tmp_path / "new").mkdir()
    new_authority = Authority(tmp_path / "new")
    new = new_authority.issue("server")
    pem = authority.issue("server")
    async with serving(settings(tmp_path, pem)) as server:
        url = f"turntrees://{server.address}?ca_file="
        assert await can_write(await turntree.connect(f"{url}{authority.cert}"))
        kept = await turntree.connect(f"{url}{authority.cert}")
        shutil.copy(new.cert, pem.cert)  # and not yet the key
        assert await can_write(await turntree.connect(f"{url}{authority.cert}"))
        shutil.copy(new.key, pem.key)
        assert await can_write(await turntree.connect(f"{url}{new_authority.cert}"))
        assert await can_write(kept)


async def test_certificates_that_may_be_read_later(authority: Authority, tmp_path: Path) -> None:
    """A new key that the server may not read is used as soon as it may be read, with nothing else changed about it."""
    (tmp_path / "new").mkdir()
    new_authority = Authority(tmp_path / "new")
    new = new_authority.issue("server")
    pem = authority.issue("server")
    db = tmp_path / "conversations.db"
    options = ["--tls-cert", str(pem.cert), "--tls-key", str(pem.key)]
    server = ServerProcess.start(db, command=command_without_power(), options=options)
    try:
        url = f"turntrees://{server.address}?ca_file="
        assert await can_write(await turntree.connect(f"{url}{authority.cert}"))
        new.key.chmod(0)
        new.key.replace(pem.key)
        new.cert.replace(pem.cert)
        for _ in range(2):
            assert await can_write(await turntree.connect(f"{url}{authority.cert}"))
        assert log_of(db).read_text().count("Permission denied") == 1
        pem.key.chmod(0o600)
        assert await can_write(await turntree.connect(f"{url}{new_authority.cert}", timeout_s=IMPATIENT_S * 8))
        server.stop()
    finally:
        server.kill()


@pytest.mark.parametrize("missing", ["cert", "key", "client_ca"])
async def test_a_file_that_is_not_there(missing: str, authority: Authority, tmp_path: Path) -> None:
    """The server does not start, and names the option and the file."""
    pem = authority.issue("server")
    files = {"cert": pem.cert, "key": pem.key, "client_ca": authority.cert}
    files[missing] = tmp_path / "missing.pem"
    with pytest.raises(InvalidArgument, match=r"--tls.*missing\.pem: No such file"):
        await Server.start(Settings(db=str(tmp_path / "conversations.db"), port=0, tls=TlsSettings(**files)))


@pytest.mark.parametrize("is_free", [True, False])
async def test_a_certificate_that_grpc_cannot_use(is_free: bool, authority: Authority, tmp_path: Path) -> None:
    """What Python's TLS takes and gRPC's does not is named as such, and a taken address as one that is taken."""
    pem = authority.issue("server")
    pem.cert.write_bytes(codecs.BOM_UTF8 + pem.cert.read_bytes())
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as taken:
        port = 0 if is_free else taken.sockets[0].getsockname()[1]
        with pytest.raises(InvalidArgument if is_free else AddressInUse) as raised:
            await Server.start(replace(settings(tmp_path, pem), port=port))
    assert ("--tls-cert" in str(raised.value)) == is_free


@pytest.mark.parametrize("kept", [True, False])
async def test_a_list_of_revoked_certificates(kept: bool, authority: Authority, tmp_path: Path) -> None:
    """The server does not start with one, beside authorities or alone, since gRPC would let in who is on it."""
    clients = tmp_path / "clients.pem"
    clients.write_bytes(kept * authority.cert.read_bytes() + authority.revocations())
    with pytest.raises(InvalidArgument, match=r"--tls-client-ca.*lists of revoked") as raised:
        await Server.start(settings(tmp_path, authority.issue("server"), client_ca=clients))
    assert raised.value.facts["value"].startswith(str(clients)[:60])


async def test_a_key_of_another_certificate(authority: Authority, tmp_path: Path) -> None:
    """The server does not start with a key that does not belong to its certificate."""
    mixed = Pem(authority.issue("one").cert, authority.issue("two").key)
    with pytest.raises(InvalidArgument, match=r"--tls-cert, --tls-key.*key values mismatch"):
        await Server.start(settings(tmp_path, mixed))


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ("?ca_file=/missing.pem", r"a PEM file of certificates to trust \(No such file"),
        ("?ca_file=", "with one file as 'ca_file'"),
        ("?cert_file=/missing.pem", "with both cert_file and key_file"),
        ("?verify=no", "without the option 'verify'"),
    ],
)
async def test_a_url_with_wrong_options(query: str, limit: str) -> None:
    """A URL whose options make no sense is refused before anything is sent."""
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(InvalidArgument, match=limit) as raised:
            await turntree.connect(f"turntrees://127.0.0.1:1{query}", timeout_s=IMPATIENT_S)
    assert raised.value.facts["field"] == "url"


@pytest.mark.parametrize("content", [b"", b"not PEM", b"\x30\x82\x01\x0a\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
@pytest.mark.parametrize("wrong", ["ca_file", "cert_file", "key_file"])
async def test_a_file_that_is_not_pem(wrong: str, content: bytes, authority: Authority, tmp_path: Path) -> None:
    """A client names its file that is not in PEM as soon as it opens the store, and sends nothing."""
    pem = authority.issue("client")
    files = {"ca_file": authority.cert, "cert_file": pem.cert, "key_file": pem.key}
    files[wrong] = tmp_path / "wrong.pem"
    files[wrong].write_bytes(content)
    query = "&".join(f"{option}={path}" for option, path in files.items())
    with pytest.raises(InvalidArgument, match=r"wrong\.pem', which must be a PEM file of ") as raised:
        await open_store(f"turntrees://127.0.0.1:1?{query}")
    assert (raised.value.facts["field"], raised.value.facts["value"]) == ("url", str(files[wrong]))


async def test_a_key_of_another_clients_certificate(authority: Authority, tmp_path: Path) -> None:
    """A client does not begin with a key that does not belong to its certificate."""
    query = f"cert_file={authority.issue('one').cert}&key_file={authority.issue('two').key}"
    with pytest.raises(InvalidArgument, match=r"a PEM file of the key of the certificate .*mismatch"):
        await open_store(f"turntrees://127.0.0.1:1?{query}")


async def test_files_that_are_damaged_later(authority: Authority, tmp_path: Path) -> None:
    """Files that are no PEM any more when a server cannot be reached hide nothing: it is still what is said."""
    store = await open_store(f"turntrees://127.0.0.1:1?ca_file={authority.cert}")
    authority.cert.write_bytes(b"not PEM")
    async with store:
        assert isinstance(store, RemoteStore)
        with pytest.raises(Unavailable) as raised:
            await store.ready(IMPATIENT_S)
    assert raised.value.reason is ErrorReason.SERVER_UNREACHABLE
