"""Who may call: keys that come and go while the server runs, tokens that expire, and doors that are not open to all."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import turntree
from turntree.errors import ErrorReason, InvalidArgument, PermissionDenied, Unauthenticated
from turntree.openai_agents import TurntreeSession
from turntree.remote import RemoteStore
from turntree_server.access.caller import Role
from turntree_server.access.jwt_settings import JwtSettings
from turntree_server.access.keys import read_keys, revoke_key
from turntree_server.app import Server
from turntree_server.exit_codes import ExitCode
from turntree_server.settings import Settings, TlsSettings

from tests.service.test_process import assert_refused, run
from tests.support.credentials import AUDIENCE, ISSUER, Authority, Signer, new_key
from tests.support.items import user
from tests.support.reading import ended
from tests.support.server_process import ServerProcess, command_without_power, log_of

WITHIN_S = 30


@asynccontextmanager
async def serving(folder: Path, *, jwks: Path | str | None = None, many: bool = False) -> AsyncIterator[Server]:
    """A server that asks for a key of `keys.json`, or for a token that a key of a set signed."""
    keys = folder / "keys.json"
    settings = Settings(
        db=str(folder / "conversations.db"),
        data_dir=folder / "data" if many else None,
        port=0,
        grace_s=1,
        keys_file=keys if keys.exists() else None,
        jwt=JwtSettings(str(jwks), AUDIENCE, ISSUER) if jwks is not None else None,
    )
    server = await Server.start(settings)
    try:
        yield server
    finally:
        await server.stop()


async def _read_for_ever(store: RemoteStore) -> None:
    while True:
        await store.get_items("s")


# Keys


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    """`turntree keys` prints a new key once, keeps only its hash in a file of the owner's, and takes it out again."""
    file = tmp_path / "keys.json"
    made = run("keys", "create", "--keys-file", file, "--name", "agent", "--role", "writer", "--expires-in", "90d")
    assert (made.returncode, made.stderr) == (0, "")
    token = made.stdout.strip()
    assert len(token) == len("tt_") + 43  # 256 bits
    assert token not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    inode = file.stat().st_ino
    other = run("keys", "create", "--keys-file", file, "--name", "audit", "--role", "reader", "--namespace", "acme")
    assert other.stdout != made.stdout
    assert file.stat().st_ino != inode, "it is replaced, not written to"
    listed = run("keys", "list", "--keys-file", file).stdout.splitlines()
    assert [line.split()[:3] for line in listed] == [["agent", "writer", "default"], ["audit", "reader", "acme"]]
    assert "never expires" in listed[1]
    assert token not in "".join(listed)
    assert run("keys", "revoke", "--keys-file", file, "agent").returncode == 0
    assert [key.name for key in read_keys(file)] == ["audit"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys.json"]


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["create", "--name", "agent", "--role", "reader"], ["--name", "'agent'", "no other key"], ExitCode.FAILED),
        (["create", "--name", "a b", "--role", "reader"], ["--name", "'a b'", "1 to 63 of A-Z"], ExitCode.USAGE),
        (
            ["create", "--name", "b", "--role", "reader", "--namespace", "../x"],
            ["--namespace", "'../x'", "a-z, 0-9"],
            ExitCode.USAGE,
        ),
        (
            ["create", "--name", "b", "--role", "reader", "--namespace", "A"],
            ["--namespace", "'A'", "a-z, 0-9"],
            ExitCode.USAGE,
        ),
        (
            ["create", "--name", "b", "--role", "reader", "--expires-in", "soon"],
            ["--expires-in", "'soon'", "90d"],
            ExitCode.USAGE,
        ),
        (["create", "--name", "", "--role", "reader"], ["--name", "''", "1 to 63 of A-Z"], ExitCode.USAGE),
        (["create", "--name", "b", "--role", "god"], ["--role", "'god'", "reader, writer or admin"], ExitCode.USAGE),
        (["revoke", "nobody"], ["'nobody'", "the name of a key of the file"], ExitCode.FAILED),
    ],
)
def test_keys_that_cannot_be(arguments: list[str], words: list[str], code: ExitCode, tmp_path: Path) -> None:
    """A wrong value is refused with its option, itself and what it may be, and the file stays as it was.

    What is wrong in itself has another exit code than what is wrong for what the file holds.
    """
    file = tmp_path / "keys.json"
    new_key(file, "agent")
    before = file.read_bytes()
    assert_refused(run("keys", *arguments, "--keys-file", file), *words, code=code)
    assert file.read_bytes() == before


