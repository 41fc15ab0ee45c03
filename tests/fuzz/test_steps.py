"""Steps and telemetry: what a client, a host or a publisher sends is understood, or refused in words."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carlad.session.connection import Connection
from carlad.session.protocol import (
    HEAD_BYTES_MAX,
    HELLO_BYTES_MAX,
    ProtocolError,
    Step,
    decode_reply,
    decode_request,
)
from carlad.telemetry.codec import decode_bundle, decode_lanes, encode_bundle, encode_lanes
from tests.fuzz.damage import damaged
from tests.fuzz.effort import tried
from tests.session.test_protocol import REPLIES, REQUESTS, whole
from tests.telemetry.test_bundle import ARRAYS, FULL, LANES

Decode = Callable[..., Any]

ACTION = {"": np.array([0.1, -0.5], np.float32), "gear": np.array(3, np.int64)}
SENT = [whole(message) for message in REQUESTS] + [whole(Step(1), ACTION)]
ANSWERED = [whole(message, {"image": np.zeros((4, 4, 3), np.uint8)}) for message in REPLIES]
BUNDLE, JPEG = encode_bundle("bundle,camera,lidar", FULL, ARRAYS), encode_bundle("c", FULL, ARRAYS, True)
SHARED = memoryview(bytearray(64))


def streams(messages: list[bytes]) -> st.SearchStrategy[bytes]:
    """A few messages one after the other, one of them damaged, or any bytes."""
    sound = st.sampled_from(messages)
    mixed = st.tuples(sound, sound.flatmap(damaged), sound).map(b"".join)
    return st.one_of(mixed, st.binary(max_size=200))


@pytest.mark.parametrize(
    ("decode", "messages", "head_max"),
    [
        (decode_request, SENT, HEAD_BYTES_MAX),
        (decode_request, SENT, HELLO_BYTES_MAX),
        (decode_reply, ANSWERED, HEAD_BYTES_MAX),
    ],
    ids=["client's", "stranger's", "host's"],
)
@tried(150)
@given(data=st.data(), size=st.integers(1, 300))
def test_a_stream_of_steps_is_read_or_refused_the_same_however_it_comes(
    decode: Decode, messages: list[bytes], head_max: int, data: st.DataObject, size: int
) -> None:
    stream = data.draw(streams(messages))
    assert read(stream, len(stream) or 1, decode, head_max) == read(stream, size, decode, head_max)


def read(stream: bytes, size: int, decode: Decode, head_max: int) -> list[object]:
    """What was read of it, and that it was refused where it was."""
    found: list[object] = []
    ours, theirs = socket.socketpair()
    connection: Connection[Any] = Connection(ours, decode, head_max)
    connection.shared = SHARED
    with theirs:
        try:
            for at in range(0, len(stream), size):
                theirs.sendall(stream[at : at + size])
                while (received := connection.receive_now()) is not None:
                    message, arrays = received
                    found.append((message, {name: array.tobytes() for name, array in arrays.items()}))
        except ProtocolError as error:
            found.append(str(error))
        finally:
            connection.close()
    return found


def test_the_streams_that_are_damaged_here_are_sound() -> None:
    for messages, decode in ((SENT, decode_request), (ANSWERED, decode_reply)):
        assert len(read(b"".join(messages), 50, decode, HEAD_BYTES_MAX)) == len(messages)


@tried(200)
@given(st.one_of(damaged(BUNDLE), damaged(JPEG), st.binary(max_size=200)))
def test_bundles_are_understood_or_refused(message: bytes) -> None:
    with suppress(ValueError):
        bundle, arrays = decode_bundle(message)
        encode_bundle("again", bundle, arrays)


@tried(200)
@given(st.one_of(damaged(encode_lanes(LANES)), st.binary(max_size=200)))
def test_maps_geometry_is_understood_or_refused(message: bytes) -> None:
    with suppress(ValueError):
        encode_lanes(decode_lanes(message))
