"""API keys: random secrets, of which only hashes are kept, in a file that is replaced whole.

A key has 256 random bits, so nobody can guess one from its hash, and a fast hash is enough.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from turntree.errors import InvalidArgument
from turntree.limits import invalid

from turntree_server.access.caller import Caller, Role, check_namespace
from turntree_server.access.files import read_file

KEY_PREFIX = "tt_"

_SECRET_BYTES = 32
_FILE_MODE = 0o600
_FILE_MODE_MAX = 0o640
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NAME_LIMIT = "1 to 63 of A-Z, a-z, 0-9, '.', '-' and '_', the first a letter or digit"

_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key as the file keeps it.

    Attributes:
        name: Names it among the keys of the file.
        hash: SHA-256 of the key, in hexadecimal.
        role: What it lets its holder do.
        namespace: The tenant it belongs to.
        create_time: When it was made.
        expire_time: When it ends; None for never.
    """

    name: str
    hash: str
    role: Role
    namespace: str
    create_time: _Time
    expire_time: _Time | None = None

    def __post_init__(self) -> None:
        check_key_name("--name", self.name)
        check_namespace("--namespace", self.namespace)


def check_key_name(field: str, name: str) -> None:
    """Check the name of a key.

    Raises:
        InvalidArgument: FIELD_INVALID.
    """
    if not _NAME.fullmatch(name):
        invalid(field, name, _NAME_LIMIT)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[Key, ...] = ()


class KeyRing:
    """The keys of a file as a server knows them; `reload` reads it again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._by_hash = _by_hash(read_keys(path))
        self._failure = ""
        self.generation = 1

    def find(self, token: str) -> Caller | None:
        """Whose key this is; None when it is nobody's. Whether it has expired is not looked at."""
        digest = _hash(token)
        key = self._by_hash.get(digest)
        # What is compared here is a hash, whose bytes no caller can choose; the time it takes tells nothing of a key.
        if key is None or not hmac.compare_digest(key.hash, digest):
            return None
        expires_at = key.expire_time.timestamp() if key.expire_time is not None else float("inf")
        return Caller(f"key:{key.name}", key.role, key.namespace, expires_at, token, self.generation)

    def reload(self) -> bool:
        """Read the file again if it has changed, and say whether it had.

        A file that cannot be read is tried again each time, as it may become readable without a change of what it
        holds: whoever replaced it gives it to the server a moment later.

        Raises:
            InvalidArgument: FIELD_INVALID, when it cannot be read, once for each reason; the keys stay as they were.
        """
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return False
        try:
            self._by_hash = _by_hash(read_keys(self._path))
        except InvalidArgument as error:
            if str(error) == self._failure:
                return False
            self._failure = str(error)
            raise
        self._stamp = stamp
        self._failure = ""
        self.generation += 1
        return True


def read_keys(path: Path) -> Sequence[Key]:
    """The keys of a file, in the order in which they were made.

    Raises:
        InvalidArgument: FIELD_INVALID, when there is no such file, or when it holds something else.
    """
    try:
        return msgspec.json.decode(read_file(path), type=_File).keys
    except FileNotFoundError:
        invalid("--keys-file", path, "a file that `turntree keys create` made; there is none")
    except OSError as error:
        invalid("--keys-file", path, f"a file that can be read ({error.strerror})")
    except (msgspec.DecodeError, UnicodeDecodeError):
        invalid("--keys-file", path, "a file that `turntree keys create` made")


def create_key(
    path: Path, name: str, *, role: Role, namespace: str, create_time: datetime, expire_time: datetime | None = None
) -> str:
    """Add a key to a file, which is made if there is none, and return it: it cannot be read again.

    Raises:
        InvalidArgument: FIELD_INVALID, when the name is in use or a value cannot be.
    """
    token = KEY_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    new = Key(name, _hash(token), role, namespace, create_time, expire_time)

    def with_new(keys: Sequence[Key]) -> Sequence[Key]:
        if any(key.name == name for key in keys):
            invalid("--name", name, "a name that no other key of the file has")
        return (*keys, new)

    _change(path, with_new)
    return token


def revoke_key(path: Path, name: str) -> None:
    """Take a key out of a file.

    Raises:
        InvalidArgument: FIELD_INVALID, when there is none of that name.
    """

    def without(keys: Sequence[Key]) -> Sequence[Key]:
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            invalid("NAME", name, "the name of a key of the file")
        return left

    read_keys(path)
    _change(path, without)


def _change(path: Path, change: Callable[[Sequence[Key]], Sequence[Key]]) -> None:
    """Replace a file by a changed one, so that readers see the one or the other, and of two changes none is lost.

    It belongs to whom it did before, so that a server can still read what somebody else changed for it.
    """
    path = path.resolve()
    with _locked(path):
        owned = path.stat() if path.exists() else None
        keys = change(read_keys(path) if owned else ())
        written = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        try:
            with open(descriptor, "wb") as file:
                if owned:
                    os.fchown(descriptor, owned.st_uid, owned.st_gid)
                    os.fchmod(descriptor, owned.st_mode & _FILE_MODE_MAX)
                file.write(msgspec.json.format(msgspec.json.encode(_File(tuple(keys))), indent=2) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            written.replace(path)
        except BaseException:
            written.unlink(missing_ok=True)
            raise
        _sync_folder(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other changes of the file away; the lock is the folder's, since the file itself is replaced."""
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        invalid("--keys-file", path, f"in a folder that can be read ({error.strerror})")
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    except OSError as error:
        invalid("--keys-file", path, f"a file that can be written ({error.strerror})")
    finally:
        os.close(folder)


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _by_hash(keys: Sequence[Key]) -> dict[str, Key]:
    return {key.hash: key for key in keys}


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Changes when the file is replaced or written."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size