@pytest.mark.parametrize("action", [["create", "--name", "b", "--role", "reader"], ["list"], ["revoke", "agent"]])
def test_a_keys_file_without_a_name(action: list[str]) -> None:
    """An empty path, as of a variable that is not set, is refused as what it is and not taken for the folder."""
    assert_refused(run("keys", *action, "--keys-file="), "--keys-file", "''", "a path", code=ExitCode.USAGE)


def test_keys_made_at_once_are_all_there(tmp_path: Path) -> None:
    """Of changes to one file at the same time none is lost."""
    file = tmp_path / "keys.json"

    async def make() -> None:
        await asyncio.gather(*(asyncio.to_thread(new_key, file, f"k{number}") for number in range(16)))

    asyncio.run(make())
    assert {key.name for key in read_keys(file)} == {f"k{number}" for number in range(16)}


@pytest.mark.parametrize("content", [None, b"", b"{}{", b'{"keys": [{"name": "x"}]}', b'["keys"]'])
def test_a_keys_file_that_is_none(content: bytes | None, tmp_path: Path) -> None:
    """A server does not start without its keys, and says how they are made."""
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_bytes(content)
    refused = run("serve", "--db", tmp_path / "c.db", "--listen", "127.0.0.1:0", "--keys-file", file)
    assert_refused(refused, "--keys-file", "turntree keys create")


@pytest.mark.parametrize(
    "options",
    [
        ["--keys-file", "{pipe}"],
        ["--jwks", "{pipe}", "--jwt-audience", "a", "--jwt-issuer", "i"],
        ["--tls-cert", "{pipe}", "--tls-key", "{pem}"],
        ["--tls-cert", "{pem}", "--tls-key", "{pipe}"],
        ["--tls-cert", "{pem}", "--tls-key", "{pem}", "--tls-client-ca", "{pipe}"],
    ],
)
def test_a_pipe_in_place_of_a_file(options: list[str], tmp_path: Path) -> None:
    """A server does not wait for what comes out of a pipe, and names the option: it reads its files again later."""
    os.mkfifo(tmp_path / "pipe")
    issued = Authority(tmp_path).issue("server")
    (tmp_path / "pem").write_bytes(issued.key.read_bytes() + issued.cert.read_bytes())
    given = [option.format(pipe=tmp_path / "pipe", pem=tmp_path / "pem") for option in options]
    refused = run("serve", "--db", tmp_path / "c.db", "--listen", "127.0.0.1:0", *given)
    assert_refused(refused, options[options.index("{pipe}") - 1], "not a regular file")


@pytest.mark.parametrize("field", ["create_time", "expire_time"])
def test_a_time_without_its_zone(field: str, tmp_path: Path) -> None:
    """A file of keys that somebody wrote by hand, with a time that may be any of a day, is refused."""
    file = tmp_path / "keys.json"
    new_key(file, "agent", expires_in=timedelta(days=1))
    content = json.loads(file.read_bytes())
    content["keys"][0][field] = "2031-05-17T12:00:00"
    file.write_text(json.dumps(content))
    assert_refused(run("keys", "list", "--keys-file", file), "--keys-file", "turntree keys create")


