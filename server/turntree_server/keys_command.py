"""`turntree keys`: makes, lists and revokes API keys."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from turntree.limits import invalid

from turntree_server.access.caller import NAMESPACE_DEFAULT, Role, check_namespace
from turntree_server.access.keys import check_key_name, create_key, read_keys, revoke_key
from turntree_server.options import command_line, read_path

_ROLES = f"{', '.join([*Role][:-1])} or {[*Role][-1]}"
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def add_keys_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a command line."""
    keys = commands.add_parser("keys", help="make, list and revoke API keys")
    actions = keys.add_subparsers(title="actions", required=True, metavar="ACTION")

    create = actions.add_parser("create", help="make a key and print it; it cannot be shown again")
    create.add_argument("--name", required=True, help="names the key among those of the file")
    create.add_argument("--role", metavar="ROLE", required=True, help=f"what its holder may do: {_ROLES}")
    create.add_argument("--namespace", default=NAMESPACE_DEFAULT, help="the tenant (default: %(default)s)")
    create.add_argument("--expires-in", metavar="TIME", help="until when, such as 90d, 12h or 30m (default: for ever)")
    create.set_defaults(run=_create)

    listing = actions.add_parser("list", help="list the keys, without the keys themselves")
    listing.set_defaults(run=_list)

    revoke = actions.add_parser("revoke", help="take a key out; servers that read the file refuse it at once")
    revoke.add_argument("name", metavar="NAME", help="the name of the key")
    revoke.set_defaults(run=_revoke)

    for parser in (create, listing, revoke):
        parser.add_argument("--keys-file", metavar="FILE", required=True, help="the file with the keys")


def _create(arguments: argparse.Namespace) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    keys_file = _keys_file(arguments)
    with command_line():
        check_key_name("--name", arguments.name)
        check_namespace("--namespace", arguments.namespace)
        if arguments.role not in [*Role]:
            invalid("--role", arguments.role, _ROLES)
        expire_time = now + _duration(arguments.expires_in) if arguments.expires_in is not None else None
    token = create_key(
        keys_file,
        arguments.name,
        role=Role(arguments.role),
        namespace=arguments.namespace,
        create_time=now,
        expire_time=expire_time,
    )
    try:
        print(token, flush=True)
    except OSError:
        revoke_key(keys_file, arguments.name)  # nobody has seen it
        raise


def _list(arguments: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    for key in read_keys(_keys_file(arguments)):
        end = "never expires" if key.expire_time is None else f"expires {key.expire_time.isoformat()}"
        if key.expire_time is not None and key.expire_time <= now:
            end = f"expired {key.expire_time.isoformat()}"
        print(f"{key.name}  {key.role}  {key.namespace}  created {key.create_time.isoformat()}  {end}")


def _revoke(arguments: argparse.Namespace) -> None:
    revoke_key(_keys_file(arguments), arguments.name)
    print(f"revoked {arguments.name}")


def _keys_file(arguments: argparse.Namespace) -> Path:
    with command_line():
        return read_path("--keys-file", arguments.keys_file)


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text)
    if found is None:
        invalid("--expires-in", text, "a whole number from 1 to 99999 with m, h or d, such as 90d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
