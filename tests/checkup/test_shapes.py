from __future__ import annotations

import msgspec
import pytest

from carlad.checkup.shapes import deviations
from carlad.wire import types as t
from carlad.wire.calls import CALLS

PLACE = [[1.0, 2.0, 3.0], [0.0, 90.0, 0.0]]


@pytest.mark.parametrize(
    ("value", "expected", "said"),
    [
        (PLACE, t.Transform, ()),
        ([[1, 2, 3], [0, 90, 0]], t.Transform, ()),  # a float may travel as an integer
        ([[1.0, 2.0], [0.0, 90.0, 0.0]], t.Transform, ("location has 2 fields, Vector3D has 3",)),
        ([*PLACE, 7], t.Transform, ("it has 3 fields, Transform has 2",)),
        ([[1.0, "2", 3.0], PLACE[1]], t.Transform, ("location.y is text, float expected",)),
        ([PLACE[0], None], t.Transform, ("rotation is nothing, the fields of Rotation expected",)),
        (7, t.Transform, ("it is int, the fields of Transform expected",)),
        ([PLACE, [PLACE[0], 1], [PLACE[0], 2]], list[t.Transform],
         ("[].rotation is int, the fields of Rotation expected",)),
        (["127.0.0.1"], CALLS["get_traffic_manager_running"].result, ("it is 1 values, 2 values expected",)),
        (True, int, ("it is bool, int expected",)),
        (b"", str, ("it is bytes, str expected",)),
    ],
)  # fmt: skip
def test_what_is_not_as_expected_is_named_by_its_place(value, expected, said):
    assert deviations(value, expected) == said


@pytest.mark.parametrize(
    "settings", [t.EpisodeSettings(), t.EpisodeSettings(fixed_delta_seconds=(True, 0.1))]
)
def test_optional_values_have_both_shapes(settings):
    value = msgspec.msgpack.decode(msgspec.msgpack.encode(settings))
    assert deviations(value, t.EpisodeSettings) == ()
    assert deviations(value[:-1], t.EpisodeSettings) == ("it has 10 fields, EpisodeSettings has 11",)


def test_every_call_has_a_result_whose_shape_can_be_told():
    """None of the types that carlad.wire uses is unknown here."""
    for call in CALLS.values():
        deviations([], call.result)
        deviations("text", call.result)