async def test_keys_are_rotated_while_the_server_runs(tmp_path: Path) -> None:
    """A new key is accepted and a revoked one refused without a restart, also on streams that are open already."""
    keys = tmp_path / "keys.json"
    old = new_key(keys, "old")
    async with serving(tmp_path) as server, RemoteStore(server.address, token=old) as holder:
        await holder.add_items("s", [user("1")])
        new = new_key(keys, "new")
        server._gate.refresh()
        async with RemoteStore(server.address, token=new) as other:
            await other.add_items("s", [user("2")])
            assert len((await holder.read_items("s")).items) == 2
            async with ended(holder.watch("s")) as watch:
                await anext(watch)
                revoke_key(keys, "old")
                server._gate.refresh()
                server._gate.refresh()  # before the watch had time to end
                with pytest.raises(Unauthenticated) as raised:
                    await asyncio.wait_for(anext(watch), WITHIN_S)
                assert raised.value.reason is ErrorReason.CREDENTIAL_INVALID
            with pytest.raises(Unauthenticated):
                await holder.add_items("s", [user("3")])
            assert len((await other.read_items("s")).items) == 2


async def test_a_change_of_the_file_is_noticed(tmp_path: Path) -> None:
    """The server looks at its keys every second by itself."""
    keys = tmp_path / "keys.json"
    token = new_key(keys, "agent")
    async with serving(tmp_path) as server, RemoteStore(server.address, token=token) as store:
        await store.add_items("s", [user("1")])
        revoke_key(keys, "agent")
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(Unauthenticated):
                await _read_for_ever(store)


async def test_keys_that_cannot_be_read_again_change_nothing(tmp_path: Path) -> None:
    """A keys file that is damaged later leaves the keys as they were, and one that is whole again is read."""
    keys = tmp_path / "keys.json"
    token = new_key(keys, "agent")
    whole = keys.read_bytes()
    async with serving(tmp_path) as server, RemoteStore(server.address, token=token) as store:
        keys.write_bytes(whole[:-20])
        server._gate.refresh()
        await store.add_items("s", [user("1")])
        keys.write_bytes(b'{"keys": []}')
        server._gate.refresh()
        with pytest.raises(Unauthenticated):
            await store.add_items("s", [user("2")])


async def test_a_pipe_in_place_of_keys_holds_up_nobody(tmp_path: Path) -> None:
    """A keys file that is replaced by a pipe is not waited for: the keys stay as they were, and calls are answered."""
    keys = tmp_path / "keys.json"
    token = new_key(keys, "agent")
    db = tmp_path / "conversations.db"
    server = ServerProcess.start(db, options=["--keys-file", str(keys)])
    try:
        async with asyncio.timeout(WITHIN_S), RemoteStore(server.address, token=token) as store:
            keys.unlink()
            os.mkfifo(keys)
            while "not a regular file" not in log_of(db).read_text():
                await store.list_sessions()
        server.stop()
    finally:
        server.kill()


async def test_keys_that_may_be_read_later(tmp_path: Path) -> None:
    """A new file of keys that the server may not read is read as soon as it may, with nothing else changed about it."""
    keys, new = tmp_path / "keys.json", tmp_path / "new.json"
    token = new_key(keys, "agent")
    db = tmp_path / "conversations.db"
    server = ServerProcess.start(db, command=command_without_power(), options=["--keys-file", str(keys)])
    try:
        async with asyncio.timeout(WITHIN_S), RemoteStore(server.address, token=token) as store:
            await store.add_items("s", [user("1")])
            new.write_bytes(b'{"keys": []}')
            new.chmod(0)
            new.replace(keys)
            while "Permission denied" not in log_of(db).read_text():
                await store.get_items("s")
            await asyncio.sleep(2)  # and it is looked at again
            await store.get_items("s")
            keys.chmod(0o600)
            with pytest.raises(Unauthenticated):
                await _read_for_ever(store)
        assert log_of(db).read_text().count("Permission denied") == 1
        server.stop()
    finally:
        server.kill()


