"""Memory of what the server no longer uses: used again, and not searched for all the time."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from turntree.remote import RemoteStore
from turntree.v1 import item_pb2, pipeline_pb2, session_pb2
from turntree_server.access.caller import Role

from tests.support.credentials import new_key
from tests.support.items import large
from tests.support.rpc import read_refusal
from tests.support.server_process import ServerProcess, serving

READS = 5
MESSAGES = 8
MESSAGE_PAGES = 256
"""A message of 1 MiB, in pages of 4 KiB."""
MIB = 1024 * 1024
CALLS = pipeline_pb2.PipelineRequest.DESCRIPTOR.fields_by_name["calls"].number
EMPTY_NATIVE = session_pb2.AddItemsRequest(natives=[item_pb2.NativeItem()]).SerializeToString()


def tagged(number: int, content: bytes) -> bytes:
    """A field that holds a message."""
    length = bytearray()
    left = len(content)
    while left > 0x7F:
        length.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([number << 3 | 2]) + bytes([*length, left]) + content


def page_faults(process_id: int) -> int:
    """How many pages a process has been given so far."""
    return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[7])


def peak_kib(process_id: int) -> int:
    """The most memory that a process has had at once."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


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


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read as Linux tells it")
@pytest.mark.parametrize("is_stranger", [True, False])
async def test_a_request_that_is_not_let_in_is_not_read(is_stranger: bool, tmp_path: Path) -> None:
    """A message of who may not call takes its own bytes, and not those of the parts that it is made of."""
    token = new_key(tmp_path / "keys.json", "agent", Role.READER)
    metadata = () if is_stranger else (("authorization", f"Bearer {token}"),)
    db = tmp_path / "conversations.db"
    server = ServerProcess.start(db, options=["--keys-file", str(tmp_path / "keys.json")])
    try:
        before = peak_kib(server.process.pid)
        message = EMPTY_NATIVE * (8 * MIB)
        async with grpc.aio.insecure_channel(server.address, [("grpc.max_send_message_length", -1)]) as channel:
            add_items: Any = channel.unary_unary("/turntree.v1.SessionService/AddItems")
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await add_items(message, metadata=metadata)
        refusal = grpc.StatusCode.UNAUTHENTICATED if is_stranger else grpc.StatusCode.PERMISSION_DENIED
        assert raised.value.code() is refusal
        assert peak_kib(server.process.pid) - before < 10 * len(message) / 1024
        server.stop()
    finally:
        server.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read as Linux tells it")
@pytest.mark.parametrize("is_on_stream", [True, False])
async def test_a_request_of_too_many_parts_is_not_read(is_on_stream: bool, tmp_path: Path) -> None:
    """Who is let in is refused a message of millions of parts, which would take fifty times its bytes."""
    message = EMPTY_NATIVE * (8 * MIB)
    with serving(tmp_path) as server:
        before = peak_kib(server.process.pid)
        async with grpc.aio.insecure_channel(server.address, [("grpc.max_send_message_length", -1)]) as channel:
            if is_on_stream:
                add_items = pipeline_pb2.PipelineCall.DESCRIPTOR.fields_by_name["add_items"].number
                requests: Any = iter([tagged(CALLS, tagged(add_items, message))])
                answer: Any = channel.stream_stream("/turntree.v1.PipelineService/Pipeline")(requests).read()
            else:
                unary: Any = channel.unary_unary("/turntree.v1.SessionService/AddItems")
                answer = unary(message)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await answer
        refusal = read_refusal(raised.value)
        assert (refusal.reason, refusal.facts["field"]) == ("ERROR_REASON_FIELD_TOO_LARGE", "request")
        assert peak_kib(server.process.pid) - before < 10 * len(message) / 1024
        async with RemoteStore(server.address) as store:
            assert not (await store.list_sessions()).entries


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
