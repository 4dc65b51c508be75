"""The command `turntree`."""

from __future__ import annotations

import argparse
import asyncio
import io
import logging
import os
import platform
import sys
from importlib.metadata import version
from typing import Any

# gRPC reads this when it is loaded. Its own complaint about an address would stand beside ours, which says it better.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from turntree_server import __version__
from turntree_server.app import Server, serve
from turntree_server.engine.sqlite_driver import SQLITE_VERSION, require_sound_sqlite
from turntree_server.exit_codes import REFUSALS, ExitCode, exit_code_of
from turntree_server.file_limit import allow_open_files
from turntree_server.keys_command import add_keys_command
from turntree_server.lines import LogFormatter, one_line
from turntree_server.maintenance import add_commands
from turntree_server.memory import keep_freed_memory, look_for_garbage_seldom
from turntree_server.options import Parser, add_serve_options, command_line, read_settings

_STDOUT = 1


def main() -> None:
    """Run the command line; the exit code is 0, or an `ExitCode` with one line on stderr that says why."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it: a file's name may be no text
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
        print(end="", flush=True)  # nothing, if there is no output
    except REFUSALS as error:
        print(f"turntree: {one_line(str(error))}", file=sys.stderr)
        sys.exit(exit_code_of(error))
    except OSError as error:
        # What could not be written to the output would be tried again, and told of, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
        print(f"turntree: {one_line(str(error))}", file=sys.stderr)
        sys.exit(ExitCode.FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="turntree", description="Session memory for AI agents, served over gRPC.")
    parser.add_argument("--version", action="version", version=f"turntree {__version__}")
    commands: Any = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serving = commands.add_parser("serve", help="serve a database until SIGTERM, SIGINT or SIGHUP")
    add_serve_options(serving)
    serving.set_defaults(run=_serve)

    add_keys_command(commands)
    add_commands(commands)

    doctor = commands.add_parser("doctor", help="say which versions are in use, and whether they are sound")
    doctor.set_defaults(run=_doctor)
    return parser


def _serve(arguments: argparse.Namespace) -> None:
    _log_to_stderr()
    with command_line():
        settings = read_settings(arguments)
    allow_open_files(settings.load)
    keep_freed_memory()
    look_for_garbage_seldom()
    asyncio.run(serve(settings, _announce))


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _announce(server: Server) -> None:
    served = one_line(server.namespaces.description)
    print(f"turntree {__version__} listening on {server.address} ({served})", flush=True)


def _doctor(arguments: argparse.Namespace) -> None:
    print(f"turntree {__version__}")
    print(f"Python {platform.python_version()}")
    for package in ("grpcio", "protobuf", "aiosqlite", "pysqlite3"):
        print(f"{package} {version(package)}")
    require_sound_sqlite()
    print(f"SQLite {'.'.join(map(str, SQLITE_VERSION))}: sound")
