"""Memory that the server freed is used again."""

from __future__ import annotations

import platform
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