async def test_a_changed_file_is_its_owners(tmp_path: Path) -> None:
    """Whoever changes a file of keys, as root does for a service, leaves it to its owner, who can read it as before."""
    keys = tmp_path / "keys.json"
    new_key(keys, "agent")
    owner = 65_534 if os.geteuid() == 0 else os.geteuid()  # only root can give a file away
    os.chown(keys, owner, -1)
    keys.chmod(0o640)
    new_key(keys, "other")
    revoke_key(keys, "agent")
    assert (keys.stat().st_uid, stat.S_IMODE(keys.stat().st_mode)) == (owner, 0o640)
    keys.chmod(0o666)
    new_key(keys, "another")
    assert stat.S_IMODE(keys.stat().st_mode) == 0o640


async def test_a_link_to_a_file_of_keys(tmp_path: Path) -> None:
    """Where the file is a link, what it leads to is changed, and a server that reads it sees the change."""
    keys = tmp_path / "secrets" / "keys.json"
    keys.parent.mkdir()
    token = new_key(keys, "agent")
    (tmp_path / "keys.json").symlink_to(keys)
    async with serving(tmp_path) as server, RemoteStore(server.address, token=token) as store:
        await store.add_items("s", [user("1")])
        revoke_key(tmp_path / "keys.json", "agent")
        assert read_keys(keys) == ()
        assert (tmp_path / "keys.json").is_symlink()
        server._gate.refresh()
        with pytest.raises(Unauthenticated):
            await store.add_items("s", [user("2")])


async def test_a_role_that_changes_is_another_role(tmp_path: Path) -> None:
    """A stream that is open goes on with the role that its key has now."""
    keys = tmp_path / "keys.json"
    token = new_key(keys, "agent")
    async with serving(tmp_path) as server, RemoteStore(server.address, token=token) as store:
        await store.add_items("s", [user("1")])
        content = json.loads(keys.read_text())
        content["keys"][0]["role"] = "reader"
        keys.write_text(json.dumps(content))
        server._gate.refresh()
        with pytest.raises(PermissionDenied) as raised:
            await store.add_items("s", [user("2")])
        assert raised.value.facts == {"role": "reader", "limit": "writer"}
        assert len((await store.read_items("s")).items) == 1


async def test_an_expired_key_ends_what_it_began(tmp_path: Path) -> None:
    """A key that expires is refused on the stream on which it was accepted."""
    token = new_key(tmp_path / "keys.json", "brief", expires_in=timedelta(seconds=2))
    async with serving(tmp_path) as server, RemoteStore(server.address, token=token) as store:
        await store.add_items("s", [user("1")])
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(Unauthenticated):
                await _read_for_ever(store)


# Signed tokens


