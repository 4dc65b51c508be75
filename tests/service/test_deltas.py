"""Deltas on the wire: bytes that the server joins by hand are those of the messages they stand for."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from turntree import wire
from turntree.model import BranchPointer, DeltaKind, ItemMetadata, ItemsDelta, NativeItem, Turn, TurnsDelta
from turntree.v1 import item_pb2, session_pb2, turn_pb2
from turntree_server.service.deltas import turns_delta, with_delta

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
payloads = st.sampled_from([0, 1, 127, 128, 16_383, 16_384, 70_000]).map(bytes) | st.binary(max_size=8)
numbers = st.sampled_from([0, 1, 127, 128, 16_384, 2**31, 2**53 + 1, 2**63 - 1]) | st.integers(0, 300)
times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(
    lambda time: time.replace(microsecond=0, tzinfo=UTC)
)
pointers = st.builds(BranchPointer, texts, st.none() | numbers)
metadata = st.builds(ItemMetadata, texts, st.none() | texts, numbers, times)
natives = st.builds(NativeItem, st.integers(0, 2**31), texts, st.binary(max_size=8))


def some(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    """A few of something, as a tuple."""
    return st.lists(strategy, max_size=4).map(tuple)


turns = st.builds(Turn, numbers, texts, times, st.none() | payloads, some(payloads), some(metadata), some(natives))


def metadata_message(item: ItemMetadata) -> item_pb2.ItemMetadata:
    """What the protos say of an item's metadata, built by protobuf."""
    return item_pb2.ItemMetadata(
        type=item.type, tool_name=item.tool_name, turn=item.turn, create_time=wire.write_time(item.create_time)
    )


@given(st.builds(TurnsDelta, some(turns), st.binary(max_size=64), pointers, st.booleans(), st.booleans()))
def test_bytes_of_turns_are_those_of_their_message(delta: TurnsDelta) -> None:
    """Whatever turns hold, their bytes are a StreamTurnsResponse with just that, and the client reads it back."""
    sent = turn_pb2.StreamTurnsResponse.FromString(turns_delta(delta))
    assert sent == turn_pb2.StreamTurnsResponse(
        turns=[
            turn_pb2.Turn(
                turn=turn.turn,
                branch_id=turn.branch_id,
                user_item=turn.user_item,
                create_time=wire.write_time(turn.create_time),
                items=turn.items,
                metadata=map(metadata_message, turn.metadata),
                natives=wire.write_natives(turn.natives),
            )
            for turn in delta.turns
        ],
        cursor=delta.cursor,
        branch=wire.write_pointer(delta.branch),
        restarted=delta.restarted,
        continued=delta.continued,
    )
    assert wire.read_turns_delta(sent) == delta


deltas = st.builds(
    ItemsDelta,
    st.sampled_from(DeltaKind),
    some(payloads),
    st.binary(max_size=64),
    pointers,
    st.booleans(),
    some(metadata),
    some(natives),
)


@given(deltas)
def test_a_delta_is_written_in_its_place_and_read_back(delta: ItemsDelta) -> None:
    """A delta of items has in its response whatever it has, its metadata too, and the client reads it back."""
    sent = session_pb2.WatchResponse.FromString(with_delta(session_pb2.WatchResponse(), delta).SerializeToString())
    assert list(sent.delta.metadata) == list(map(metadata_message, delta.metadata))
    assert wire.read_delta(sent.delta) == delta
