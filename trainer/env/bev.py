"""The observation `bev`: a bird's-eye view of semantic masks, the vehicle looking up, from the map and
actors.

uint8 (C, size, size). A pixel's column grows to the vehicle's right, its row towards its back; the vehicle's
centre is `behind_px` rows above the lower edge, in the middle column. The ego vehicle is not drawn. Masks are
0 or 255 where nothing else is said. The layouts are those of their authors, drawn anew from their
descriptions.

`carl` (Jaeger et al. 2025): (10, 256, 256) at 2 px/m, 100 px behind.
0 road (driving, parking); 1 route; 2 lane markings, 255 solid, 127 broken; 3 vehicles and 4 walkers, 127 to
255 by speed from -2.67 to 33.33 m/s, with a line ahead as long as a second's way; 5 stop lines of the route's
lights, 80 green, 170 yellow, 255 red; 6 zones of stop signs on the route that have not been heeded; 7 speed
limit signs by the speed as vehicles; 8 static obstacles; 9 shoulders.

`roach` (Zhang et al. 2021): (15, 192, 192) at 5 px/m, 40 px behind.
0 road; 1 route; 2 lane markings, 255 solid, 120 broken; 3 to 6 vehicles 1.5, 1.0, 0.5 and 0 s ago; 7 to 10
walkers, twice as large; 11 to 14 stop lines of all lights (80, 170, 255) and the zones of stop signs (255).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.env.canvas import Boxes, Canvas, Mask, boxes_at, strokes_at
from trainer.env.layouts import Layout
from trainer.env.moment import Moment
from trainer.env.raster import BROKEN, ROAD, SHOULDER, SOLID, Raster
from trainer.env.signals import Light, RouteSignals, Signals, StopZone
from trainer.env.surroundings import STATIC, VEHICLE, WALKER, Others

Masks = NDArray[np.uint8]

_LIGHT_VALUES = {Light.GREEN: 80, Light.YELLOW: 170, Light.RED: 255}
_SPEED_MIN_MPS, _SPEED_MAX_MPS = -2.67, 33.33
_ROUTE_WIDTH_M = 3.1
_SIGN_HALF_SIZE_M = 1.0
_ROACH_WALKERS = 2.0
_ROACH_AGO_S = (1.5, 1.0, 0.5, 0.0)


class SpeedSign(NamedTuple):
    """A sign at the road, and the limit that it sets."""

    x: float
    y: float
    heading_rad: float
    limit_mps: float


class BirdsEyeView:
    """Draws one episode's views."""

    def __init__(
        self,
        view: Layout,
        raster: Raster,
        signals: Signals,
        on_route: RouteSignals,
        speed_signs: list[SpeedSign],
        step_s: float,
    ) -> None:
        """`raster` has to have the layout's resolution."""
        assert raster.px_per_m == view.px_per_m
        self.layout = view
        self._raster = raster
        self._signals = signals
        self._on_route = on_route
        self._lines = [line for _, line in on_route.lines] if view.name == "carl" else signals.lines
        self._strokes = strokes_at(self._lines)
        self._sign_values = _speed_values(np.array([sign.limit_mps for sign in speed_signs]))
        self._signs = _sign_boxes(speed_signs)
        self._ago = [round(ago_s / step_s) for ago_s in _ROACH_AGO_S]
        self._past: deque[_Traffic] = deque(maxlen=max(self._ago) + 1)

    def masks(self, moment: Moment) -> Masks:
        """The view of a moment; to be asked for each step, since a layout may look back."""
        masks = np.zeros(self.layout.shape, np.uint8)
        canvas = Canvas(self.layout, moment.ego)
        bits = canvas.warped(self._raster)
        cv2.LUT(bits, _ROADS, masks[0])
        cv2.LUT(bits, _MARKS[self.layout.name], masks[2])
        self._draw_route(canvas, masks[1], moment)
        if self.layout.name == "carl":
            self._draw_carl(canvas, masks, bits, moment)
        else:
            self._draw_roach(canvas, masks, moment)
        return masks

    def _draw_route(self, canvas: Canvas, mask: Mask, moment: Moment) -> None:
        first = max(int(moment.place.travelled_m), 0)
        xy = moment.route.xy[first : first + int(self.layout.reach_m) + 1]
        if len(xy) > 1:
            cv2.polylines(mask, [canvas.pixels(xy)], False, 255, canvas.width(_ROUTE_WIDTH_M))

    def _draw_carl(self, canvas: Canvas, masks: Masks, bits: Mask, moment: Moment) -> None:
        others = moment.others
        cv2.LUT(bits, _SHOULDERS, masks[9])
        if others.size:
            speed = np.hypot(others.vx, others.vy)
            near = canvas.near(others)
            for kind, mask in ((VEHICLE, masks[3]), (WALKER, masks[4])):
                chosen = near & (others.kinds == kind)
                values = _speed_values(speed[chosen])
                canvas.boxes(mask, others, chosen, 1.0, values)
                canvas.speed_lines(mask, others, chosen, speed[chosen], values)
            still = near & (others.kinds == STATIC)
            canvas.boxes(masks[8], others, still, 1.0, [255] * int(still.sum()))
        seen = canvas.seen(self._strokes.centres)
        lights = [_LIGHT_VALUES[self._signals.state(self._lines[i].light)] for i in seen]
        canvas.stop_lines(masks[5], self._strokes, seen, lights)
        for zone in self._zones_ahead(moment):
            canvas.zone(masks[6], zone, 255)
        signs = canvas.seen(self._signs.centres)
        canvas.still_boxes(masks[7], self._signs, signs, [self._sign_values[i] for i in signs])

    def _draw_roach(self, canvas: Canvas, masks: Masks, moment: Moment) -> None:
        lights = [_LIGHT_VALUES[self._signals.state(line.light)] for line in self._lines]
        self._past.append(_Traffic(moment.others, lights, self._zones_ahead(moment)))
        seen = canvas.seen(self._strokes.centres)
        for i, ago in enumerate(self._ago):
            then = self._past[max(len(self._past) - 1 - ago, 0)]
            others = then.others
            if others.size:
                near = canvas.near(others)
                for kind, scale, first in ((VEHICLE, 1.0, 3), (WALKER, _ROACH_WALKERS, 7)):
                    chosen = near & (others.kinds == kind)
                    canvas.boxes(masks[first + i], others, chosen, scale, [255] * int(chosen.sum()))
            canvas.stop_lines(masks[11 + i], self._strokes, seen, [then.lights[line] for line in seen])
            for zone in then.zones:
                canvas.zone(masks[11 + i], zone, 255)

    def _zones_ahead(self, moment: Moment) -> list[StopZone]:
        """The stop signs' on the route, from the next one on that has not been heeded."""
        first_m = moment.place.travelled_m + moment.ahead.stop_m - 1e-6
        return [zone for at_m, zone in self._on_route.zones if at_m >= first_m]


