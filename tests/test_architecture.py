"""The arrows: imports run one way, from the wire inwards, and each room sees only what it needs.

`ROOMS` is the picture. A room is a module or a package; the longest name that fits a module is its room. It may import
itself, the standard library and what its row lists, and nothing else.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {"turntree": ROOT / "clients" / "python", "turntree_server": ROOT / "server"}

WORDS = {"turntree.errors", "turntree.limits", "turntree.model"}

ROOMS: Mapping[str, set[str]] = {
    # The words, and the contract in them
    "turntree.model": set(),
    "turntree.errors": set(),
    "turntree.limits": {"turntree.errors", "turntree.model", "msgspec"},
    "turntree.store": {"turntree.model", "turntree.errors"},
    "turntree.request_ids": set(),
    "turntree.own_process": set(),
    "turntree.retries": {"turntree.errors", "asyncio"},
    # The wire
    "turntree.v1": {"grpc", "google.protobuf", "google.api", "google.rpc"},
    "turntree.wire": {"turntree.limits", "turntree.model", "turntree.v1", "google.protobuf"},
    "turntree.columns": {"turntree.errors", "turntree.model", "turntree.v1"},
    "turntree.seen_turns": {"turntree.model"},
    "turntree.rpc_errors": {"turntree.errors", "grpc", "google.rpc", "google.protobuf"},
    "turntree.token": {"turntree.errors"},
    "turntree.address": {"turntree.errors", "turntree.limits"},
    "turntree.probe": {"turntree.address", "asyncio"},
    "turntree.last_events": {"asyncio", "grpc"},
    "turntree.pipeline": {
        "turntree.errors",
        "turntree.last_events",
        "turntree.retries",
        "turntree.rpc_errors",
        "turntree.token",
        "turntree.v1",
        "asyncio",
        "grpc",
    },
    "turntree.connection": {"turntree.pipeline", "turntree.retries", "turntree.token", "turntree.v1", "grpc"},
    "turntree.responses": {
        "turntree.connection",
        "turntree.errors",
        "turntree.last_events",
        "turntree.rpc_errors",
        "asyncio",
        "grpc",
    },
    "turntree.remote": {
        *WORDS,
        "turntree.address",
        "turntree.columns",
        "turntree.connection",
        "turntree.last_events",
        "turntree.own_process",
        "turntree.probe",
        "turntree.request_ids",
        "turntree.responses",
        "turntree.retries",
        "turntree.seen_turns",
        "turntree.store",
        "turntree.token",
        "turntree.v1",
        "turntree.wire",
        "asyncio",
        "grpc",
    },
    "turntree.connect": {
        "turntree.address",
        "turntree.errors",
        "turntree.limits",
        "turntree.remote",
        "turntree.retries",
        "turntree.store",
        "turntree.token",
        "asyncio",
        "grpc",
    },
    "turntree": {"turntree.connect", "turntree.errors", "turntree.model", "turntree.store"},
    "turntree.openai_agents": {
        *WORDS,
        "turntree.connect",
        "turntree.request_ids",
        "turntree.store",
        "turntree.token",
        "agents",
        "asyncio",
        "msgspec",
        "threading",
    },
    # The server, from the inside out
    "turntree_server.failpoints": {"turntree.limits", "threading"},
    "turntree_server.outcomes": {"asyncio"},
    "turntree_server.operations": {*WORDS, "msgspec"},
    "turntree_server.engine": {
        "turntree.errors",
        "turntree.own_process",
        "turntree_server.failpoints",
        "turntree_server.operations",
        "turntree_server.outcomes",
        "aiosqlite",
        "asyncio",
        "pysqlite3",
        "sqlite3",
        "threading",
    },
    "turntree_server.local_store": {
        *WORDS,
        "turntree.store",
        "turntree_server.engine.engine",
        "turntree_server.operations",
        "asyncio",
    },
    "turntree_server.access": {
        "turntree.errors",
        "turntree.limits",
        "turntree_server.outcomes",
        "asyncio",
        "jwt",
        "msgspec",
        "threading",
    },
    "turntree_server.namespaces": {
        "turntree.errors",
        "turntree_server.access.caller",
        "turntree_server.local_store",
        "asyncio",
    },
    "turntree_server.service": {
        *WORDS,
        "turntree_server.access",
        "turntree.columns",
        "turntree.rpc_errors",
        "turntree.store",
        "turntree.v1",
        "turntree.wire",
        "turntree_server.failpoints",
        "asyncio",
        "grpc",
        "grpc_health",
    },
    "turntree_server.settings": {"turntree.limits", "turntree_server.access.jwt_settings"},
    "turntree_server.options": {
        "turntree.errors",
        "turntree.limits",
        "turntree_server.access.jwt_settings",
        "turntree_server.lines",
        "turntree_server.settings",
    },
    "turntree_server.keys_command": {"turntree.limits", "turntree_server.access", "turntree_server.options"},
    "turntree_server.app": {
        "turntree.errors",
        "turntree.limits",
        "turntree.v1",
        "turntree_server.access",
        "turntree_server.engine",
        "turntree_server.failpoints",
        "turntree_server.local_store",
        "turntree_server.namespaces",
        "turntree_server.operations.quota",
        "turntree_server.service",
        "turntree_server.settings",
        "asyncio",
        "grpc",
        "grpc_health",
        "grpc_reflection",
    },
    "turntree_server.lines": set(),
    "turntree_server.file_limit": {"turntree_server.settings"},
    "turntree_server.memory": set(),
    "turntree_server.cli": {
        "turntree.errors",
        "turntree_server",
        "turntree_server.app",
        "turntree_server.file_limit",
        "turntree_server.memory",
        "turntree_server.engine.sqlite_driver",
        "turntree_server.exit_codes",
        "turntree_server.keys_command",
        "turntree_server.lines",
        "turntree_server.maintenance",
        "turntree_server.options",
        "asyncio",
    },
    "turntree_server.maintenance": {
        "turntree_server.engine.backup",
        "turntree_server.engine.verify",
        "turntree_server.lines",
        "turntree_server.settings",
    },
    "turntree_server.exit_codes": {
        "turntree.errors",
        "turntree_server.app",
        "turntree_server.engine.backup",
        "turntree_server.engine.refusals",
        "turntree_server.options",
    },
    "turntree_server.__main__": {"turntree_server.cli"},
    "turntree_server": set(),
}

NOT_FREE = {"asyncio", "multiprocessing", "socket", "sqlite3", "threading"}
"""Parts of the standard library that only some rooms have: what waits, shares or stores."""


def modules() -> dict[str, Path]:
    """Every module of both distributions."""
    found = {}
    for package, folder in SOURCES.items():
        for path in (folder / package).rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def within(name: str, room: str) -> bool:
    """Whether a module is a room or in it. The two distributions' own names stand for their `__init__` alone."""
    return name == room or (room not in SOURCES and name.startswith(room + "."))


