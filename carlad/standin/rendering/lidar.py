"""The two LiDARs: a rotating head of lasers, with intensities or with semantic tags.

Angles, rounding, drop-off and noise after CARLA's RayCastSemanticLidar.cpp and RayCastLidar.cpp (0.9.16).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.scene import Frame
from carlad.wire.types import Transform

SEMANTIC_POINT = np.dtype(
    [
        ("x", "<f4"),
        ("y", "<f4"),
        ("z", "<f4"),
        ("cos_inc_angle", "<f4"),
        ("object_id", "<u4"),
        ("tag", "<u4"),
    ]
)


@dataclass(frozen=True)
class LidarModel:
    """`range_m` in metres, angles in degrees, `rotation_frequency_hz` in turns a second.

    `attenuation` (1/m) makes an intensity of exp(-attenuation * distance). Of the rays, `dropoff_general` are
    never sent; of the points, `dropoff_at_zero` are lost at intensity 0, fewer up to `dropoff_limit`, none
    above. `noise_m` is the standard deviation along the ray. Raises ValueError where nothing could be seen.
    """

    channels: int = 32
    range_m: float = 10.0
    points_per_second: int = 56000
    rotation_frequency_hz: float = 10.0
    upper_fov_deg: float = 10.0
    lower_fov_deg: float = -30.0
    horizontal_fov_deg: float = 360.0
    attenuation: float = 0.004
    dropoff_general: float = 0.45
    dropoff_limit: float = 0.8
    dropoff_at_zero: float = 0.4
    noise_m: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.channels < 1 or not 0.0 < self.horizontal_fov_deg <= 360.0 or self.range_m <= 0.0:
            raise ValueError(
                f"cannot make a LiDAR of {self.channels} channels, {self.horizontal_fov_deg} degrees "
                f"and {self.range_m} m range"
            )

    @staticmethod
    def from_attributes(values: Mapping[str, str]) -> LidarModel:
        """By the attributes of either LiDAR blueprint; CARLA's defaults where one is missing."""
        return LidarModel(
            channels=int(values.get("channels", "32")),
            range_m=float(values.get("range", "10.0")),
            points_per_second=int(values.get("points_per_second", "56000")),
            rotation_frequency_hz=float(values.get("rotation_frequency", "10.0")),
            upper_fov_deg=float(values.get("upper_fov", "10.0")),
            lower_fov_deg=float(values.get("lower_fov", "-30.0")),
            horizontal_fov_deg=float(values.get("horizontal_fov", "360.0")),
            attenuation=float(values.get("atmosphere_attenuation_rate", "0.004")),
            dropoff_general=float(values.get("dropoff_general_rate", "0.45")),
            dropoff_limit=float(values.get("dropoff_intensity_limit", "0.8")),
            dropoff_at_zero=float(values.get("dropoff_zero_intensity", "0.4")),
            noise_m=float(values.get("noise_stddev", "0.0")),
            seed=int(values.get("noise_seed", "0")),
        )


@dataclass(frozen=True)
class LidarScan:
    """What one tick measured, channel by channel from the uppermost laser down.

    points: `Lidar`: float32 (N, 4), x, y, z, intensity; `SemanticLidar`: SEMANTIC_POINT (N,); sensor frame
    points_per_channel: uint32 (channels,), sums to N
    horizontal_angle_rad: where the head stands after the tick
    """

    horizontal_angle_rad: float
    points_per_channel: npt.NDArray[np.uint32]
    points: npt.NDArray[Any]


