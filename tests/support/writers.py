"""Writers in a process of their own: `python -m tests.support.writers URL COUNT NAME...`.

Each name writes `COUNT` batches, one after the other, over a connection of its own, all names at once. A name is
`SESSION/WRITER`.
"""

from __future__ import annotations

import asyncio
import sys

import turntree

from tests.support.items import assistant, user


def batch(tag: str) -> list[bytes]:
    """Three items that tell which call they belong to."""
    return [user(f"{tag} 1"), assistant(f"{tag} 2"), assistant(f"{tag} 3")]


def batches(name: str, count: int) -> list[list[bytes]]:
    """What a writer writes, in its order."""
    return [batch(f"{name} {number}") for number in range(count)]


async def write(url: str, name: str, count: int) -> None:
    """Be one writer."""
    session_id, _, _ = name.partition("/")
    async with await turntree.connect(url) as store:
        for items in batches(name, count):
            await store.add_items(session_id, items)


async def main(url: str, count: str, *names: str) -> None:
    """Be all of them."""
    await asyncio.gather(*(write(url, name, int(count)) for name in names))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
