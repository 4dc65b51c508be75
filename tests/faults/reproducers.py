"""Inputs that once broke what took them, each with what it did; `test_fuzz.py` plays them again."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from tests.support.credentials import AUDIENCE, ISSUER

_CLAIMS = f'"sub":"a","aud":"{AUDIENCE}","iss":"{ISSUER}","turntree_role":"writer","turntree_namespace":"default"'
_NO_GOOD_TOKEN = bytes([127, 0])


def reproducers(target: str) -> Iterator[tuple[str, bytes]]:
    """The inputs of a target that once broke it."""
    match target:
        case "page_tokens":
            for depth in (900, 1_000, 1_100, 3_000):  # INTERNAL, and a traceback in the log
                yield "ListSessions", _NO_GOOD_TOKEN + b"\x92\xc4\0" + b"\x91" * depth + b"\0"
        case "settings":
            yield "serve", b"--listen=127.0.0.1:" + b"9" * 5_000  # a traceback: Python reads no number of 4,300 digits
            for option in ("--connection-age", "--listen", "--keys-file"):
                yield "serve", f"{option}=--".encode()  # a traceback: argparse makes an empty list of it
        case "credentials":
            header = b'{"alg":"EdDSA","kid":"k"}\n'
            yield "signed", header + b'{"exp":1' + b"0" * 400 + b"," + _CLAIMS.encode() + b"}"  # INTERNAL
            yield "shown", b"Bearer " + base64.urlsafe_b64encode(b"[" * 5_000) + b".e30.eHg"
        case "files":
            yield "keys", b'{"keys":[{"name":"\xa2"}]}'  # a traceback, and other keys were not looked at
            yield "jwks", b'{"keys":' + b"[" * 100_000  # a traceback
            yield "jwks", b'{"keys":[{"kty":"oct"}]}'  # the same, and INTERNAL for who comes with a token