class Lidar:
    """sensor.lidar.ray_cast. Turns with every scan; the same seed gives the same drop-offs and noise."""

    def __init__(self, model: LidarModel) -> None:
        self._model = model
        self._head = _Head(model)
        self._chance = np.random.default_rng(model.seed)

    def scan(self, frame: Frame, world_from_lidar: Transform, delta_s: float) -> LidarScan:
        """The points of the `delta_s` seconds that end with `frame`."""
        model = self._model
        beams = self._head.turn(delta_s)
        if model.dropoff_general > 0:
            beams = beams.take(np.flatnonzero(self._chance.random(len(beams)) >= model.dropoff_general))
        hits, _directions = frame.cast_from(world_from_lidar, beams.direction, model.range_m)
        met = np.flatnonzero(hits.distance <= model.range_m)
        distance = hits.distance.take(met)
        intensity = np.exp(-model.attenuation * distance)
        kept = np.flatnonzero(self._is_received(intensity))
        met, distance, intensity = met.take(kept), distance.take(kept), intensity.take(kept)
        points = np.empty((len(met), 4), np.float32)
        beams = beams.take(met)
        np.multiply(beams.direction, self._noisy(distance)[:, None], out=points[:, :3])
        points[:, 3] = intensity
        return LidarScan(self._head.angle_rad, beams.per_channel(model.channels), points)

    def _is_received(self, intensity: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Bright points always; the others with a probability that is linear in their intensity."""
        model = self._model
        if model.dropoff_limit <= 0:
            return np.ones(len(intensity), np.bool_)
        chance = 1.0 - model.dropoff_at_zero + model.dropoff_at_zero / model.dropoff_limit * intensity
        return (intensity > model.dropoff_limit) | (self._chance.random(len(intensity)) < chance)

    def _noisy(self, distance: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self._model.noise_m <= 0:
            return distance
        return distance + self._chance.normal(0.0, self._model.noise_m, len(distance)).astype(np.float32)


class SemanticLidar:
    """sensor.lidar.ray_cast_semantic. Turns with every scan; loses nothing."""

    def __init__(self, model: LidarModel) -> None:
        self._model = model
        self._head = _Head(model)

    def scan(self, frame: Frame, world_from_lidar: Transform, delta_s: float) -> LidarScan:
        """The points of the `delta_s` seconds that end with `frame`."""
        model = self._model
        beams = self._head.turn(delta_s)
        hits, directions = frame.cast_from(world_from_lidar, beams.direction, model.range_m)
        met = np.flatnonzero(hits.distance <= model.range_m)
        beams, triangle = beams.take(met), hits.triangle.take(met)
        place = beams.direction * hits.distance.take(met)[:, None]
        points = np.empty(len(met), SEMANTIC_POINT)
        points["x"], points["y"], points["z"] = place.T
        normals, directions = frame.normals.take(triangle, axis=0), directions.take(met, axis=0)
        points["cos_inc_angle"] = np.abs(np.einsum("ij,ij->i", normals, directions))
        points["object_id"] = frame.object_ids[triangle]
        points["tag"] = frame.tags[triangle]
        return LidarScan(self._head.angle_rad, beams.per_channel(model.channels), points)


# --- beams -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Beams:
    """direction: float32 (N, 3), unit vectors in the sensor's frame; channel: intp (N,), ascending."""

    direction: npt.NDArray[np.float32]
    channel: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.channel)

    def take(self, rows: npt.NDArray[np.intp]) -> _Beams:
        return _Beams(self.direction.take(rows, axis=0), self.channel.take(rows))

    def per_channel(self, channels: int) -> npt.NDArray[np.uint32]:
        return np.bincount(self.channel, minlength=channels).astype(np.uint32)


class _Head:
    """Where the lasers point. The head's angle is kept in degrees, in [0, horizontal fov)."""

    def __init__(self, model: LidarModel) -> None:
        self._model = model
        self._angle_deg = 0.0
        # A head that turns once a tick sends the same beams each time.
        self._latest: tuple[tuple[float, float, int], _Beams] | None = None
        lowering = (model.upper_fov_deg - model.lower_fov_deg) / max(model.channels - 1, 1)
        self._vertical = np.radians(model.upper_fov_deg - lowering * np.arange(model.channels))

    @property
    def angle_rad(self) -> float:
        return math.radians(self._angle_deg)

    def turn(self, delta_s: float) -> _Beams:
        """The beams of the next `delta_s` seconds, evenly spread over the angle that they sweep.

        That is a product of float32, as in CARLA: of whole turns in a tick none is off by a millionth.
        """
        model = self._model
        count = max(0, math.floor(model.points_per_second * delta_s / model.channels + 0.5))
        swept = float(
            np.float32(model.rotation_frequency_hz)
            * np.float32(model.horizontal_fov_deg)
            * np.float32(delta_s)
        )
        turn = self._angle_deg, swept, count
        if self._latest is None or self._latest[0] != turn:
            self._latest = turn, self._sweep(*turn)
        self._angle_deg = (self._angle_deg + swept) % model.horizontal_fov_deg
        return self._latest[1]

    def _sweep(self, start_deg: float, swept_deg: float, count: int) -> _Beams:
        model = self._model
        angles = start_deg + swept_deg / max(count, 1) * np.arange(count)
        horizontal = np.radians(angles % model.horizontal_fov_deg - model.horizontal_fov_deg / 2)
        level, height = np.cos(self._vertical)[:, None], np.sin(self._vertical)[:, None]
        direction = np.empty((model.channels, count, 3), np.float32)
        direction[..., 0] = level * np.cos(horizontal)
        direction[..., 1] = level * np.sin(horizontal)
        direction[..., 2] = height
        return _Beams(direction.reshape(-1, 3), np.repeat(np.arange(model.channels), count))
