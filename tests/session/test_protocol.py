from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carlad.session import protocol
from carlad.session.protocol import (
    Attach,
    Attached,
    Box,
    Close,
    Failed,
    FailureKind,
    ProtocolError,
    Reply,
    Request,
    Reset,
    ResetDone,
    Step,
    Stepped,
    decode_reply,
    decode_request,
    encode,
)

BOX = Box([-1.0], [1.0], [2], "float32")

REQUESTS = [
    Attach(host="127.0.0.1", rpc_port=2000, traffic_manager_port=8000, map="Town01", config={"length": 3}),
    Reset(seed=7, options={"route": [1, 2]}),
    Reset(),
    Step(),
    Close(),
]
REPLIES = [
    Attached(observation_space=BOX, action_space=protocol.Discrete(4, 1)),
    Attached(observation_space=protocol.DictOf({"bev": BOX}), action_space=BOX),
    ResetDone({"map": "Town01"}),
    Stepped(0.5, True, False, {"reward_terms": {"progress": 0.5}}),
    Failed(FailureKind.SIMULATOR_LOST, "time-out of 2000ms"),
]


@pytest.mark.parametrize("message", REQUESTS)
def test_a_request_arrives_as_it_was_sent(message: Request) -> None:
    assert decode_request(encode(message)) == (message, {})


@pytest.mark.parametrize("message", REPLIES)
def test_a_reply_arrives_as_it_was_sent(message: Reply) -> None:
    assert decode_reply(encode(message)) == (message, {})


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (2, 3, 5)])
def test_an_array_keeps_dtype_shape_and_values(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    _, arrays = decode_reply(encode(ResetDone(), {"": array}))
    assert arrays[""].dtype == array.dtype
    np.testing.assert_array_equal(arrays[""], array)


def test_an_array_that_is_not_contiguous_arrives_right() -> None:
    array = np.arange(12, dtype=np.int32).reshape(3, 4).T
    _, arrays = decode_request(encode(Step(), {"a": array}))
    np.testing.assert_array_equal(arrays["a"], array)


def test_numpy_numbers_in_an_info_become_plain_numbers() -> None:
    info = {"success": np.bool_(True), "score": np.float64(0.5), "counts": np.array([1, 2])}
    message, _ = decode_reply(encode(Stepped(0.0, False, False, info)))
    assert isinstance(message, Stepped)
    assert message.info == {"success": True, "score": 0.5, "counts": [1, 2]}


@pytest.mark.parametrize("value", [object(), lambda: None, 2**70])
def test_what_cannot_travel_is_refused_by_the_sender(value: object) -> None:
    with pytest.raises(ProtocolError, match="cannot send"):
        encode(ResetDone({"value": value}))


@pytest.mark.parametrize("dtype", ["object", ">f4", "complex64"])
def test_an_array_of_another_kind_or_byte_order_is_refused_by_the_sender(dtype: str) -> None:
    with pytest.raises(ProtocolError, match="cannot send an array"):
        encode(Step(), {"a": np.zeros(1, dtype)})


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([], "no frames"),
        ([b""], "cannot read the message"),
        ([b"\xc1garbage"], "cannot read the message"),
        ([encode(ResetDone())[0]], "Invalid value"),
        ([*encode(Step()), b"extra"], "0 arrays from 1 frames"),
        (encode(Step(), {"": np.zeros(2)})[:1], "1 arrays from 0 frames"),
        ([encode(Step(), {"": np.zeros(2)})[0], b"short"], "5 bytes, 16 expected"),
        ([encode(Step(), {"": np.zeros(2)})[0].replace(b"float64", b"complex"), bytes(16)], "complex"),
        ([encode(Step(), {"": np.zeros(2)})[0][:-1] + b"\xff", bytes(16)], "-1"),
    ],
)
def test_a_malformed_request_is_refused_with_the_reason(frames: list[bytes], reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        decode_request(frames)


@given(st.lists(st.binary(max_size=64), max_size=4))
def test_garbage_raises_nothing_but_a_protocol_error(frames: list[bytes]) -> None:
    for decode in (decode_request, decode_reply):
        with pytest.raises(ProtocolError):
            decode(frames)
