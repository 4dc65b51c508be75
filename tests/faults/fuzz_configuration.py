"""What an operator writes, and what a stranger shows as a credential: read as it is, or refused with a clear word."""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from turntree.errors import InvalidArgument, Unauthenticated
from turntree_server.access.authenticator import Authenticator
from turntree_server.access.caller import Caller
from turntree_server.access.jwt_settings import JwtSettings
from turntree_server.access.keys import KeyRing
from turntree_server.access.signed_tokens import SignedTokens
from turntree_server.options import Parser, add_serve_options, read_settings
from turntree_server.settings import Settings

from tests.faults.oracle import INSIDES, Faults, faults
from tests.support.credentials import AUDIENCE, ISSUER, new_key


def serve_parser() -> argparse.ArgumentParser:
    """The options of `turntree serve`."""
    parser = Parser(prog="turntree serve", exit_on_error=False)
    add_serve_options(parser)
    return parser


def read(parser: argparse.ArgumentParser, line: list[str]) -> Settings | str:
    """The settings that a line asks for, or the name of the option that is refused."""
    try:
        arguments = parser.parse_args(line)
    except argparse.ArgumentError as error:
        return str(error.argument_name)
    try:
        return read_settings(arguments)
    except InvalidArgument as error:
        return error.facts["field"] if error.facts["limit"] else "nothing said of what is right"


class CommandLines:
    """Command lines of `turntree serve`; the words are divided by line ends."""

    def __init__(self) -> None:
        self._parser = serve_parser()
        self._options = {option for action in self._parser._actions for option in action.option_strings}

    async def check(self, name: str, data: bytes) -> None:
        """A line gives settings, or is refused with the name of an option, or of what is no option at all."""
        line = data.decode(errors="surrogateescape").split("\n")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            result = self._read(line)
        if isinstance(result, str):
            result = result.split("/")[0].split(",")[0] in self._options
        assert isinstance(result, Settings) or result, (name, line, result)

    def _read(self, line: list[str]) -> Settings | str | bool:
        try:
            return read(self._parser, line)
        except SystemExit as end:  # help was asked for, or there is a word that is no option
            return end.code in (0, 2)


@asynccontextmanager
async def command_lines(_: Path) -> AsyncIterator[CommandLines]:
    """Nothing is opened or made for them."""
    yield CommandLines()


class Files:
    """Files of keys, `keys`, and of signing keys, `jwks`."""

    def __init__(self, folder: Path, noted: Faults) -> None:
        self._path = folder / "file"
        self._faults = noted

    async def check(self, name: str, data: bytes) -> None:
        """A file is read, or refused with the name of its option and what it should be."""
        self._path.write_bytes(data)
        facts = await self._refusal(name)
        assert facts is None or facts["field"] == {"keys": "--keys-file", "jwks": "--jwks"}[name], (name, data, facts)
        limit = facts["limit"] if facts is not None else "none"
        assert limit, (name, data, facts)
        assert not any(word in limit for word in INSIDES), (name, data, facts)
        assert not self._faults.seen, (name, data, self._faults.seen)

    async def _refusal(self, name: str) -> Mapping[str, str] | None:
        try:
            if name == "keys":
                KeyRing(self._path).find("tt_x")
            else:
                await SignedTokens(JwtSettings(str(self._path), AUDIENCE, ISSUER)).refresh()
        except InvalidArgument as error:
            return error.facts
        return None


@asynccontextmanager
async def files(folder: Path) -> AsyncIterator[Files]:
    """A place for them."""
    with faults() as noted:
        yield Files(folder, noted)


class Credentials:
    """What comes as a credential: `shown` as it is, or `signed`, as a header and claims divided by a line end."""

    def __init__(self, authenticator: Authenticator, signing: Ed25519PrivateKey, noted: Faults) -> None:
        self._authenticator = authenticator
        self._signing = signing
        self._faults = noted

    async def check(self, name: str, data: bytes) -> None:
        """What is signed may have a caller; all else is refused, in the same words whatever is wrong."""
        is_signed = name == "signed"
        found = await self._found(f"Bearer {self._signed(data)}" if is_signed else _as_grpc_reads(data))
        is_fine = is_signed if isinstance(found, Caller) else found == "the credential is not valid"
        assert is_fine, (name, data, found)
        assert not self._faults.seen, (name, data, self._faults.seen)

    async def _found(self, value: str) -> Caller | str:
        try:
            return await self._authenticator.caller_of([("authorization", value)])
        except Unauthenticated as error:
            return error.message

    def _signed(self, data: bytes) -> str:
        parts = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in data.partition(b"\n")[::2])
        return b".".join((parts, base64.urlsafe_b64encode(self._signing.sign(parts)).rstrip(b"="))).decode()


def _as_grpc_reads(data: bytes) -> str:
    """The value of a header in text, as gRPC gives it to a server."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


@asynccontextmanager
async def credentials(folder: Path) -> AsyncIterator[Credentials]:
    """A server's keys, of both kinds."""
    signing = Ed25519PrivateKey.generate()
    public = signing.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(public).decode().rstrip("="), "kid": "k"}
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": [jwk]}))
    tokens = SignedTokens(JwtSettings(str(jwks), AUDIENCE, ISSUER))
    await tokens.refresh()
    keys = folder / "keys.json"
    new_key(keys, "somebody")
    with faults() as noted:
        yield Credentials(Authenticator(KeyRing(keys), tokens), signing, noted)
