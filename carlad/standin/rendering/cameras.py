"""RGB, depth and semantic images of a frame, by one ray for each pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.daylight import Daylight, daylight, pack
from carlad.standin.rendering.geometry import location_of, rotation_of
from carlad.standin.rendering.scene import Frame, Hits
from carlad.wire.types import Transform, WeatherParameters

Image = npt.NDArray[np.uint8]  # (H, W, 4): B, G, R, A

_FAR_M = 1000.0  # CARLA's depth images end here
_DEPTH_MAX = (1 << 24) - 1
_OPAQUE = np.uint32(0xFF000000)
_HAZE_MAX_M = 4095
_SKY_STEPS = 512
_CAMERAS_CACHED = 8  # rays of that many different sizes and fields of view are kept


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera that looks along +x: pixels and the horizontal field of view in degrees."""

    width: int = 800
    height: int = 600
    fov_deg: float = 90.0

    @staticmethod
    def from_attributes(values: Mapping[str, str]) -> CameraModel:
        """By a blueprint's image_size_x, image_size_y and fov; CARLA's defaults where one is missing."""
        return CameraModel(
            width=int(values.get("image_size_x", "800")),
            height=int(values.get("image_size_y", "600")),
            fov_deg=float(values.get("fov", "90.0")),
        )


def render_rgb(
    frame: Frame, camera: CameraModel, world_from_camera: Transform, weather: WeatherParameters
) -> Image:
    """Flat-shaded colours by the weather's sun, haze and sky."""
    hits, upward = _look(frame, camera, world_from_camera)
    light = daylight(weather)
    pixels = _hazy(frame.palette(weather)[hits.triangle], hits.distance, light)
    sky = hits.triangle == frame.sky
    pixels[sky] = _sky(upward[sky], light)
    return _image(pixels, camera)


def render_depth(frame: Frame, camera: CameraModel, world_from_camera: Transform) -> Image:
    """Distance along the camera's x axis: (R + 256 G + 65536 B) / (2^24 - 1) of 1000 m; the sky is 1000 m."""
    hits, _upward = _look(frame, camera, world_from_camera)
    # float32 holds every integer below 2^24.
    steps = np.minimum(hits.distance * np.float32(_DEPTH_MAX / _FAR_M), _DEPTH_MAX).astype(np.uint32)
    words = (steps & 0xFF) << 16 | (steps & 0xFF00) | steps >> 16 | _OPAQUE
    return _image(words.astype(np.uint32), camera)


def render_semantic(frame: Frame, camera: CameraModel, world_from_camera: Transform) -> Image:
    """CityObjectLabel in R; G and B are 0."""
    hits, _upward = _look(frame, camera, world_from_camera)
    words = frame.tags.astype(np.uint32) << 16 | _OPAQUE
    return _image(words[hits.triangle].astype(np.uint32, copy=False), camera)


# --- rays ------------------------------------------------------------------------------------------


@lru_cache(maxsize=_CAMERAS_CACHED)
def _directions(camera: CameraModel) -> npt.NDArray[np.float32]:
    """float32 (H * W, 3), row by row, through the pixels' middles, camera frame; x is 1."""
    focal = camera.width / (2.0 * math.tan(math.radians(camera.fov_deg) / 2.0))
    right = (np.arange(camera.width) + 0.5 - camera.width / 2) / focal
    up = -(np.arange(camera.height) + 0.5 - camera.height / 2) / focal
    y, z = np.meshgrid(right, up)
    return np.stack((np.ones_like(y), y, z), axis=-1).reshape(-1, 3).astype(np.float32)


@lru_cache(maxsize=_CAMERAS_CACHED)
def _lengths(camera: CameraModel) -> npt.NDArray[np.float32]:
    lengths: npt.NDArray[np.float32] = np.linalg.norm(_directions(camera), axis=1)
    return lengths


def _look(
    frame: Frame, camera: CameraModel, world_from_camera: Transform
) -> tuple[Hits, npt.NDArray[np.float32]]:
    """What each pixel meets, its distance along the camera's axis, and the rays' upward parts in [-1, 1]."""
    directions = _directions(camera)
    rays = np.empty((len(directions), 6), np.float32)
    rays[:, :3] = location_of(world_from_camera)
    rays[:, 3:] = directions @ rotation_of(world_from_camera).T.astype(np.float32)
    return frame.cast(rays), rays[:, 5] / _lengths(camera)


def _image(words: npt.NDArray[np.uint32], camera: CameraModel) -> Image:
    return words.astype("<u4", copy=False).view(np.uint8).reshape(camera.height, camera.width, 4)


# --- air -------------------------------------------------------------------------------------------


def _sky(upward: npt.NDArray[np.float32], light: Daylight) -> npt.NDArray[np.uint32]:
    """From the horizon's colour to the zenith's, by the sine of the elevation."""
    share = np.linspace(0.0, 1.0, _SKY_STEPS)[:, None] ** 0.6
    ladder = pack(light.horizon + (light.zenith - light.horizon) * share)
    steps = np.clip(upward * _SKY_STEPS, 0, _SKY_STEPS - 1).astype(np.intp)
    colors: npt.NDArray[np.uint32] = ladder[steps]
    return colors


def _hazy(
    words: npt.NDArray[np.uint32], distance: npt.NDArray[np.float32], light: Daylight
) -> npt.NDArray[np.uint32]:
    """Blends towards the horizon's colour with the distance: red and blue in one word, then green."""
    ladder = (256 * (1.0 - np.exp(-np.arange(_HAZE_MAX_M + 1) / light.view_m))).astype(np.uint32)
    haze = ladder[np.minimum(distance, _HAZE_MAX_M).astype(np.uint16)]
    clear = np.uint32(256) - haze
    air = pack(light.horizon)
    mask = np.uint32(0x00FF00FF)
    red_blue = (words & mask) * clear + (air & mask) * haze
    green = (words >> 8 & np.uint32(0xFF)) * clear + (air >> 8 & np.uint32(0xFF)) * haze
    blended: npt.NDArray[np.uint32] = (red_blue >> 8 & mask) | (green & np.uint32(0xFF00)) | _OPAQUE
    return blended