async def test_a_token_function_is_asked_again_when_a_token_expires(tmp_path: Path) -> None:
    """With a function for a token, calls and watches go on past the end of each single token."""
    signer = Signer(tmp_path / "jwks.json")
    given = []

    async def fresh() -> str:
        given.append(signer.token(exp=int(time.time()) + 2))
        return given[-1]

    async with serving(tmp_path, jwks=signer.jwks) as server, RemoteStore(server.address, token=fresh) as store:
        await store.add_items("s", [user("0")])
        async with asyncio.timeout(WITHIN_S), ended(store.watch("s")) as watch:
            seen = len((await anext(watch)).items)
            until, count = time.monotonic() + 5, 1
            while time.monotonic() < until:
                await store.add_items("s", [user(str(count))])
                count += 1
                await asyncio.sleep(0.1)
            while seen < count:
                seen += len((await anext(watch)).items)
    assert seen == count
    assert len(set(given)) >= 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--jwks", "http://idp.test/keys"], ["--jwks", "https://"]),
        (["--jwks", "keys.json"], ["--jwt-audience", "given with --jwks"]),
        (["--jwks", "keys.json", "--jwt-audience", "a"], ["--jwt-issuer", "given with --jwks"]),
        (
            ["--jwks", "k", "--jwt-audience", "a", "--jwt-issuer", "i", "--jwt-algorithms", "none"],
            ["--jwt-algorithms", "'none'", "RS256"],
        ),
        (["--jwks", "/missing.json", "--jwt-audience", "a", "--jwt-issuer", "i"], ["--jwks", "can be read"]),
        (["--jwks", "https://a b/keys", "--jwt-audience", "a", "--jwt-issuer", "i"], ["--jwks", "can be read"]),
        (["--jwt-issuer", "i"], ["--jwks", "when there is --jwt-issuer"]),
        (["--jwt-audience", "a", "--jwt-algorithms", "RS256"], ["--jwks", "--jwt-audience, --jwt-algorithms"]),
        (["--jwt-audience", ""], ["--jwks", "when there is --jwt-audience"]),
        (["--jwt-role-claim", "role"], ["--jwks", "when there is --jwt-role-claim"]),
        (["--tls-cert", "cert.pem"], ["--tls-key", "both --tls-cert and --tls-key"]),
        (["--data-dir", "d", "--db", "x.db"], ["--db", "absent when --data-dir is given"]),
        (["--calls-max", "0"], ["--calls-max", "'0'", "from 1 on"]),
        (["--rate-max", "-1"], ["--rate-max", "'-1.0'", "from 0.001 on"]),
        (["--handshake", "0"], ["--handshake", "'0.0'", "from 0.001 on"]),
    ],
)
def test_options_that_make_no_sense(options: list[str], words: list[str], tmp_path: Path) -> None:
    """The server does not start, and names the option, its value and what it may be."""
    db = [] if "--db" in options else ["--db", str(tmp_path / "c.db")]
    db = [] if "--data-dir" in options else db
    code = ExitCode.FAILED if "can be read" in words else ExitCode.USAGE
    assert_refused(run("serve", *db, "--listen", "127.0.0.1:0", *options), *words, code=code)


# Addresses


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "example.test"])
def test_no_open_door_by_accident(host: str, tmp_path: Path) -> None:
    """Without TLS and credentials a server listens on loopback only, and says what to do."""
    refused = run("serve", "--db", tmp_path / "c.db", "--listen", f"{host}:0")
    assert_refused(refused, "--listen", host, "--tls-cert", "--keys-file", "--insecure", code=ExitCode.USAGE)
    assert not (tmp_path / "c.db").exists()


def test_what_opens_the_door(tmp_path: Path) -> None:
    """TLS with keys or client certificates, or --insecure, lets a server listen anywhere; half of it does not."""
    tls, keys = TlsSettings(Path("c"), Path("k")), Path("keys.json")
    enough: list[dict[str, Any]] = [
        {"tls": tls, "keys_file": keys},
        {"tls": TlsSettings(Path("c"), Path("k"), Path("ca"))},
        {"insecure": True},
    ]
    for settings in enough:
        assert Settings(host="0.0.0.0", **settings).host == "0.0.0.0"
    too_little: list[dict[str, Any]] = [{"tls": tls}, {"keys_file": keys}, {}]
    for settings in too_little:
        with pytest.raises(InvalidArgument, match="--listen"):
            Settings(host="0.0.0.0", **settings)
    for host in ("127.0.0.1", "localhost", "[::1]", "127.1.2.3"):
        assert Settings(host=host).host == host


# The client


