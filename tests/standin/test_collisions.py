from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carlad.standin.collisions import Box, box_at, touching
from carlad.standin.motion.contacts import touching_pairs
from carlad.wire import types as t

REACH_M = math.hypot(2.0, 1.0)


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


def boxes(*placed: Box) -> npt.NDArray[np.float64]:
    return np.array(
        [
            (b.x, b.y, b.z, b.along_x, b.along_y, b.half_length, b.half_width, b.half_height, REACH_M)
            for b in placed
        ]
    )


def pairs(placed: npt.NDArray[np.float64]) -> list[list[int]]:
    """Without vehicles."""
    nobody = np.zeros((0, 1))
    found: list[list[int]] = touching_pairs(nobody, nobody, 0, placed).tolist()
    return found


def test_touching_boxes_are_listed_once() -> None:
    row = boxes(box(0.0, 0.0), box(3.9, 0.0), box(10.0, 0.0), box(13.0, 1.5, 45.0), box(13.0, -9.0))
    assert pairs(row) == [[0, 1], [2, 3]]


def test_what_does_not_collide_touches_nothing() -> None:
    row = boxes(box(0.0, 0.0), box(1.0, 0.0))
    row[1, 8] = -1.0
    assert pairs(row) == []


def test_pairs_in_a_crowd_are_those_that_touch() -> None:
    chance = np.random.default_rng(3)
    crowd = [box(*chance.uniform(-30.0, 30.0, 2), chance.uniform(-180.0, 180.0)) for _ in range(150)]
    expected = [
        [i, j] for i in range(len(crowd)) for j in range(i + 1, len(crowd)) if touching(crowd[i], crowd[j])
    ]
    assert len(expected) > 50
    assert pairs(boxes(*crowd)) == expected
