"""A town's lanes as one picture, drawn once and then looked up: each pixel's bits say what is there."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from carlad.telemetry import Lane, Lanes

cv2.setNumThreads(1)  # many environments draw side by side: threads of each on every core stall them all

ROAD, SHOULDER, SOLID, BROKEN = 1, 2, 4, 8
_BITS = {"driving": ROAD, "bidirectional": ROAD, "parking": ROAD, "shoulder": SHOULDER}
_MARK_BITS = {"solid": SOLID, "broken": BROKEN}
_MARK_WIDTH_M = 0.15
_SUBPIXEL_BITS = 4
PIXELS_MAX = 64_000_000  # bytes; of a larger town only a region is drawn


class Region(NamedTuple):
    """A part of the world, in CARLA's metres."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float

    def pixels(self, px_per_m: float) -> tuple[int, int]:
        """Width and height of its picture."""
        width, height = self.x_max - self.x_min, self.y_max - self.y_min
        return int(np.ceil(width * px_per_m)) + 1, int(np.ceil(height * px_per_m)) + 1


class Raster(NamedTuple):
    """`bits`: uint8 (H, W); pixel (0, 0) has its corner at the region's, columns go along x, rows along y."""

    bits: NDArray[np.uint8]
    x_min: float
    y_min: float
    px_per_m: float


def region_of(lanes: Lanes) -> Region:
    """The whole map."""
    points = np.concatenate([side for lane in lanes.lanes for side in (lane.left, lane.right)])
    (x_min, y_min), (x_max, y_max) = points.min(0).tolist(), points.max(0).tolist()
    return Region(x_min, y_min, x_max, y_max)


def around(points: NDArray[np.float64], margin_m: float) -> Region:
    """What lies within `margin_m` of the points (N, 2)."""
    (x_min, y_min), (x_max, y_max) = points.min(0).tolist(), points.max(0).tolist()
    return Region(x_min - margin_m, y_min - margin_m, x_max + margin_m, y_max + margin_m)


def draw(lanes: Lanes, region: Region, px_per_m: float) -> Raster:
    """The lanes in that region. Takes some tens of milliseconds for a town."""
    width, height = region.pixels(px_per_m)
    raster = Raster(np.zeros((height, width), np.uint8), region.x_min, region.y_min, px_per_m)
    layers = {bit: np.zeros_like(raster.bits) for bit in (ROAD, SHOULDER, SOLID, BROKEN)}
    for lane in lanes.lanes:
        if _is_in(lane, region):
            _draw_lane(layers, lane, raster)
    for bit, layer in layers.items():
        np.bitwise_or(raster.bits, layer * np.uint8(bit), out=raster.bits)
    return raster


def _draw_lane(layers: dict[int, NDArray[np.uint8]], lane: Lane, raster: Raster) -> None:
    left, right = _pixels(lane.left, raster), _pixels(lane.right, raster)
    if (bit := _BITS.get(lane.kind)) is not None:
        cv2.fillPoly(layers[bit], [np.concatenate([left, right[::-1]])], 1, cv2.LINE_8, _SUBPIXEL_BITS)
    width_px = max(1, round(_MARK_WIDTH_M * raster.px_per_m))
    for side, mark in ((left, lane.left_mark), (right, lane.right_mark)):
        if (bit := _MARK_BITS.get(mark)) is not None:
            cv2.polylines(layers[bit], [side], False, 1, width_px, cv2.LINE_8, _SUBPIXEL_BITS)


def _pixels(points: NDArray[np.float32], raster: Raster) -> NDArray[np.int32]:
    corner = np.array([raster.x_min, raster.y_min])
    scaled = (points - corner) * raster.px_per_m * (1 << _SUBPIXEL_BITS)
    pixels: NDArray[np.int32] = np.round(scaled).astype(np.int32)
    return pixels


def _is_in(lane: Lane, region: Region) -> bool:
    (x_min, y_min), (x_max, y_max) = lane.left.min(0), lane.left.max(0)
    return bool(
        x_min <= region.x_max and x_max >= region.x_min and y_min <= region.y_max and y_max >= region.y_min
    )