class _Traffic(NamedTuple):
    """What a layout that looks back has to remember of a step."""

    others: Others
    lights: list[int]
    """The values of all lines' lights."""
    zones: list[StopZone]


def _table(values: dict[int, int]) -> Mask:
    """What each of a raster pixel's bytes is in a mask: the value of the last bit that it has, else 0."""
    table = np.zeros(256, np.uint8)
    for bit, value in values.items():
        table[(np.arange(256) & bit) != 0] = value
    return table


_ROADS, _SHOULDERS = _table({ROAD: 255}), _table({SHOULDER: 255})
_MARKS = {"carl": _table({BROKEN: 127, SOLID: 255}), "roach": _table({BROKEN: 120, SOLID: 255})}


def _sign_boxes(signs: list[SpeedSign]) -> Boxes:
    return boxes_at(
        [(each.x, each.y, each.heading_rad, _SIGN_HALF_SIZE_M, _SIGN_HALF_SIZE_M) for each in signs]
    )


def _speed_values(speed_mps: NDArray[np.float64]) -> list[int]:
    share = (speed_mps - _SPEED_MIN_MPS) / (_SPEED_MAX_MPS - _SPEED_MIN_MPS)
    values: list[int] = (127 + np.clip(share, 0.0, 1.0) * 128).astype(int).tolist()
    return values


_COLOURS = {
    "carl": {
        9: (62, 58, 48), 0: (50, 54, 60), 1: (88, 104, 92), 2: (200, 200, 205), 7: (120, 120, 120),
        6: (200, 150, 40), 5: (230, 60, 60), 8: (220, 220, 210), 3: (90, 160, 250), 4: (250, 220, 90),
    },
    "roach": {
        0: (50, 54, 60), 1: (88, 104, 92), 2: (200, 200, 205), 14: (230, 60, 60), 3: (36, 64, 100),
        4: (48, 86, 134), 5: (60, 106, 168), 6: (90, 160, 250), 10: (250, 220, 90),
    },
}  # fmt: skip
_LIGHT_COLOURS = {80: (60, 200, 90), 170: (240, 200, 60), 255: (230, 60, 60)}


def picture(masks: Masks, view: Layout) -> NDArray[np.uint8]:
    """uint8 (size, size, 3), RGB: the masks over each other, for people."""
    image = np.zeros((view.size_px, view.size_px, 3), np.uint8)
    lights = 5 if view.name == "carl" else 14
    for channel, colour in _COLOURS[view.name].items():
        if channel == lights:
            for value, light_colour in _LIGHT_COLOURS.items():
                image[masks[channel] == value] = light_colour
        else:
            image[masks[channel] > 0] = colour
    return image
