"""Memory of what the server no longer uses: used again, and not searched for all the time."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from turntree.remote import RemoteStore

from tests.support.items import large
from tests.support.server_process import serving

READS = 5
MESSAGES = 8
MESSAGE_PAGES = 256
"""A message of 1 MiB, in pages of 4 KiB."""


def page_faults(process_id: int) -> int:
    """How many pages a process has been given so far."""
    return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[7])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
async def test_long_streams_use_the_same_memory(tmp_path: Path) -> None:
    """Reading a long history again takes almost no new memory from the system, whatever it freed in between."""
    with serving(tmp_path) as server:
        async with RemoteStore(server.address) as store:
            for number in range(MESSAGES):
                await store.add_items("s", [large(f"{number}-{part}", 10_000) for part in range(104)])
            await store.read_items("s")
            before = page_faults(server.process.pid)
            for _ in range(READS):
                await store.read_items("s")
            faults = page_faults(server.process.pid) - before
    assert faults < READS * MESSAGES * MESSAGE_PAGES / 5


CYCLES = """
import gc, weakref
from turntree_server.memory import look_for_garbage_seldom

class Node:
    pass

look_for_garbage_seldom()
looks = []
gc.callbacks.append(lambda phase, _: looks.append(phase))
kept = [(number, str(number)) for number in range(15_000)]
print(len(looks))
first = Node()
first.itself = first
gone = weakref.ref(first)
del first
kept += [(number, str(number)) for number in range(30_000)]
print(gone() is None)
"""


def test_garbage_is_looked_for_seldom_and_found() -> None:
    """Thousands of new rows are not searched for garbage, and what is in a cycle is freed before long all the same."""
    ran = subprocess.run([sys.executable, "-c", CYCLES], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["0", "True"]
