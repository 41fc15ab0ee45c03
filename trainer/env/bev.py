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

import math
from collections import deque
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.env.config import BevConfig
from trainer.env.moment import Ego, Moment
from trainer.env.raster import BROKEN, ROAD, SHOULDER, SOLID, Raster
from trainer.env.signals import Light, RouteSignals, Signals, StopLine, StopZone
from trainer.env.surroundings import STATIC, VEHICLE, WALKER, Others

Mask = NDArray[np.uint8]
Masks = NDArray[np.uint8]

LAYERS = {
    "carl": (
        *("road", "route", "lane_markings", "vehicles", "walkers", "lights", "stop_signs", "speed_signs"),
        *("static", "shoulder"),
    ),
    "roach": (
        *("road", "route", "lane_markings"),
        *(
            f"{what}_{ago}"
            for what in ("vehicles", "walkers", "lights")
            for ago in ("1.5s", "1.0s", "0.5s", "now")
        ),
    ),
}
_LIGHT_VALUES = {Light.GREEN: 80, Light.YELLOW: 170, Light.RED: 255}
_SPEED_MIN_MPS, _SPEED_MAX_MPS = -2.67, 33.33
_ROUTE_WIDTH_M = 3.1
_STOP_LINE_WIDTH_M = 1.3
_HALF_SIZE_MIN_M = 0.8  # smaller boxes would be lost between pixels
_SIGN_HALF_SIZE_M = 1.0
_ROACH_WALKERS = 2.0
_ROACH_AGO_S = (1.5, 1.0, 0.5, 0.0)
_OFF_HALVES_PX = 1e-3  # where the pictures' pixels lie half a pixel apart, rounding would skip some
_CORNERS = np.array([(1, -1), (1, 1), (-1, 1), (-1, -1)], np.float64)


class Layout(NamedTuple):
    """A layout with its sizes."""

    name: str
    channels: int
    size_px: int
    px_per_m: float
    behind_px: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.size_px, self.size_px

    @property
    def reach_m(self) -> float:
        """How far from the vehicle there may be something to see."""
        ahead_px = max(self.size_px - self.behind_px, self.behind_px)
        return math.hypot(ahead_px, self.size_px / 2) / self.px_per_m


