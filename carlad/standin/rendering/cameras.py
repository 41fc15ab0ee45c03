"""RGB, depth and semantic images of a frame: by OpenGL where that is faster, else by a ray for each pixel."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple

from carlad.standin.rendering.daylight import Daylight, daylight, pack, seen_from
from carlad.standin.rendering.geometry import FloatArray, location_of, rotation_of
from carlad.standin.rendering.pinhole import CameraModel
from carlad.standin.rendering.raster import Raster, has_graphics_card, raster
from carlad.standin.rendering.scene import Frame, Hits
from carlad.wire.types import Transform, WeatherParameters

Image = npt.NDArray[np.uint8]  # (H, W, 4): B, G, R, A

_FAR_M = 1000.0  # CARLA's depth images end here
_DEPTH_MAX = (1 << 24) - 1
_OPAQUE = np.uint32(0xFF000000)
_HAZE_MAX_M = 4095
_SKY_STEPS = 512
_CAMERAS_CACHED = 8  # grids of that many different sizes and fields of view are kept
_NEAR_M = 0.02
_SMALL_PX = 192 * 192  # below that rays are faster than OpenGL without a graphics card
# A box's corners are numbered by the signs of x, y and z as three bits: an edge joins two that differ in one.
_EDGES = [(a, b) for a in range(8) for b in range(a) if (a ^ b).bit_count() == 1]
_EDGE_TAILS, _EDGE_HEADS = np.array(_EDGES).T


def render_rgb(
    frame: Frame, camera: CameraModel, world_from_camera: Transform, weather: WeatherParameters
) -> Image:
    """Flat-shaded colours by the weather's sun, haze and sky."""
    light = seen_from(daylight(weather), world_from_camera.location.z - frame.static.heights_m[0])
    if (by := raster_for(camera)) is not None:
        palette = frame.still_palette(weather)
        pixels = by.colors(frame, camera, world_from_camera, palette, light, _HAZE_MAX_M, _SKY_STEPS)
        return image_of(pixels, camera)
    hits = look(frame, camera, world_from_camera)
    pixels = _hazy(frame.palette(weather)[hits.triangle], hits.distance, light)
    sky = np.flatnonzero(hits.triangle == frame.sky)
    pixels[sky] = _sky(_upward(camera, world_from_camera, sky), light)
    return image_of(pixels, camera)


def render_depth(frame: Frame, camera: CameraModel, world_from_camera: Transform) -> Image:
    """Distance along the camera's x axis: (R + 256 G + 65536 B) / (2^24 - 1) of 1000 m; the sky is 1000 m."""
    if (by := raster_for(camera)) is not None:
        return image_of(by.depth(frame, camera, world_from_camera, _FAR_M, _DEPTH_MAX), camera)
    hits = look(frame, camera, world_from_camera)
    # float32 holds every integer below 2^24.
    steps = np.minimum(hits.distance * np.float32(_DEPTH_MAX / _FAR_M), _DEPTH_MAX).astype(np.uint32)
    words = (steps & 0xFF) << 16 | (steps & 0xFF00) | steps >> 16 | _OPAQUE
    return image_of(words.astype(np.uint32), camera)


def render_semantic(frame: Frame, camera: CameraModel, world_from_camera: Transform) -> Image:
    """CityObjectLabel in R; G and B are 0."""
    words: npt.NDArray[np.uint32] = frame.tags.astype(np.uint32) << np.uint32(16) | _OPAQUE
    return labelled(frame, camera, world_from_camera, words)


def labelled(
    frame: Frame, camera: CameraModel, world_from_camera: Transform, words: npt.NDArray[np.uint32]
) -> Image:
    """In each pixel the word of its surface: `words` has one for each row of the frame's tables."""
    if (by := raster_for(camera)) is not None:
        return image_of(by.labels(frame, camera, world_from_camera, words), camera)
    return image_of(words[look(frame, camera, world_from_camera).triangle], camera)


# --- rays ------------------------------------------------------------------------------------------


@lru_cache(maxsize=_CAMERAS_CACHED)
def plane(camera: CameraModel) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Where the pixels' middles lie on the plane x = 1: y of each column, z of each row."""
    focal = camera.focal_px
    y = (np.arange(camera.width) + 0.5 - camera.width / 2) / focal
    z = -(np.arange(camera.height) + 0.5 - camera.height / 2) / focal
    return y.astype(np.float32), z.astype(np.float32)