def room_of(module: str) -> str | None:
    """The room that a module is in."""
    return max((room for room in ROOMS if within(module, room)), key=len, default=None)


def imports(path: Path) -> Iterator[str]:
    """What a file imports, anywhere in it, each as the most exact module name there is."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


def is_free(name: str) -> bool:
    """Whether any room may import it."""
    root = name.partition(".")[0]
    return root in sys.stdlib_module_names and root not in NOT_FREE


def test_every_module_is_in_a_room() -> None:
    """A module that is new is put into the picture, and a room that is gone is taken out."""
    rooms = {module: room_of(module) for module in MODULES}
    assert None not in rooms.values(), rooms
    assert set(rooms.values()) == ROOMS.keys()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_the_picture_shows(room: str) -> None:
    """No arrow is there that the picture does not show."""
    seen = {
        f"{module} -> {name}"
        for module, path in MODULES.items()
        if room_of(module) == room
        for name in imports(path)
        if not is_free(name) and not any(within(name, allowed) for allowed in (room, *ROOMS[room]))
    }
    assert not seen


def test_the_picture_has_no_circles() -> None:
    """Rooms can be put in a line so that each imports only those before it."""
    above: dict[str, set[str]] = {
        room: {room_of(name) or "" for name in allowed if name.startswith("turntree")} - {room}
        for room, allowed in ROOMS.items()
    }
    while above:
        lowest = {room for room, needs in above.items() if not needs & above.keys()}
        assert lowest, above
        above = {room: needs for room, needs in above.items() if room not in lowest}


def test_only_the_app_knows_the_other_rooms() -> None:
    """Services do not know the database, the database does not know gRPC, and only `app` knows both."""
    knows_grpc = {room for room in ROOMS if {"grpc", "turntree.v1"} & ROOMS[room] and "_server" in room}
    knows_engines = {room for room in ROOMS if "turntree_server.engine" in ROOMS[room]}
    assert knows_grpc == {"turntree_server.service", "turntree_server.app"}
    assert knows_engines == {"turntree_server.app"}


@pytest.mark.parametrize(
    ("module", "strangers"),
    [
        ("turntree", {"agents", "turntree_server", "pysqlite3"}),
        ("turntree_server.app", {"agents", "cryptography", "jwt", "openai"}),
    ],
)
def test_importing_a_module_does_not_load_strangers(module: str, strangers: set[str]) -> None:
    """What a module must not know is not loaded with it either, by whatever way."""
    script = f"import sys, {module}; print(*{strangers!r} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == []
