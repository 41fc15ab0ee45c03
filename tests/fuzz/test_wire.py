"""CARLA's wire in both directions: what carlad and the stand-in read, and what they write."""

from __future__ import annotations

import random
from contextlib import suppress

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carlad.wire import msgpackrpc, sensors
from carlad.wire.calls import BARE, CALLS
from carlad.wire.commands import COMMANDS, decode_command, encode_command
from carlad.wire.errors import CallError, WireError
from carlad.wire.msgpackrpc import RequestReader, ResponseReader
from carlad.wire.streaming import MessageReader, SubscriptionReader, Token, frame_prefix
from carlad.wire.types import Rotation, Transform, Vector3D
from tests.fuzz.damage import damaged
from tests.fuzz.effort import tried
from tests.standin import arguments

names = st.sampled_from(sorted(CALLS))
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.text(max_size=20),
        st.binary(max_size=20),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=20,
)
messages = st.one_of(st.binary(max_size=300), values.map(msgpack.packb))
SNAPSHOT = (
    sensors.header(int(sensors.SensorType.WORLD_OBSERVER), 7, 0.5, Transform(Vector3D(), Rotation()))
    + sensors.episode_header(3, 1.0, 0.05, 0)
    + bytes(2 * sensors.RECORD_BYTES)
)


@tried(300)
@given(messages, st.integers(1, 300))
def test_any_bytes_are_read_or_refused_the_same_however_they_come(data: bytes, size: int) -> None:
    for reader in (RequestReader, ResponseReader):
        assert read(reader(), data, len(data) or 1) == read(reader(), data, size)


def read(reader: RequestReader | ResponseReader, data: bytes, size: int) -> list[object]:
    """What was read of it, and that it was refused where it was."""
    found: list[object] = []
    try:
        for at in range(0, len(data), size):
            found += reader.receive(data[at : at + size])
    except WireError:
        found.append("refused")
    return found


@tried(300)
@given(names, messages)
def test_arguments_are_understood_or_refused(name: str, data: bytes) -> None:
    with suppress(WireError):
        assert isinstance(CALLS[name].decode_arguments(data), tuple)


@tried(300)
@given(names, st.randoms(use_true_random=False), st.data())
def test_damaged_calls_are_understood_or_refused(
    name: str, chance: random.Random, data: st.DataObject
) -> None:
    whole = msgpackrpc.request(1, name, arguments.of(name, chance, (1, 2)))
    broken = data.draw(damaged(whole))
    with suppress(WireError):
        for request in RequestReader().receive(broken):
            if request.name in CALLS:
                CALLS[request.name].decode_arguments(request.arguments)


@tried(300)
@given(names, st.randoms(use_true_random=False))
def test_a_call_that_was_read_is_written_as_it_came(name: str, chance: random.Random) -> None:
    once = rewritten(msgpackrpc.request(1, name, arguments.of(name, chance, (1, 2))))
    assert rewritten(once) == once


def rewritten(call: bytes) -> bytes:
    """Read, and written again: its numbers then have the types that CARLA gives them."""
    (request,) = RequestReader().receive(call)
    return msgpackrpc.request(1, request.name, CALLS[request.name].decode_arguments(request.arguments))


@tried(300)
@given(names, messages)
def test_results_are_understood_or_refused(name: str, result: bytes) -> None:
    with suppress(WireError, CallError):
        for response in ResponseReader().receive(b"\x94\x01\x01\xc0" + result):
            msgpackrpc.result_of(response, CALLS[name].result, bare=name in BARE)


@tried(300)
@given(st.one_of(messages, values.map(lambda value: msgpack.packb([[3, value]]))))
def test_commands_of_a_batch_are_understood_or_refused(data: bytes) -> None:
    with suppress(WireError):
        command = decode_command(data)
        assert type(command) in COMMANDS
        encode_command(command)


@tried(200)
@given(st.one_of(st.binary(max_size=60), damaged(Token(7, 2001).encode())))
def test_tokens_are_understood_or_refused(data: bytes) -> None:
    with suppress(WireError):
        token = Token.decode(data)
        assert Token.decode(token.encode()) == token


@tried(200)
@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6), st.integers(1, 60))
def test_stream_messages_arrive_whole_however_they_are_cut(payloads: list[bytes], size: int) -> None:
    stream = b"".join(frame_prefix(len(payload)) + payload for payload in payloads)
    reader, received = MessageReader(), []
    for at in range(0, len(stream), size):
        received += reader.receive(stream[at : at + size])
    assert received == payloads


@tried(200)
@given(st.binary(max_size=100))
def test_streams_of_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(WireError):
        MessageReader(bytes_max=1000).receive(data)
    with suppress(WireError):
        SubscriptionReader().receive(data)


@tried(300)
@given(st.one_of(st.binary(max_size=400), damaged(SNAPSHOT)))
def test_snapshots_are_understood_or_refused(payload: bytes) -> None:
    with suppress(WireError):
        sensors.read_header(payload)
    with suppress(WireError):
        sensors.read_world_snapshot(payload)


def test_the_snapshot_that_is_damaged_here_is_sound() -> None:
    assert sensors.read_world_snapshot(SNAPSHOT).episode_id == 3
    with pytest.raises(WireError):
        sensors.read_world_snapshot(SNAPSHOT[:-1])
