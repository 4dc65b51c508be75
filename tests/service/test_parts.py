"""A message of too many parts is refused before it is read, since each part takes memory."""

from __future__ import annotations

import random
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from turntree.v1 import branch_pb2, item_pb2, pipeline_pb2, session_pb2, usage_pb2
from turntree_server.service.parts import Shape, has_more_fields


def fields_of(message: Message) -> int:
    """How many fields a message has, those of the messages within it too."""
    count = 0
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            count += 3 * len(value)  # an entry, its key and its value
            continue
        values = value if field.is_repeated else [value]
        count += sum(1 + (fields_of(one) if isinstance(one, Message) else 0) for one in values)
    return count


NATIVES = [item_pb2.NativeItem(index=index, dialect="d" * 200, native=b"{}" * 200) for index in range(20)]
ADD = session_pb2.AddItemsRequest(
    session_id="s",
    branch=item_pb2.BranchPointer(branch_id="b" * 300, generation=2**60),
    items=[b"x" * (40 * number) for number in range(20)],
    natives=NATIVES,
)
LABELS = session_pb2.UpdateSessionRequest(session_id="s", labels={str(number): "v" * 200 for number in range(20)})
USAGE = usage_pb2.RecordUsageRequest(session_id="s", usage=usage_pb2.Usage(input_tokens=2**62, requests=300))
FORK = branch_pb2.CreateBranchRequest(session_id="s", head=branch_pb2.Head())
PIPELINE = pipeline_pb2.PipelineRequest(
    calls=[
        pipeline_pb2.PipelineCall(call_id=1, add_items=ADD),
        pipeline_pb2.PipelineCall(call_id=2**40, update_session=LABELS),
        pipeline_pb2.PipelineCall(call_id=3, record_usage=USAGE),
        pipeline_pb2.PipelineCall(call_id=4, create_branch=FORK),
    ]
)


@pytest.mark.parametrize("message", [ADD, LABELS, PIPELINE], ids=lambda message: message.DESCRIPTOR.name)
def test_every_field_counts(message: Message) -> None:
    """A message may have as many fields as the limit says, and not one more, wherever they are in it."""
    data, shape, count = message.SerializeToString(), Shape.of(message.DESCRIPTOR), fields_of(message)
    assert count > 60
    assert not has_more_fields(data, shape, count)
    assert has_more_fields(data, shape, count - 1)


@given(st.binary(max_size=300))
def test_what_is_no_message(data: bytes) -> None:
    """Any bytes at all are counted to their end, or as far as the limit, without an error."""
    shape = Shape.of(pipeline_pb2.PipelineRequest.DESCRIPTOR)
    assert not has_more_fields(data, shape, 300)
    has_more_fields(data, shape, 2)


def test_what_is_cut_or_changed() -> None:
    """So are messages that were cut and changed at random."""
    shape = Shape.of(PIPELINE.DESCRIPTOR)
    whole = PIPELINE.SerializeToString()
    dice = random.Random(7)
    for _ in range(300):
        data: Any = bytearray(whole[: dice.randrange(1, len(whole))])
        for _change in range(dice.randrange(4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        has_more_fields(bytes(data), shape, 50)
        assert not has_more_fields(bytes(data), shape, len(data))
