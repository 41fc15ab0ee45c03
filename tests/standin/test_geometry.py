"""Our poses against LibCarla's own."""

from __future__ import annotations

import carla
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carlad.standin.geometry import compose, forward, matrix, point, rotate, rotation, unrotate
from carlad.wire import types as t

angle = st.floats(-179, 179)
pitch = st.floats(-80, 80)
metres = st.floats(-50, 50)
rotations = st.builds(t.Rotation, pitch, angle, angle)
vectors = st.builds(t.Vector3D, metres, metres, metres)
poses = st.builds(t.Transform, vectors, rotations)


def carlas(pose: t.Transform) -> carla.Transform:
    place, turn = pose.location, pose.rotation
    return carla.Transform(
        carla.Location(place.x, place.y, place.z), carla.Rotation(turn.pitch, turn.yaw, turn.roll)
    )


def numbers(v: t.Vector3D) -> tuple[float, float, float]:
    return v.x, v.y, v.z


@settings(deadline=None)
@given(poses, vectors)
def test_points_are_where_libcarla_puts_them(pose: t.Transform, p: t.Vector3D) -> None:
    theirs = carlas(pose).transform(carla.Location(p.x, p.y, p.z))
    assert numbers(point(pose, p)) == pytest.approx((theirs.x, theirs.y, theirs.z), abs=1e-3)


@settings(deadline=None)
@given(rotations)
def test_forward_is_libcarlas(turn: t.Rotation) -> None:
    theirs = carlas(t.Transform(t.Vector3D(), turn)).get_forward_vector()
    assert numbers(forward(turn)) == pytest.approx((theirs.x, theirs.y, theirs.z), abs=1e-5)


@settings(deadline=None)
@given(rotations)
def test_angles_survive_the_matrix(turn: t.Rotation) -> None:
    again = rotation(matrix(turn))
    assert matrix(again) == pytest.approx(matrix(turn), abs=1e-9)


@settings(deadline=None)
@given(rotations, vectors)
def test_unrotate_undoes_rotate(turn: t.Rotation, v: t.Vector3D) -> None:
    assert numbers(unrotate(matrix(turn), rotate(matrix(turn), v))) == pytest.approx(numbers(v), abs=1e-9)


@settings(deadline=None)
@given(poses, poses, vectors)
def test_composition_is_one_pose_after_the_other(a: t.Transform, b: t.Transform, p: t.Vector3D) -> None:
    assert numbers(point(compose(a, b), p)) == pytest.approx(numbers(point(a, point(b, p))), abs=1e-6)