def layout(config: BevConfig) -> Layout:
    """The configured layout. Raises ValueError where the vehicle would be outside the picture."""
    known = {"carl": Layout("carl", 10, 256, 2.0, 100), "roach": Layout("roach", 15, 192, 5.0, 40)}
    chosen = known[config.layout]
    size = config.size_px or chosen.size_px
    behind = config.behind_px or round(chosen.behind_px * size / chosen.size_px)
    if behind >= size:
        raise ValueError(
            f"cannot use the environment's configuration: observe.bev.behind_px {behind} is not below the "
            f"size, {size}"
        )
    return chosen._replace(size_px=size, px_per_m=config.px_per_m or chosen.px_per_m, behind_px=behind)


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
        self._speed_signs = speed_signs
        self._ago = [round(ago_s / step_s) for ago_s in _ROACH_AGO_S]
        self._past: deque[_Traffic] = deque(maxlen=max(self._ago) + 1)

    def masks(self, moment: Moment) -> Masks:
        """The view of a moment; to be asked for each step, since a layout may look back."""
        masks = np.zeros(self.layout.shape, np.uint8)
        canvas = _Canvas(self.layout, moment.ego)
        bits = canvas.warped(self._raster)
        np.multiply(bits & ROAD, 255, out=masks[0])
        broken_value = 127 if self.layout.name == "carl" else 120
        masks[2] = _MARKS[broken_value][bits]
        self._draw_route(canvas, masks[1], moment)
        if self.layout.name == "carl":
            self._draw_carl(canvas, masks, bits, moment)
        else:
            self._draw_roach(canvas, masks, moment)
        return masks

    def _draw_route(self, canvas: _Canvas, mask: Mask, moment: Moment) -> None:
        first = max(int(moment.place.travelled_m), 0)
        xy = moment.route.xy[first : first + int(self.layout.reach_m) + 1]
        if len(xy) > 1:
            cv2.polylines(mask, [canvas.pixels(xy)], False, 255, canvas.width(_ROUTE_WIDTH_M))

    def _draw_carl(self, canvas: _Canvas, masks: Masks, bits: Mask, moment: Moment) -> None:
        others = moment.others
        masks[9][(bits & SHOULDER) != 0] = 255
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
        for _, line in self._on_route.lines:
            canvas.stop_line(masks[5], line, _LIGHT_VALUES[self._signals.state(line.light)])
        for zone in self._zones_ahead(moment):
            canvas.zone(masks[6], zone, 255)
        for sign in self._speed_signs:
            if canvas.sees(sign.x, sign.y):
                (value,) = _speed_values(np.array([sign.limit_mps]))
                box = sign.x, sign.y, sign.heading_rad, _SIGN_HALF_SIZE_M, _SIGN_HALF_SIZE_M
                canvas.box(masks[7], *box, value)

    def _draw_roach(self, canvas: _Canvas, masks: Masks, moment: Moment) -> None:
        lights = [(line, self._signals.state(line.light)) for line in self._signals.lines]
        self._past.append(_Traffic(moment.others, lights, self._zones_ahead(moment)))
        for i, ago in enumerate(self._ago):
            then = self._past[max(len(self._past) - 1 - ago, 0)]
            others = then.others
            if others.size:
                near = canvas.near(others)
                for kind, scale, first in ((VEHICLE, 1.0, 3), (WALKER, _ROACH_WALKERS, 7)):
                    chosen = near & (others.kinds == kind)
                    canvas.boxes(masks[first + i], others, chosen, scale, [255] * int(chosen.sum()))
            for line, light in then.lights:
                canvas.stop_line(masks[11 + i], line, _LIGHT_VALUES[light])
            for zone in then.zones:
                canvas.zone(masks[11 + i], zone, 255)

    def _zones_ahead(self, moment: Moment) -> list[StopZone]:
        """The stop signs' on the route, from the next one on that has not been heeded."""
        first_m = moment.place.travelled_m + moment.ahead.stop_m - 1e-6
        return [zone for at_m, zone in self._on_route.zones if at_m >= first_m]


class _Traffic(NamedTuple):
    """What a layout that looks back has to remember of a step."""

    others: Others
    lights: list[tuple[StopLine, Light]]
    zones: list[StopZone]


class _Canvas:
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

    def box(
        self,
        mask: Mask,
        x: float,
        y: float,
        yaw_rad: float,
        half_length: float,
        half_width: float,
        value: int,
    ) -> None:
        cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
        axes = np.array([(cos * half_length, sin * half_length), (-sin * half_width, cos * half_width)])
        cv2.fillConvexPoly(mask, self.pixels(_CORNERS @ axes + (x, y)), value)

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

    def stop_line(self, mask: Mask, line: StopLine, value: int) -> None:
        if self.sees(line.x, line.y):
            centre = np.array([line.x, line.y])
            right = np.array([-math.sin(line.heading_rad), math.cos(line.heading_rad)]) * line.half_width_m
            start, end = self.pixels(np.stack([centre - right, centre + right])).tolist()
            cv2.line(mask, start, end, value, self.width(_STOP_LINE_WIDTH_M))

    def zone(self, mask: Mask, zone: StopZone, value: int) -> None:
        if self.sees(zone.x, zone.y):
            sizes = zone.half_length_m, zone.half_width_m
            self.box(mask, zone.x, zone.y, zone.heading_rad, *sizes, value)


def _marks(broken_value: int) -> Mask:
    """A raster pixel's bits to a marking's value."""
    values = np.zeros(256, np.uint8)
    bits = np.arange(256)
    values[(bits & BROKEN) != 0] = broken_value
    values[(bits & SOLID) != 0] = 255
    return values


_MARKS = {value: _marks(value) for value in (120, 127)}


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
