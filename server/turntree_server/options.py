"""The options of `turntree serve`: what it serves and where, who may call, and how much."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from turntree.errors import InvalidArgument
from turntree.limits import invalid

from turntree_server.access.jwt_settings import ALGORITHMS_DEFAULT, JwtSettings
from turntree_server.lines import one_line
from turntree_server.settings import (
    DATABASE_DEFAULT,
    GRACE_LIMIT,
    GRACE_S_DEFAULT,
    LISTEN_DEFAULT,
    REQUEST_WINDOW_H_DEFAULT,
    REQUEST_WINDOW_LIMIT,
    LoadLimits,
    Settings,
    TlsSettings,
    load_limit,
    option_of,
    read_listen,
)

_JWT_DEFAULTS: dict[str, str | None] = {
    "audience": None,
    "issuer": None,
    "algorithms": ",".join(ALGORITHMS_DEFAULT),
    "role_claim": "turntree_role",
    "namespace_claim": "turntree_namespace",
}
_LOAD_HELP = {
    "calls_max": "calls of one credential at once",
    "watches_max": "watches of one credential at once",
    "rate_max": "calls a second of one credential; 0 for no limit",
    "sessions_max": "sessions of one namespace; 0 for no limit",
    "bytes_max": "bytes of one namespace; 0 for no limit",
    "namespaces_max": "namespaces whose databases are open at once",
    "connections_max": "connections at once; one more is closed at once",
    "streams_max": "calls and streams of one connection at once; more wait at the client",
    "message_max": "bytes of a message that comes in",
    "handshake_s": "seconds that a connection may take to be set up",
    "connection_age_s": "seconds after which a connection is closed in good order; 0 for never",
}


class WrongCommandLine(Exception):
    """The command line is wrong. The message says what is, and what would be right."""


@contextmanager
def command_line() -> Iterator[None]:
    """What is refused within is a word of the command line, and not what it leads to.

    Raises:
        WrongCommandLine: For an `InvalidArgument`.
    """
    try:
        yield
    except InvalidArgument as error:
        raise WrongCommandLine(str(error)) from error


class Parser(argparse.ArgumentParser):
    """Refuses in one line, and takes `--option=--` for an option without a value: argparse itself for an empty list."""

    def __init__(self, **options: Any) -> None:
        # What is part of a name today may be part of two tomorrow, and no door is opened by half a word.
        super().__init__(**{**options, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        """End the command with its exit code for this, `USAGE`, and without all the options before the reason."""
        self.exit(2, f"turntree: {one_line(message)}; see {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, rest = super().parse_known_args(args, namespace)
        for name, value in vars(parsed).items():
            if value == []:
                self.error(f"argument {option_of(name)}: expected one argument")
        return parsed, rest


def add_serve_options(serving: argparse.ArgumentParser) -> None:
    """Add all options."""
    serving.add_argument(
        "--db",
        help=f"the SQLite file, made if it does not exist (environment: TURNTREE_DB; default: {DATABASE_DEFAULT})",
    )
    serving.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default=os.environ.get("TURNTREE_LISTEN", LISTEN_DEFAULT),
        help="where to listen; port 0 picks a free port (environment: TURNTREE_LISTEN; default: %(default)s)",
    )
    serving.add_argument(
        "--grace",
        metavar="SECONDS",
        default=GRACE_S_DEFAULT,
        help="how long a shutdown waits for what is in flight (default: %(default)s)",
    )
    serving.add_argument(
        "--request-window",
        metavar="HOURS",
        default=REQUEST_WINDOW_H_DEFAULT,
        help="how long the answer to a request is kept for its repeats (default: %(default)s)",
    )
    serving.add_argument(
        "--skip-check", action="store_true", help="do not look for damage in the whole file first, if it is very large"
    )
    _add_access_options(serving)
    _add_load_options(serving)


def _add_access_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("access")
    group.add_argument("--data-dir", metavar="DIR", help="serve a database for each namespace, in this folder")
    group.add_argument("--tls-cert", metavar="FILE", help="speak TLS with this certificate chain, in PEM")
    group.add_argument("--tls-key", metavar="FILE", help="the private key of --tls-cert, in PEM")
    group.add_argument("--tls-client-ca", metavar="FILE", help="let in only clients with a certificate signed by these")
    group.add_argument("--keys-file", metavar="FILE", help="accept the API keys of `turntree keys`")
    group.add_argument("--jwks", metavar="FILE|URL", help="accept JSON Web Tokens signed by one of these keys")
    group.add_argument("--jwt-audience", metavar="NAME", help="for whom tokens must be")
    group.add_argument("--jwt-issuer", metavar="NAME", help="by whom tokens must be")
    group.add_argument(
        "--jwt-algorithms",
        metavar="NAMES",
        default=_JWT_DEFAULTS["algorithms"],
        help="how tokens may be signed (default: %(default)s)",
    )
    for claim in ("role", "namespace"):
        name = _JWT_DEFAULTS[f"{claim}_claim"]
        group.add_argument(
            f"--jwt-{claim}-claim", metavar="CLAIM", default=name, help=f"the claim with the {claim} (default: {name})"
        )
    group.add_argument(
        "--insecure", action="store_true", help="listen beyond this machine also without TLS and credentials"
    )


def _add_load_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    for limit in fields(LoadLimits):
        group.add_argument(
            option_of(limit.name),
            dest=limit.name,
            metavar="NUMBER",
            default=limit.default,
            help=f"{_LOAD_HELP[limit.name]} (default: %(default)s)",
        )


def read_settings(arguments: argparse.Namespace) -> Settings:
    """The settings that a command line asks for.

    Raises:
        InvalidArgument: FIELD_INVALID, naming the option.
    """
    host, port = read_listen(arguments.listen)
    if arguments.data_dir is not None and arguments.db is not None:
        invalid("--db", arguments.db, "absent when --data-dir is given")
    db = arguments.db if arguments.db is not None else os.environ.get("TURNTREE_DB", DATABASE_DEFAULT)
    return Settings(
        db=db,
        data_dir=_path(arguments, "data_dir"),
        host=host,
        port=port,
        grace_s=_number("--grace", arguments.grace, float, GRACE_LIMIT),
        request_window_h=_number("--request-window", arguments.request_window, float, REQUEST_WINDOW_LIMIT),
        check=not arguments.skip_check,
        tls=_tls(arguments),
        keys_file=_path(arguments, "keys_file"),
        jwt=_jwt(arguments),
        insecure=arguments.insecure,
        load=LoadLimits(
            **{
                limit.name: _number(
                    option_of(limit.name), getattr(arguments, limit.name), type(limit.default), load_limit(limit.name)
                )
                for limit in fields(LoadLimits)
            }
        ),
    )


def read_path(option: str, given: str) -> Path:
    """The path that an option was given. An empty one would be the folder in which the command runs.

    Raises:
        InvalidArgument: FIELD_INVALID.
    """
    if not given.strip():
        invalid(option, given, "a path")
    return Path(given)


def _path(arguments: argparse.Namespace, name: str) -> Path | None:
    given = getattr(arguments, name)
    return read_path(option_of(name), given) if given is not None else None


def _number(option: str, given: Any, kind: Any, limit: str) -> Any:
    """The number that an option was given, or its default. It is not left to argparse, which does not say the limit."""
    try:
        return kind(given)
    except ValueError:
        invalid(option, given, limit)


def _tls(arguments: argparse.Namespace) -> TlsSettings | None:
    cert, key, client_ca = (_path(arguments, name) for name in ("tls_cert", "tls_key", "tls_client_ca"))
    if cert is None and key is None and client_ca is None:
        return None
    if cert is None or key is None:
        option = "--tls-cert" if cert is None else "--tls-key"
        invalid(option, "", "a file: TLS needs both --tls-cert and --tls-key")
    return TlsSettings(cert, key, client_ca)


def _jwt(arguments: argparse.Namespace) -> JwtSettings | None:
    settings = {name: getattr(arguments, f"jwt_{name}") for name in _JWT_DEFAULTS}
    if arguments.jwks is None:
        if given := [name for name, value in settings.items() if value != _JWT_DEFAULTS[name]]:
            options = ", ".join(option_of(f"jwt_{name}") for name in given)
            invalid("--jwks", "", f"a file or an https:// URL when there is {options}")
        return None
    return JwtSettings(
        arguments.jwks,
        arguments.jwt_audience or "",
        arguments.jwt_issuer or "",
        tuple(name.strip() for name in arguments.jwt_algorithms.split(",") if name.strip()),
        arguments.jwt_role_claim,
        arguments.jwt_namespace_claim,
    )
