"""Draws things of the world into the channels of one bird's-eye view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.env.layouts import Layout
from trainer.env.moment import Ego
from trainer.env.raster import Raster
from trainer.env.signals import StopLine, StopZone
from trainer.env.surroundings import Others

Mask = NDArray[np.uint8]
Points = NDArray[np.float64]

_STOP_LINE_WIDTH_M = 1.3
_HALF_SIZE_MIN_M = 0.8  # smaller boxes would be lost between pixels
_OFF_HALVES_PX = 1e-3  # where the pictures' pixels lie half a pixel apart, rounding would skip some
_CORNERS = np.array([(1, -1), (1, 1), (-1, 1), (-1, -1)], np.float64)


class Boxes(NamedTuple):
    """N boxes that stay where they are, in the world."""

    centres: Points
    """(N, 2)"""
    corners: Points
    """(N, 4, 2)"""


class Strokes(NamedTuple):
    """N lines that stay where they are, in the world."""

    centres: Points
    """(N, 2)"""
    ends: Points
    """(N, 2, 2)"""


def boxes_at(places: Sequence[tuple[float, float, float, float, float]]) -> Boxes:
    """Of each x, y, heading, half length and half width."""
    centres = np.array([place[:2] for place in places], np.float64).reshape(-1, 2)
    return Boxes(centres, np.array([_corners(*place) for place in places]).reshape(-1, 4, 2))


def strokes_at(lines: Sequence[StopLine]) -> Strokes:
    """Across their lanes."""
    centres = np.array([(line.x, line.y) for line in lines], np.float64).reshape(-1, 2)
    across = [(-math.sin(line.heading_rad), math.cos(line.heading_rad)) for line in lines]
    half = np.array([line.half_width_m for line in lines]).reshape(-1, 1)
    right = np.array(across, np.float64).reshape(-1, 2) * half
    return Strokes(centres, np.stack([centres - right, centres + right], 1))


def _corners(x: float, y: float, yaw_rad: float, half_length: float, half_width: float) -> Points:
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    axes = np.array([(cos * half_length, sin * half_length), (-sin * half_width, cos * half_width)])
    corners: Points = _CORNERS @ axes + (x, y)
    return corners


class Canvas:
    """Draws world things into one view."""

    def __init__(self, view: Layout, ego: Ego) -> None:
        self._layout = view
        self._x, self._y = ego.x, ego.y
        scale = view.px_per_m
        cos, sin = math.cos(ego.yaw_rad) * scale, math.sin(ego.yaw_rad) * scale
        middle, bottom = view.size_px / 2, view.size_px - view.behind_px
        self.view_from_world = np.array(  # column, row from x, y, 1
            [
                [-sin, cos, middle + sin * ego.x - cos * ego.y],
                [-cos, -sin, bottom + cos * ego.x + sin * ego.y],
            ]
        )
        self._reach_m2 = view.reach_m**2

    def warped(self, raster: Raster) -> Mask:
        """The raster's bits as the view sees them."""
        to_view = self.view_from_world.copy()
        to_view[:, 2] += to_view[:, :2] @ (raster.x_min, raster.y_min)
        to_view[:, :2] /= raster.px_per_m
        to_view[:, 2] += _OFF_HALVES_PX
        size = self._layout.size_px, self._layout.size_px
        return np.asarray(cv2.warpAffine(raster.bits, to_view, size, flags=cv2.INTER_NEAREST), np.uint8)

    def pixels(self, xy: NDArray[np.float64]) -> NDArray[np.int32]:
        """World points (..., 2) as columns and rows."""
        matrix = self.view_from_world
        placed: NDArray[np.int32] = np.round(xy @ matrix[:, :2].T + matrix[:, 2]).astype(np.int32)
        return placed

    def width(self, metres: float) -> int:
        return max(1, round(metres * self._layout.px_per_m))

    def sees(self, x: float, y: float) -> bool:
        return (x - self._x) ** 2 + (y - self._y) ** 2 < self._reach_m2

    def seen(self, centres: Points) -> list[int]:
        """Which of the places (N, 2) are near enough."""
        away = centres - (self._x, self._y)
        found: list[int] = np.flatnonzero((away * away).sum(1) < self._reach_m2).tolist()
        return found

    def near(self, others: Others) -> NDArray[np.bool_]:
        seen: NDArray[np.bool_] = (others.x - self._x) ** 2 + (others.y - self._y) ** 2 < self._reach_m2
        return seen

    def boxes(self, mask: Mask, others: Others, chosen: NDArray[np.bool_], scale: float, values: Any) -> None:
        length = np.maximum(others.half_length_m[chosen] * scale, _HALF_SIZE_MIN_M)
        width = np.maximum(others.half_width_m[chosen] * scale, _HALF_SIZE_MIN_M)
        cos, sin = np.cos(others.yaw_rad[chosen]), np.sin(others.yaw_rad[chosen])
        forward = _CORNERS[None, :, 0] * length[:, None]
        right = _CORNERS[None, :, 1] * width[:, None]
        x = others.x[chosen, None] + cos[:, None] * forward - sin[:, None] * right
        y = others.y[chosen, None] + sin[:, None] * forward + cos[:, None] * right
        for corners, value in zip(self.pixels(np.stack([x, y], axis=2)), values, strict=True):
            cv2.fillConvexPoly(mask, corners, value)

    def still_boxes(self, mask: Mask, boxes: Boxes, chosen: list[int], values: Sequence[int]) -> None:
        """The chosen ones, each in its value."""
        if chosen:
            for corners, value in zip(self.pixels(boxes.corners[chosen]), values, strict=True):
                cv2.fillConvexPoly(mask, corners, value)

    def speed_lines(
        self, mask: Mask, others: Others, chosen: NDArray[np.bool_], speed: NDArray[np.float64], values: Any
    ) -> None:
        """From each box's front as far as it goes in a second."""
        direction = np.stack([np.cos(others.yaw_rad[chosen]), np.sin(others.yaw_rad[chosen])], axis=1)
        centre = np.stack([others.x[chosen], others.y[chosen]], axis=1)
        front = centre + direction * others.half_length_m[chosen, None]
        tip = front + direction * np.maximum(speed, 1.0 / self._layout.px_per_m)[:, None]
        for start, end, value in zip(self.pixels(front), self.pixels(tip), values, strict=True):
            cv2.line(mask, start.tolist(), end.tolist(), value, 1)

    def stop_lines(self, mask: Mask, strokes: Strokes, chosen: list[int], values: Sequence[int]) -> None:
        """The chosen ones, each in its value."""
        if chosen:
            width = self.width(_STOP_LINE_WIDTH_M)
            ends = self.pixels(strokes.ends[chosen]).tolist()
            for (start, end), value in zip(ends, values, strict=True):
                cv2.line(mask, start, end, value, width)

    def zone(self, mask: Mask, zone: StopZone, value: int) -> None:
        if self.sees(zone.x, zone.y):
            sizes = zone.half_length_m, zone.half_width_m
            corners = _corners(zone.x, zone.y, zone.heading_rad, *sizes)
            cv2.fillConvexPoly(mask, self.pixels(corners), value)
