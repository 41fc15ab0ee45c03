"""The radar: random beams in a cone, with the relative speed of what they meet.

The beams' distribution and the signs of speed and angles after CARLA's Radar.cpp (0.9.16).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.scene import Frame
from carlad.wire.types import Transform, Vector3D

Detections = npt.NDArray[np.float32]  # (N, 4): velocity m/s, azimuth rad, altitude rad, depth m


@dataclass(frozen=True)
class RadarModel:
    """Fields of view in degrees, range in metres. Raises ValueError where nothing could be seen."""

    horizontal_fov_deg: float = 30.0
    vertical_fov_deg: float = 30.0
    range_m: float = 100.0
    points_per_second: int = 1500
    seed: int = 0

    def __post_init__(self) -> None:
        fovs = self.horizontal_fov_deg, self.vertical_fov_deg
        if not all(0.0 < fov < 180.0 for fov in fovs) or not self.range_m > 0.0 or self.points_per_second < 0:
            raise ValueError(f"cannot make a radar of {fovs} degrees and {self.range_m} m range")

    @staticmethod
    def from_attributes(values: Mapping[str, str]) -> RadarModel:
        """By the blueprint's attributes; CARLA's defaults where one is missing."""
        return RadarModel(
            horizontal_fov_deg=float(values.get("horizontal_fov", "30")),
            vertical_fov_deg=float(values.get("vertical_fov", "30")),
            range_m=float(values.get("range", "100")),
            points_per_second=int(values.get("points_per_second", "1500")),
            seed=abs(int(values.get("noise_seed", "0") or 0)),
        )


class Radar:
    """sensor.other.radar; the same seed gives the same beams."""

    def __init__(self, model: RadarModel) -> None:
        self._model = model
        self._chance = np.random.default_rng(model.seed)

    def scan(
        self,
        frame: Frame,
        world_from_radar: Transform,
        own_velocity: Vector3D,
        velocity_of: Callable[[int], Vector3D],
        delta_s: float,
    ) -> Detections:
        """Detections of one tick. `velocity_of` an actor's id and `own_velocity`: m/s, world frame.

        A positive speed moves away, a positive azimuth is to the right, a positive altitude above.
        """
        count = int(np.float32(self._model.points_per_second) * np.float32(delta_s))  # as in CARLA
        beams = self._beams(count)
        hits, directions = frame.cast_from(world_from_radar, beams, self._model.range_m)
        met = hits.distance <= self._model.range_m
        beams, away, depth = beams[met], directions[met], hits.distance[met]
        speeds = _velocities(frame.object_ids[hits.triangle[met]], velocity_of) - _vector(own_velocity)
        radial = np.einsum("ij,ij->i", speeds, away)
        azimuth, altitude = np.arctan2(beams[:, 1], beams[:, 0]), np.arcsin(np.clip(beams[:, 2], -1.0, 1.0))
        found: Detections = np.stack((radial, azimuth, altitude, depth), axis=1).astype(np.float32)
        return found

    def _beams(self, count: int) -> npt.NDArray[np.float32]:
        """(count, 3), unit vectors in the radar's frame, denser towards the middle."""
        model = self._model
        radius, angle = self._chance.random(count), self._chance.uniform(0.0, 2.0 * math.pi, count)
        beams = np.ones((count, 3))
        beams[:, 1] = math.tan(math.radians(model.horizontal_fov_deg / 2.0)) * radius * np.cos(angle)
        beams[:, 2] = math.tan(math.radians(model.vertical_fov_deg / 2.0)) * radius * np.sin(angle)
        beams /= np.linalg.norm(beams, axis=1, keepdims=True)
        return beams.astype(np.float32)


def _velocities(
    owners: npt.NDArray[np.uint32], velocity_of: Callable[[int], Vector3D]
) -> npt.NDArray[np.float64]:
    """(N, 3); what belongs to the town, owner 0, stands still."""
    velocities = np.zeros((len(owners), 3))
    for owner in set(owners.tolist()) - {0}:
        velocities[owners == owner] = _vector(velocity_of(owner))
    return velocities


def _vector(v: Vector3D) -> npt.NDArray[np.float64]:
    return np.array((v.x, v.y, v.z))
