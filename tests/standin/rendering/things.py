"""Objects and poses for the rendering tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.objects import Objects
from carlad.wire.types import CityObjectLabel, Location, Rotation, Transform, WeatherParameters

CLEAR_NOON = WeatherParameters(
    cloudiness=5.0, sun_altitude_angle=45.0, sun_azimuth_angle=-1.0, fog_density=2.0, fog_distance=0.75
)
HIGH = 60.0  # above all houses: nothing but what a test puts there


def pose(x: float, y: float, z: float, pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0) -> Transform:
    return Transform(Location(x, y, z), Rotation(pitch, yaw, roll))


def cube(x: float, y: float, z: float, half: float = 0.5, tag: int = CityObjectLabel.STATIC) -> Objects:
    """One object with id 7 about its own origin."""
    return several([(x, y, z, 0.0, 0.0, 0.0)], [(half, half, half)], [tag])


def several(
    poses: Sequence[Sequence[float]], extents: Sequence[Sequence[float]], tags: Sequence[int]
) -> Objects:
    """Objects with ids from 7 whose boxes are centred on their origins."""
    count = len(poses)
    return Objects(
        actor_id=np.arange(7, 7 + count, dtype=np.uint32),
        tag=np.array(tags, np.uint8),
        color=np.full((count, 3), 200, np.uint8),
        pose=np.array(poses, dtype=np.float64),
        center=np.zeros((count, 3)),
        extent=np.array(extents, dtype=np.float64),
    )


def depth_m(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """CARLA's documented decoding of a depth image."""
    blue, green, red = (image[..., k].astype(np.float64) for k in range(3))
    return 1000.0 * (red + 256.0 * green + 65536.0 * blue) / (256.0**3 - 1.0)
