"""Lines and dots drawn over a picture, behind what stands before them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from carlad.standin.drawings import Stroke
from carlad.standin.rendering.cameras import Image, look
from carlad.standin.rendering.geometry import FloatArray, location_of, rotation_of
from carlad.standin.rendering.pinhole import CameraModel
from carlad.standin.rendering.scene import Frame
from carlad.wire.types import Transform

_NEAR_M = 0.05
_WIDTH_MAX_PX = 64
_SINKING = 0.02  # a line this share of its distance inside a surface is still seen: it lies on the road
_SINKING_M = 0.05


def draw(
    image: Image, frame: Frame, camera: CameraModel, world_from_camera: Transform, strokes: Sequence[Stroke]
) -> Image:
    """`image` with the strokes over it; far ones are at least a pixel wide."""
    if not strokes:
        return image
    hits = look(frame, camera, world_from_camera)
    surface = hits.distance.reshape(camera.height, camera.width)
    drawn = image.copy()
    origin, turn = location_of(world_from_camera), rotation_of(world_from_camera)
    starts = (np.array([(s.start.x, s.start.y, s.start.z) for s in strokes]) - origin) @ turn
    ends = (np.array([(s.end.x, s.end.y, s.end.z) for s in strokes]) - origin) @ turn
    starts, ends, seen = _clipped(starts, ends, camera)
    for row in np.flatnonzero(seen).tolist():
        red, green, blue = strokes[row].color
        dots, depth = _dots(starts[row], ends[row], strokes[row].thickness_m, camera)
        x, y = dots.T
        before = depth <= surface[y, x] * (1.0 + _SINKING) + _SINKING_M
        drawn[y[before], x[before], :3] = blue & 255, green & 255, red & 255
    return drawn


def _clipped(
    starts: FloatArray, ends: FloatArray, camera: CameraModel
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """The parts of lines (N, 3), camera frame, inside the camera's pyramid, and which lines have one."""
    half = np.array((camera.width, camera.height)) / (2.0 * camera.focal_px)
    first, last = np.zeros(len(starts)), np.ones(len(starts))
    planes = [(1.0, 0.0, 0.0, -_NEAR_M)]
    planes += [(half[0], side, 0.0, 0.0) for side in (-1.0, 1.0)]
    planes += [(half[1], 0.0, side, 0.0) for side in (-1.0, 1.0)]
    for *normal, offset in planes:
        inside_start, inside_end = starts @ normal + offset, ends @ normal + offset
        run = inside_end - inside_start
        crossing = np.divide(-inside_start, run, out=np.zeros_like(run), where=run != 0.0)
        first = np.where((inside_start < 0.0) & (run > 0.0), np.maximum(first, crossing), first)
        last = np.where((inside_end < 0.0) & (run < 0.0), np.minimum(last, crossing), last)
        first = np.where((inside_start < 0.0) & (inside_end < 0.0), np.inf, first)
    seen = first <= last
    way = ends - starts
    start_share, end_share = np.where(seen, first, 0.0)[:, None], np.where(seen, last, 0.0)[:, None]
    return starts + start_share * way, starts + end_share * way, seen


def _dots(
    start: FloatArray, end: FloatArray, thickness_m: float, camera: CameraModel
) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Pixels (N, 2), column and row, that a line in the camera's frame covers, and its depth there."""
    focal = camera.focal_px
    middle = np.array((camera.width, camera.height)) / 2.0
    a, b = (middle + focal * np.array((p[1], -p[2])) / p[0] for p in (start, end))
    count = int(np.abs(b - a).max()) + 2
    share = np.linspace(0.0, 1.0, count)
    depth = 1.0 / ((1.0 - share) / start[0] + share / end[0])  # 1 / depth is linear in the image
    places = a + share[:, None] * (b - a)
    width = float(np.clip(abs(thickness_m) * focal / depth.min(), 1.0, _WIDTH_MAX_PX))
    offsets = np.arange(round(width)) - (round(width) - 1) / 2.0
    if len(offsets) == 1:
        dots = places
    else:
        columns, rows = np.meshgrid(offsets, offsets)
        brush = np.stack((columns.ravel(), rows.ravel()), axis=1)
        brush = brush[(brush**2).sum(axis=1) <= (width / 2.0) ** 2]
        apart = max(1, round(width / 4))
        places, depth = places[::apart], depth[::apart]
        dots = (places[:, None] + brush).reshape(-1, 2)
        depth = np.repeat(depth, len(brush))
    pixels = np.floor(dots).astype(np.intp)
    inside = ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(axis=1)
    return pixels[inside], depth[inside]