def _upward(
    camera: CameraModel, world_from_camera: Transform, pixels: npt.NDArray[np.intp]
) -> npt.NDArray[np.floating]:
    """(N,), the sines of the elevations at which `pixels` look."""
    y, z = plane(camera)
    forward, right, up = rotation_of(world_from_camera)[2]
    column, row = y[pixels % camera.width], z[pixels // camera.width]
    sines: npt.NDArray[np.floating] = (forward + column * right + row * up) / np.sqrt(1 + column**2 + row**2)
    return sines


def look(frame: Frame, camera: CameraModel, world_from_camera: Transform) -> Hits:
    """What each pixel meets, and its distance along the camera's axis."""
    key = (camera, astuple(world_from_camera.location), astuple(world_from_camera.rotation))
    if (by := raster_for(camera)) is not None:
        return frame.once(key, lambda: Hits(*by.hits(frame, camera, world_from_camera)))
    return frame.once(key, lambda: _cast(frame, camera, world_from_camera))


def raster_for(camera: CameraModel) -> Raster | None:
    """What draws an image of that size faster than rays do."""
    if camera.width * camera.height < _SMALL_PX and not has_graphics_card():
        return None
    return raster()


def _cast(frame: Frame, camera: CameraModel, world_from_camera: Transform) -> Hits:
    origin, turn = location_of(world_from_camera), rotation_of(world_from_camera)
    forward, right, up = turn.T.astype(np.float32)
    y, z = plane(camera)
    rows = np.concatenate((np.tile(origin, (camera.height, 1)), forward + z[:, None] * up), axis=1)
    columns = np.concatenate((np.zeros((camera.width, 3)), y[:, None] * right), axis=1)
    grid = np.empty((camera.height, camera.width, 6), np.float32)
    grid[:] = rows[:, None]
    grid.reshape(camera.height, -1)[:] += columns.astype(np.float32).reshape(-1)  # long rows: numpy's pace
    rays = grid.reshape(-1, 6)
    return frame.cast(rays, _object_pixels(frame, camera, origin, turn))


def _object_pixels(
    frame: Frame, camera: CameraModel, origin: FloatArray, turn: FloatArray
) -> npt.NDArray[np.intp] | None:
    """Pixels inside the rectangles that the objects' boxes fill in the image; None for all of them."""
    covered = np.zeros((camera.height, camera.width), np.bool_)
    for left, right, top, bottom in _rectangles((frame.objects.corners - origin) @ turn, camera):
        covered[top:bottom, left:right] = True
    return None if covered.all() else np.flatnonzero(covered)


def _rectangles(corners: FloatArray, camera: CameraModel) -> list[list[int]]:
    """Pixel columns from, to and rows from, to of boxes (N, 8, 3) in the camera's frame, at least those."""
    tails, heads = corners[:, _EDGE_TAILS], corners[:, _EDGE_HEADS]
    run = heads[..., 0] - tails[..., 0]
    share = np.divide(_NEAR_M - tails[..., 0], run, out=np.full_like(run, -1.0), where=run != 0)
    cuts = tails + share[..., None] * (heads - tails)  # where edges pierce the plane x = near
    points = np.concatenate((corners, cuts), axis=1)
    valid = np.concatenate((corners[..., 0] > _NEAR_M, (share >= 0) & (share <= 1)), axis=1)
    ahead = np.where(valid, points[..., 0], np.inf)
    columns = _span(points[..., 1] / ahead, valid, camera.width, camera.focal_px)
    rows = _span(-points[..., 2] / ahead, valid, camera.height, camera.focal_px)
    visible = (columns[0] < columns[1]) & (rows[0] < rows[1])
    spans: list[list[int]] = np.stack((*columns, *rows), axis=1)[visible].tolist()
    return spans


def _span(
    slope: FloatArray, valid: npt.NDArray[np.bool_], size: int, focal: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First and one past the last pixel of each row of slopes (N, P), inside the image."""
    pixel = slope * focal + size / 2
    low = np.where(valid, pixel, np.inf).min(axis=1, initial=np.inf)
    high = np.where(valid, pixel, -np.inf).max(axis=1, initial=-np.inf)
    return np.clip(low - 1, 0, size).astype(np.int64), np.clip(high + 2, 0, size).astype(np.int64)


def image_of(words: npt.NDArray[np.uint32], camera: CameraModel) -> Image:
    return words.astype("<u4", copy=False).view(np.uint8).reshape(camera.height, camera.width, 4)


# --- air -------------------------------------------------------------------------------------------


def _sky(upward: npt.NDArray[np.floating], light: Daylight) -> npt.NDArray[np.uint32]:
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
