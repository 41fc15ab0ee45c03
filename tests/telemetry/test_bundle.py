from contextlib import suppress

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carlad.telemetry import Actor, Control, Ego, Lane, Lanes
from carlad.telemetry.codec import decode_bundle, decode_lanes, encode_bundle, encode_lanes
from tests.telemetry.watching import bundle_of

FULL = bundle_of(
    7,
    ego=Ego(1.0, -2.0, 90.0, 8.5),
    control=Control(-0.25, 0.5, 0.0, reverse=True),
    actors=[Actor(12, "vehicle", 3.0, 4.0, 180.0, 2.3, 0.9)],
    route=[(1.0, 2.0), (3.0, 4.0)],
    reward_terms={"progress": 0.5},
    success_rate=0.5,
    note="server lost",
)
ARRAYS = {"camera": np.arange(24, dtype=np.uint8).reshape(2, 4, 3), "lidar": np.ones((5, 4), np.float32)}
LANES = Lanes(
    "Grid", [Lane(np.zeros((3, 2), np.float32), np.ones((2, 2), np.float32), "shoulder", "solid", "broken")]
)


def test_a_bundle_and_its_arrays_arrive_as_they_were_sent() -> None:
    bundle, arrays = decode_bundle(encode_bundle("bundle,camera,lidar", FULL, ARRAYS))
    assert bundle == FULL
    assert {name: (array.dtype, array.tolist()) for name, array in arrays.items()} == {
        name: (array.dtype, array.tolist()) for name, array in ARRAYS.items()
    }


@pytest.mark.parametrize("array", [np.zeros((0, 4), np.float32), np.array(3.0, np.float32)])
def test_arrays_without_values_or_axes_arrive(array: np.ndarray) -> None:
    _, arrays = decode_bundle(encode_bundle("bundle,odd", FULL, {"odd": array}))
    assert arrays["odd"].shape == array.shape


def test_a_view_that_is_not_contiguous_arrives_in_order() -> None:
    flipped = ARRAYS["camera"][::-1, :, ::-1]
    _, arrays = decode_bundle(encode_bundle("bundle,camera", FULL, {"camera": flipped}))
    assert (arrays["camera"] == flipped).all()


def test_numbers_of_numpy_arrive_as_numbers() -> None:
    x, count = np.float64(1.5), np.int64(3)
    sent = bundle_of(1, ego=Ego(x, np.float32(2.5), 0.0, 0.0), route=np.ones((2, 2)), reward_terms={"a": x})
    received, _ = decode_bundle(encode_bundle("bundle", msgspec.structs.replace(sent, frame=count), {}))
    assert (received.ego, received.frame) == (Ego(1.5, 2.5, 0.0, 0.0), 3)
    assert (received.route, received.reward_terms) == ([(1.0, 1.0), (1.0, 1.0)], {"a": 1.5})


def test_an_array_of_another_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="camera"):
        encode_bundle("bundle,camera", FULL, {"camera": np.zeros(3)})


def test_lanes_arrive_as_they_were_sent() -> None:
    decoded = decode_lanes(encode_lanes(LANES))
    assert decoded.map == "Grid"
    assert decoded.lanes[0][2:] == ("shoulder", "solid", "broken")
    assert [side.shape for side in decoded.lanes[0][:2]] == [(3, 2), (2, 2)]


def test_fields_that_a_later_version_adds_are_skipped() -> None:
    newer = msgspec.to_builtins(FULL) | {"version": 9, "trailer": ["left"]}
    header = msgspec.msgpack.encode({"bundle": newer, "arrays": [], "timings": {}})
    bundle, _ = decode_bundle(b"bundle\0" + len(header).to_bytes(4, "little") + header)
    assert (bundle.version, bundle.ego) == (9, FULL.ego)


def test_fields_that_an_older_version_lacks_get_their_defaults() -> None:
    required = msgspec.to_builtins(bundle_of(1, sim_time_s=1.5))
    for field in ("version", "ego", "actors", "route", "reward_terms", "success_rate", "note"):
        required.pop(field, None)
    header = msgspec.msgpack.encode({"bundle": required, "arrays": []})
    bundle, _ = decode_bundle(b"bundle\0" + len(header).to_bytes(4, "little") + header)
    assert bundle == bundle_of(1, sim_time_s=1.5)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_garbage_is_a_value_error_and_nothing_else(message: bytes) -> None:
    for decode in (decode_bundle, decode_lanes):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong, this is the promise
            decode(message)


@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(max_examples=400, deadline=None)
def test_a_damaged_message_is_read_or_refused_with_a_value_error(at: int, value: int) -> None:
    for decode, message in (
        (decode_bundle, bytearray(encode_bundle("bundle,camera,lidar", FULL, ARRAYS))),
        (decode_lanes, bytearray(encode_lanes(LANES))),
    ):
        message[at % len(message)] = value
        for damaged in (bytes(message), bytes(message[: at % len(message)])):
            with suppress(ValueError):
                decode(damaged)
