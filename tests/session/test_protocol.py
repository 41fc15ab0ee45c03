from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carlad.session import arrays
from carlad.session.arrays import Array
from carlad.session.connection import Connection
from carlad.session.protocol import (
    BODY_BYTES_MAX,
    HEAD_BYTES_MAX,
    HELLO_BYTES_MAX,
    LENGTHS,
    ArrayHeader,
    Attach,
    Attached,
    Close,
    Construct,
    Constructed,
    Failed,
    FailureKind,
    Hello,
    ProtocolError,
    Reply,
    Request,
    Reset,
    ResetDone,
    Share,
    Shared,
    Step,
    Stepped,
    Welcome,
    decode_reply,
    decode_request,
    encode_head,
)
from carlad.spaces import Box, DictOf, Discrete

BOX = Box([-1.0], [None], [2], "float32")

REQUESTS = [
    Hello("secret"),
    Construct({"length": 3}),
    Attach(host="127.0.0.1", rpc_port=2000, traffic_manager_port=8000, map="Town01"),
    Share(),
    Reset(seed=7, options={"route": [1, 2]}, slot=1),
    Reset(),
    Step(),
    Close(),
]
REPLIES = [
    Welcome(),
    Constructed(observation_space=BOX, action_space=Discrete(4, 1)),
    Constructed(observation_space=DictOf({"bev": BOX, "gear": Discrete(2)}), action_space=BOX),
    Attached(),
    Shared(4, 64),
    ResetDone({"map": "Town01"}),
    Stepped(0.5, True, False, {"reward_terms": {"progress": 0.5}}),
    Failed(FailureKind.SIMULATOR_LOST, "time-out of 2000ms"),
]

Ends = tuple[Connection[Any], socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A host's end, and a client's bare socket."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(5.0)
    connection = Connection(ours, decode_request, HEAD_BYTES_MAX)
    yield connection, theirs
    connection.close()
    theirs.close()


def whole(message: Request | Reply, parts: dict[str, Array] | None = None) -> bytes:
    """A message as it is on the wire."""
    parts = parts or {}
    head = encode_head(message, [arrays.header(name, part) for name, part in parts.items()])
    return b"".join([*head, *(bytes(arrays.raw(part)) for part in parts.values())])


def received(data: bytes, decode: Callable[..., Any] = decode_request) -> tuple[Any, dict[str, Array]]:
    ours, theirs = socket.socketpair()
    with theirs:
        connection = Connection(ours, decode, HEAD_BYTES_MAX)
        try:
            theirs.sendall(data)
            theirs.shutdown(socket.SHUT_WR)
            message = connection.receive(5.0)
            assert message is not None
            return message
        finally:
            connection.close()


@pytest.mark.parametrize("message", REQUESTS)
def test_a_request_arrives_as_it_was_sent(message: Request) -> None:
    assert received(whole(message)) == (message, {})


@pytest.mark.parametrize("message", REPLIES)
def test_a_reply_arrives_as_it_was_sent(message: Reply) -> None:
    assert received(whole(message), decode_reply) == (message, {})


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (2, 3, 5)])
def test_an_array_keeps_dtype_shape_and_values(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    _, found = received(whole(Step(), {"": array}))
    assert found[""].dtype == array.dtype
    assert found[""].flags.writeable
    np.testing.assert_array_equal(found[""], array)


def test_an_array_that_is_not_contiguous_arrives_right() -> None:
    array = np.arange(12, dtype=np.int32).reshape(3, 4).T
    _, found = received(whole(Step(), {"a": array}))
    np.testing.assert_array_equal(found["a"], array)


def test_a_message_that_comes_in_pieces_is_read_once_it_is_whole(ends: Ends) -> None:
    connection, client = ends
    large = np.arange(50_000, dtype=np.int32)
    data = whole(Step(), {"a": large})
    for start in range(0, len(data), 30_000):
        assert connection.receive(0.01) is None
        client.sendall(data[start : start + 30_000])
    message = connection.receive_now()
    assert message is not None
    np.testing.assert_array_equal(message[1]["a"], large)


def test_the_second_of_two_messages_that_came_together_is_not_lost(ends: Ends) -> None:
    connection, client = ends
    client.sendall(whole(Step(), {"": np.ones(3)}) + whole(Reset(3)))
    assert [connection.receive(1.0)[0] for _ in range(2)] == [Step(), Reset(3)]  # type: ignore[index]


def test_a_head_larger_than_the_buffer_is_read() -> None:
    request = Construct({"text": "x" * 200_000})
    assert received(whole(request)) == (request, {})


def test_numpy_numbers_in_an_info_become_plain_numbers() -> None:
    info = {"success": np.bool_(True), "score": np.float64(0.5), "counts": np.array([1, 2])}
    message, _ = received(whole(Stepped(0.0, False, False, info)), decode_reply)
    assert message.info == {"success": True, "score": 0.5, "counts": [1, 2]}


@pytest.mark.parametrize("value", [object(), lambda: None, 2**70, "x" * HEAD_BYTES_MAX])
def test_what_cannot_travel_is_refused_by_the_sender(value: object) -> None:
    with pytest.raises(ProtocolError, match="cannot send"):
        encode_head(ResetDone({"value": value}))


@pytest.mark.parametrize("dtype", ["object", ">f4", "complex64"])
def test_an_array_of_another_kind_or_byte_order_is_refused_by_the_sender(dtype: str) -> None:
    with pytest.raises(ProtocolError, match="cannot send an array"):
        arrays.header("a", np.zeros(1, dtype))


STEP = whole(Step(), {"": np.zeros(2)})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (LENGTHS.pack(0, 0), "head of 0 bytes"),
        (LENGTHS.pack(HEAD_BYTES_MAX + 1, 0), "head of 1048577 bytes"),
        (LENGTHS.pack(1, BODY_BYTES_MAX + 1), "arrays of 268435457 bytes"),
        (LENGTHS.pack(1, 0) + b"\xc1", "cannot read the message"),
        (whole(ResetDone()), "Invalid value"),
        (LENGTHS.pack(len(STEP) - 24, 5) + STEP[8:-11], "arrays of 16 bytes from 5"),
        (STEP.replace(b"float64", b"complex"), "complex"),
        (STEP[:-17] + b"\xff" + bytes(16), "Expected|cannot read"),
    ],
)
def test_a_malformed_request_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        received(data)


