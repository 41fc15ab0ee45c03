"""The lanes as a picture: asphalt, verges and markings, drawn once for a neighbourhood and then reused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pygame
from numpy.typing import NDArray

from carlad.telemetry import Lane, Lanes
from viz import theme
from viz.view import ViewFromWorld

_MARGIN = 256  # px drawn around the view, so that a moving view reuses what is drawn already
_SMOOTHING = 2  # drawn so many times larger, then scaled down: smooth edges
_MARK_WIDTH_M = 0.15
_DASH_PERIOD_M = 6.0  # half of it painted
_MARKS_SCALE_MIN = 2.0  # px/m; farther out markings would only blur the lanes


class RoadLayer:
    """Blits the lanes of a view; draws them anew only when the view leaves what is drawn."""

    def __init__(self) -> None:
        self._lanes: Lanes | None = None
        self._view = ViewFromWorld()
        self._layer = pygame.Surface((0, 0))

    def blit(self, surface: pygame.Surface, view: ViewFromWorld, lanes: Lanes) -> None:
        """Draw the lanes onto `surface`, which is as large as the view."""
        if lanes is not self._lanes or view.scale != self._view.scale or not self._covers(view):
            self._lanes, self._view = lanes, _neighbourhood(view)
            self._layer = _drawn(lanes, self._view)
        surface.blit(self._layer, self._shift(view))

    def _shift(self, view: ViewFromWorld) -> tuple[int, int]:
        """Where the layer's corner lies in the view."""
        return view.offset[0] - self._view.offset[0], view.offset[1] - self._view.offset[1]

    def _covers(self, view: ViewFromWorld) -> bool:
        right, down = self._shift(view)
        width, height = self._layer.get_size()
        return view.width - width <= right <= 0 and view.height - height <= down <= 0


def _neighbourhood(view: ViewFromWorld) -> ViewFromWorld:
    """The view with a margin on each side, its centre on a whole pixel, its size even."""
    x, y = round(view.x * view.scale) / view.scale, round(view.y * view.scale) / view.scale
    width, height = (2 * (size // 2 + _MARGIN) for size in (view.width, view.height))
    return replace(view, x=x, y=y, width=width, height=height)


def _drawn(lanes: Lanes, view: ViewFromWorld) -> pygame.Surface:
    large = replace(
        view,
        scale=view.scale * _SMOOTHING,
        width=view.width * _SMOOTHING,
        height=view.height * _SMOOTHING,
    )
    canvas = pygame.Surface((large.width, large.height))
    canvas.fill(theme.GROUND)
    near = [lane for lane in lanes.lanes if theme.visible(canvas, large.points(_outline(lane)))]
    for lane in sorted(near, key=lambda lane: lane.kind == "driving"):  # asphalt covers what is beside it
        _draw_ground(canvas, large, lane)
    if view.scale >= _MARKS_SCALE_MIN:
        for lane in near:
            _draw_mark(canvas, large, lane.left, lane.left_mark)
            _draw_mark(canvas, large, lane.right, lane.right_mark)
    return pygame.transform.smoothscale(canvas, (view.width, view.height))


def _draw_ground(canvas: pygame.Surface, view: ViewFromWorld, lane: Lane) -> None:
    outline = view.points(_outline(lane)).tolist()
    colour = theme.ASPHALT if lane.kind == "driving" else theme.VERGE
    pygame.draw.polygon(canvas, colour, outline)
    pygame.draw.lines(canvas, colour, True, outline, 2)  # closes the seam between neighbours


def _outline(lane: Lane) -> NDArray[np.float32]:
    return np.concatenate([lane.left, lane.right[::-1]])


def _draw_mark(canvas: pygame.Surface, view: ViewFromWorld, boundary: NDArray[np.float32], mark: str) -> None:
    width = max(2, round(_MARK_WIDTH_M * view.scale))
    if mark == "solid":
        pygame.draw.lines(canvas, theme.MARKING, False, view.points(boundary).tolist(), width)
    elif mark == "broken":
        for dash in dashes(boundary):
            pygame.draw.lines(canvas, theme.MARKING, False, view.points(dash).tolist(), width)


def dashes(boundary: NDArray[np.float32]) -> NDArray[np.float64]:
    """Start and end (N, 2, 2) of the dashes along a polyline, in metres.

    They are the same from either end, so that the boundary of two lanes in opposite directions is one row.
    """
    steps = np.hypot(*np.diff(boundary, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    count = max(1, round(float(along[-1]) / _DASH_PERIOD_M))
    ends = (np.arange(count)[:, None] + [0.25, 0.75]) * (along[-1] / count)
    return np.stack([np.interp(ends, along, boundary[:, axis]) for axis in (0, 1)], axis=-1)
