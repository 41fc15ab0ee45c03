"""A small picture of one driven episode from above: the route, and where the vehicle drove. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from carlad.telemetry import Actor, Bundle, Ego, Lanes

Points = Sequence[tuple[float, float]]
Colour = tuple[int, int, int]

SIZE_PX = 512
_FINER = 3  # drawn larger and made smaller, for smooth lines
_MARGIN_M, _SIDE_MIN_M = 12.0, 50.0
_FAST_MPS = 12.0  # drawn in the last colour
_GROUND, _ROAD, _ROUTE, _OTHERS, _EGO, _INK = (
    (236, 238, 240),
    (204, 208, 213),
    (70, 130, 220),
    (130, 130, 140),
    (20, 20, 20),
    (40, 40, 40),
)
_SLOW, _FAST = (200, 40, 40), (30, 150, 60)


class _View(NamedTuple):
    """Which square of the world is seen; north (-y in CARLA's frame) is up."""

    x: float
    y: float
    px_per_m: float

    def px(self, x: float, y: float) -> tuple[float, float]:
        return (x - self.x) * self.px_per_m, (y - self.y) * self.px_per_m


def draw(bundles: Sequence[Bundle], lanes: Lanes | None) -> NDArray[np.uint8]:
    """uint8 (SIZE_PX, SIZE_PX, 3), RGB, of an episode's bundles in their order; each has an ego.

    The route is blue; the driven way is red where it was slow and green where it was fast; others are where
    they were at the end.
    """
    egos = [bundle.ego for bundle in bundles if bundle.ego is not None]
    way = [(ego.x, ego.y) for ego in egos]
    view = _view([*way, *bundles[0].route])
    image = Image.new("RGB", (SIZE_PX * _FINER, SIZE_PX * _FINER), _GROUND)
    canvas = ImageDraw.Draw(image)
    for lane in lanes.lanes if lanes else ():
        outline = [view.px(float(x), float(y)) for x, y in (*lane.left, *lane.right[::-1])]
        if lane.kind == "driving":
            canvas.polygon(outline, fill=_ROAD)
    _line(canvas, view, bundles[0].route, _ROUTE, 1.2)
    for before, after in itertools.pairwise(egos):
        _line(canvas, view, [(before.x, before.y), (after.x, after.y)], _speed_colour(after.speed_mps), 0.8)
    for actor in bundles[-1].actors:
        canvas.polygon(_box(view, actor), fill=_OTHERS)
    canvas.polygon(_box(view, egos[-1]), fill=_EGO)
    small = image.resize((SIZE_PX, SIZE_PX), Image.Resampling.LANCZOS)
    _write(small, _caption(bundles[-1]))
    return np.asarray(small)


def _view(points: Points) -> _View:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    side_m = max(max(xs) - min(xs), max(ys) - min(ys), _SIDE_MIN_M) + 2 * _MARGIN_M
    left, top = (max(xs) + min(xs) - side_m) / 2, (max(ys) + min(ys) - side_m) / 2
    return _View(left, top, SIZE_PX * _FINER / side_m)


def _line(canvas: ImageDraw.ImageDraw, view: _View, points: Points, colour: Colour, width_m: float) -> None:
    if len(points) > 1:
        width = max(2, round(width_m * view.px_per_m))
        canvas.line([view.px(*point) for point in points], fill=colour, width=width, joint="curve")


def _box(view: _View, body: Ego | Actor) -> list[tuple[float, float]]:
    """The corners of a vehicle or walker on the ground."""
    cos, sin = math.cos(math.radians(body.yaw_deg)), math.sin(math.radians(body.yaw_deg))
    corners = []
    for ahead, aside in ((1, 1), (1, -1), (-1, -1), (-1, 1)):
        along_m, across_m = ahead * body.half_length_m, aside * body.half_width_m
        corners.append(
            view.px(body.x + cos * along_m - sin * across_m, body.y + sin * along_m + cos * across_m)
        )
    return corners


def _speed_colour(speed_mps: float) -> Colour:
    share = min(max(speed_mps / _FAST_MPS, 0.0), 1.0)
    red, green, blue = (round(slow + share * (fast - slow)) for slow, fast in zip(_SLOW, _FAST, strict=True))
    return red, green, blue


def _caption(last: Bundle) -> str:
    left_m = sum(math.dist(a, b) for a, b in itertools.pairwise(last.route))
    words = [f"{last.map.rpartition('/')[2]}, {last.session}", f"{last.tick} ticks", f"{left_m:.0f} m left"]
    return ", ".join([*words, f"return {last.episode_return:.1f}"])


def _write(image: Image.Image, text: str) -> None:
    ImageDraw.Draw(image).text((10, SIZE_PX - 24), text, fill=_INK, font=ImageFont.load_default(14))
