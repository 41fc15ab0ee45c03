"""Rotations and transforms in CARLA's left-handed frame (LibCarla `carla/geom/Transform.h`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from carlad.wire.types import Transform

FloatArray = npt.NDArray[np.float64]


def rotation_matrices(pitch_yaw_roll_deg: npt.NDArray[np.floating]) -> FloatArray:
    """(..., 3) angles in degrees to (..., 3, 3) matrices that turn body vectors into world vectors."""
    radians = np.radians(np.asarray(pitch_yaw_roll_deg, dtype=np.float64))
    (cp, cy, cr), (sp, sy, sr) = np.moveaxis(np.cos(radians), -1, 0), np.moveaxis(np.sin(radians), -1, 0)
    rows = (
        (cp * cy, cy * sp * sr - sy * cr, -cy * sp * cr - sy * sr),
        (cp * sy, sy * sp * sr + cy * cr, -sy * sp * cr + cy * sr),
        (sp, -cp * sr, cp * cr),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def rotation_of(pose: Transform) -> FloatArray:
    """(3, 3)"""
    turn = pose.rotation
    return rotation_matrices(np.array((turn.pitch, turn.yaw, turn.roll)))


def location_of(pose: Transform) -> FloatArray:
    """(3,), metres"""
    place = pose.location
    return np.array((place.x, place.y, place.z))
