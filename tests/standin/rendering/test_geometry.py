from __future__ import annotations

import carla
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carlad.standin.rendering.geometry import location_of, rotation_of
from tests.standin.rendering.things import pose

_angles = st.floats(-180.0, 180.0)


@given(_angles, _angles, _angles)
def test_rotations_are_carla_s(pitch: float, yaw: float, roll: float) -> None:
    theirs = carla.Transform(carla.Location(1, 2, 3), carla.Rotation(pitch=pitch, yaw=yaw, roll=roll))
    ours = np.eye(4)
    ours[:3, :3], ours[:3, 3] = rotation_of(pose(1, 2, 3, pitch, yaw, roll)), (1, 2, 3)
    assert ours == pytest.approx(np.array(theirs.get_matrix()), abs=1e-5)


def test_location_is_in_metres() -> None:
    assert location_of(pose(1, 2, 3)).tolist() == [1.0, 2.0, 3.0]