@pytest.mark.parametrize("url", ["example.test:50051", "turntree://192.0.2.1:50051"])
async def test_a_token_never_goes_out_in_plaintext(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token for a server beyond this machine is refused without TLS, wherever it comes from, and is not shown."""
    with pytest.raises(InvalidArgument) as raised:
        await turntree.connect(url, token="secret-token", timeout_s=0.1)
    assert raised.value.facts["field"] == "token"
    assert "turntrees://" in raised.value.facts["limit"]
    assert "secret-token" not in str(raised.value) + str(raised.value.facts)
    monkeypatch.setenv("TURNTREE_TOKEN", "secret-token")
    with pytest.raises(InvalidArgument, match="turntrees://"):
        await turntree.connect(url, timeout_s=0.1)


@pytest.mark.parametrize(
    ("url", "limit"),
    [
        ("turntree://localhost:50171/x", "without a path"),
        ("turntree://localhost:50171?#", "without a fragment"),
        ("turntree://local\thost:50171", "without blanks"),
        ("turntree://[::1:50171", "host:port"),
        ("turntree://localhost:50171?ca_file=", "without the option 'ca_file'"),
        ("turntrees://user:12?secret-pw@localhost:50171", "without a user and a password"),
        (" turntree://user:secret-pw@localhost:50171", "host:port"),
    ],
)
async def test_an_address_that_is_none(url: str, limit: str) -> None:
    """A URL with more than an address and options is refused at once, and its password is not shown."""
    with pytest.raises(InvalidArgument, match=re.escape(limit)) as raised:
        await turntree.connect(url, timeout_s=0.1)
    shown = re.sub(".*secret-pw", "(hidden)", url)
    assert raised.value.facts["field"] == "url"
    assert raised.value.facts["value"].endswith(shown)
    assert "secret-pw" not in str(raised.value) + str(raised.value.facts)


async def test_an_address_with_a_slash(tmp_path: Path) -> None:
    """A path that is none is as no path."""
    async with serving(tmp_path) as server, await turntree.connect(f"turntree://{server.address}/") as store:
        await store.add_items("s", [user("hi")])


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "ü"])
async def test_a_token_that_is_none(token: str) -> None:
    """What cannot be a token is refused before it is sent, also when a function gives it."""
    with pytest.raises(InvalidArgument) as raised:
        RemoteStore("127.0.0.1:1", token=token)
    assert raised.value.facts["field"] == "token"
    async with RemoteStore("127.0.0.1:1", token=lambda: token) as store:
        with pytest.raises(InvalidArgument):
            await store.get_items("s")


async def test_sessions_show_their_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session takes a token, or that of the environment; sessions of one URL with two tokens are two tenants."""
    keys = tmp_path / "keys.json"
    tokens = {name: new_key(keys, name, Role.WRITER, name) for name in ("one", "two")}
    async with serving(tmp_path, many=True) as server:
        sessions = [TurntreeSession("s", url=server.address, token=tokens[name]) for name in ("one", "two")]
        await sessions[0].add_items([{"role": "user", "content": "of one"}])
        assert await sessions[1].get_items() == []
        assert len(await sessions[0].get_items()) == 1
        monkeypatch.setenv("TURNTREE_TOKEN", tokens["one"])
        by_environment = TurntreeSession("s", url=server.address)
        assert len(await by_environment.get_items()) == 1
        for session in (*sessions, by_environment):
            await session.close()


async def test_an_embedded_store_takes_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token given to an embedded store is a mistake and said so; that of the environment is for servers only."""
    with pytest.raises(InvalidArgument, match="embedded"):
        await turntree.connect("sqlite://", token="tt_x")
    monkeypatch.setenv("TURNTREE_TOKEN", "tt_x")
    async with await turntree.connect("sqlite://") as store:
        await store.add_items("s", [user("hi")])


async def test_the_command_serves_what_its_options_say(tmp_path: Path) -> None:
    """`turntree serve` with TLS, keys and a folder of namespaces, as an operator starts it."""
    keys, authority = tmp_path / "keys.json", Authority(tmp_path)
    token, pem = new_key(keys, "agent", Role.WRITER, "acme"), authority.issue("server")
    options = ["--data-dir", tmp_path / "data", "--tls-cert", pem.cert, "--tls-key", pem.key, "--keys-file", keys]
    process = ServerProcess.start(tmp_path / "unused.db", options=[str(option) for option in options])
    try:
        url = f"turntrees://{process.address}?ca_file={authority.cert}"
        async with await turntree.connect(url, token=token) as store:
            await store.add_items("s", [user("hi")])
        process.stop()
    finally:
        process.kill()
    assert sorted(name for name in os.listdir(tmp_path / "data") if name.endswith(".db")) == ["acme.db"]
    assert not (tmp_path / "unused.db").exists()
