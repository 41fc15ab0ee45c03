from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carlad.standin.collisions import Box, box_at, close_pairs, touching
from carlad.wire import types as t


def box(x: float, y: float, yaw: float = 0.0, z: float = 0.0) -> Box:
    """4 m x 2 m x 1.5 m."""
    turn = math.radians(yaw)
    return Box(x, y, z, math.cos(turn), math.sin(turn), 2.0, 1.0, 0.75)


@pytest.mark.parametrize(
    ("x", "y", "yaw", "touches"),
    [
        (3.9, 0.0, 0.0, True),
        (4.1, 0.0, 0.0, False),
        (0.0, 1.9, 0.0, True),
        (0.0, 2.1, 0.0, False),
        (3.1, 0.0, 90.0, False),
        (2.9, 0.0, 90.0, True),
        # Their circles overlap, and so do their shadows on the first box's axes, but a corner just misses.
        (3.0, 3.0, 45.0, False),
        (3.0, 1.5, 45.0, True),
    ],
)
def test_boxes_touch_exactly_where_they_overlap(x: float, y: float, yaw: float, touches: bool) -> None:
    assert (touching(box(0.0, 0.0), box(x, y, yaw)) is not None) == touches
    assert (touching(box(x, y, yaw), box(0.0, 0.0)) is not None) == touches


def test_boxes_above_each_other_do_not_touch() -> None:
    assert touching(box(0.0, 0.0), box(0.0, 0.0, z=1.6)) is None


def test_contact_points_the_shortest_way_out() -> None:
    contact = touching(box(0.0, 0.0), box(3.5, 0.1))
    assert contact is not None
    assert (contact.normal_x, contact.normal_y) == (1.0, 0.0)
    assert contact.depth == pytest.approx(0.5)


@settings(deadline=None)
@given(st.floats(-6, 6), st.floats(-6, 6), st.floats(-180, 180), st.floats(-180, 180))
def test_moving_out_by_the_depth_ends_the_contact(x: float, y: float, yaw: float, other: float) -> None:
    contact = touching(box(0.0, 0.0, yaw), box(x, y, other))
    if contact is not None:
        way = contact.depth + 1e-9
        assert (
            touching(box(0.0, 0.0, yaw), box(x + way * contact.normal_x, y + way * contact.normal_y, other))
            is None
        )


def test_box_stands_where_the_bounds_say() -> None:
    bounds = t.BoundingBox(t.Vector3D(1.0, 0.0, 0.7), t.Vector3D(2.0, 1.0, 0.75), t.Rotation())
    placed = box_at(bounds, t.Transform(t.Vector3D(10.0, 5.0, 0.0), t.Rotation(0.0, 90.0, 0.0)))
    assert (placed.x, placed.y, placed.z) == pytest.approx((10.0, 6.0, 0.7))
    assert (placed.along_x, placed.along_y) == pytest.approx((0.0, 1.0))


def test_close_pairs_are_listed_once() -> None:
    x, y = np.array([0.0, 3.0, 10.0, 12.0]), np.zeros(4)
    assert close_pairs(x, y, np.full(4, 2.0)) == [(0, 1), (2, 3)]