def test_who_has_not_said_the_secret_can_send_only_a_short_message_without_arrays() -> None:
    for lengths in (LENGTHS.pack(HELLO_BYTES_MAX + 1, 0), LENGTHS.pack(10, 1)):
        ours, theirs = socket.socketpair()
        with theirs:
            stranger = Connection(ours, decode_request, HELLO_BYTES_MAX)
            theirs.sendall(lengths)
            with pytest.raises(ProtocolError, match="cannot read"):
                stranger.receive(5.0)
            stranger.close()


def test_an_array_outside_the_shared_memory_is_refused(ends: Ends) -> None:
    connection, client = ends
    header = arrays.header("", np.zeros(4), offset=40)
    for shared in (None, memoryview(bytearray(64))):
        connection.shared = shared
        client.sendall(b"".join(encode_head(Step(), [header])))
        with pytest.raises(ProtocolError, match="not in the shared memory"):
            connection.receive(5.0)


@pytest.mark.parametrize("shape", [(1,) * 70, (0, 2**62, 2**62), (0, 2**63)], ids=["many", "large", "huge"])
def test_an_array_of_more_dimensions_than_there_can_be_is_refused(ends: Ends, shape: tuple[int, ...]) -> None:
    connection, client = ends
    header = ArrayHeader("", "uint8", shape)
    client.sendall(b"".join([*encode_head(Step(), [header]), bytes(header.size_bytes)]))
    with pytest.raises(ProtocolError, match="cannot read array"):
        connection.receive(5.0)


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_a_protocol_error(data: bytes) -> None:
    for decode in (decode_request, decode_reply):
        with pytest.raises((ProtocolError, EOFError)):
            received(data, decode)
