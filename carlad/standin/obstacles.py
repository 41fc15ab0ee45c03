"""What of a town stands in vehicles' way: houses, trees, posts of signs and lights, street lights' masts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import cos, radians, sin
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from carlad.standin.actors import Actor
from carlad.standin.collisions import Box, touching
from carlad.standin.kept import kept
from carlad.standin.motion.contacts import BOX
from carlad.standin.motion.kernels import kernels
from carlad.standin.street_lights import MAST_M, masts_of
from carlad.standin.towns import Town
from carlad.standin.vehicles import Vehicles
from carlad.wire import types as t
from carlad.wire.types import CityObjectLabel as Tag

if TYPE_CHECKING:
    from carlad.standin.rendering.buildings import House, Tree
    from carlad.standin.traffic_signs import TrafficSign

# The kinds of rendering/structures.py that are obstacles, which both have in the same order.
KINDS = ("Buildings", "Vegetation", "Pole", "StreetLight")
_POST_HALF_M = 0.07
_CELL_M = 20.0
_CELLS_MAX = 256  # in a row: the cells of a larger map are larger
_TOWNS_KEPT = 4
_plans: OrderedDict[str, tuple[Box, ...]] = OrderedDict()  # by their look, the latest last


@dataclass(frozen=True)
class Grid:
    """Which boxes reach into which square of the ground.

    frame: float64 (5,), lowest x and y, a square's side (m), squares in x, squares in y
    starts: int64 (squares + 1,), where each square's members begin
    members: int64 (...,), indices of boxes
    """

    frame: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]
    members: npt.NDArray[np.int64]


class Obstacles:
    """Those of one episode. `actors[k]` is what one runs into at `boxes[k]`.

    `rows` are the boxes as motion/contacts.py wants to have them.
    """

    def __init__(self, town: Town, signs: Sequence[TrafficSign], lights: Sequence[TrafficSign]) -> None:
        self.boxes = boxes_of(town)
        posts: list[Actor] = [*signs, *lights]
        still = len(self.boxes) - len(masts_of(town)) - len(posts)
        houses = sum(box.half_width > 1.0 for box in self.boxes[:still])
        self.actors: list[Actor] = [
            *(_still("static.building", Tag.BUILDINGS) for _ in range(houses)),
            *(_still("static.vegetation", Tag.VEGETATION) for _ in range(still - houses)),
            *posts,
            *(_still("static.pole", Tag.POLES) for _ in masts_of(town)),
        ]
        self.grid = _grid(self.boxes)
        self._all = np.array([(*box, box.radius) for box in self.boxes], np.float64).reshape(-1, BOX)
        self._hidden: frozenset[int] = frozenset()
        self.rows = self._all

    def in_the_way(self, box: Box) -> bool:
        """Whether a body would touch one of them."""
        apart = np.hypot(self.rows[:, 0] - box.x, self.rows[:, 1] - box.y)
        radii = self.rows[:, BOX - 1]
        near = np.flatnonzero((radii >= 0.0) & (apart < box.radius + radii))
        return any(touching(box, self.boxes[index]) for index in near.tolist())

    def meet(self, vehicles: Vehicles) -> npt.NDArray[np.float64]:
        """Push vehicles out of them, see `meet_obstacles` in motion/contacts.py."""
        grid = self.grid
        felt: npt.NDArray[np.float64] = kernels().meet_obstacles(
            vehicles.state, vehicles.car, vehicles.bodies, len(vehicles),
            self.rows, grid.frame, grid.starts, grid.members,
        )  # fmt: skip
        return felt

    def hide(self, hidden: frozenset[int]) -> None:
        """Have these, by index, in nobody's way, and all others back."""
        if hidden == self._hidden:
            return
        self._hidden = hidden
        self.rows = self._all.copy()
        self.rows[list(hidden), BOX - 1] = -1.0


def boxes_of(town: Town) -> tuple[Box, ...]:
    """Made once for a town: it takes some tenths of a second."""
    if town.look not in _plans:
        rows = kept("obstacles", town.look, lambda: {"boxes": np.array([*_things(town)])})["boxes"]
        _plans[town.look] = tuple(Box(*row) for row in rows.tolist())
        while len(_plans) > _TOWNS_KEPT:
            _plans.popitem(last=False)
    _plans.move_to_end(town.look)
    return _plans[town.look]


def _things(town: Town) -> Iterator[Box]:
    from carlad.standin.rendering import signals, signs  # imported at their first use: start-up must be quick
    from carlad.standin.rendering.buildings import planned
    from carlad.standin.rendering.lanes import lanes_of

    for thing in planned(town.name, list(lanes_of(town.map, town.xodr))):
        yield _built(thing)
    for posts, height in ((town.signs, signs.POST_M), (town.lights, signals.POST_M)):
        for post in posts:
            foot = post.pose.location
            yield _upright(foot.x, foot.y, foot.z, height)
    for mast in masts_of(town):
        yield _upright(mast.x, mast.y, mast.z, MAST_M)


def _built(thing: House | Tree) -> Box:
    from carlad.standin.rendering.buildings import TRUNK_M, House

    if not isinstance(thing, House):
        return _upright(thing.place.x, thing.place.y, thing.place.z, thing.trunk, TRUNK_M)
    lot, yaw = thing.lot, radians(thing.yaw_deg)
    middle, half = (thing.foot + thing.top) / 2, (thing.top - thing.foot) / 2
    return Box(lot.x, lot.y, middle, cos(yaw), sin(yaw), lot.half_length, lot.half_depth, half)


def _upright(x: float, y: float, z: float, height_m: float, half_m: float = _POST_HALF_M) -> Box:
    return Box(x, y, z + height_m / 2, 1.0, 0.0, half_m, half_m, height_m / 2)


def _still(type_id: str, tag: int) -> Actor:
    """As CARLA names what is no actor of the episode: by its tag, with id 0."""
    origin = t.Transform(t.Vector3D(), t.Rotation())
    nowhere = t.BoundingBox(t.Vector3D(), t.Vector3D(), t.Rotation(), 0)
    return Actor(0, t.ActorDescription(0, type_id, []), origin, nowhere, tag)


def _grid(boxes: Sequence[Box]) -> Grid:
    radii = [box.radius for box in boxes]
    low_x = min((box.x - radius for box, radius in zip(boxes, radii, strict=True)), default=0.0)
    low_y = min((box.y - radius for box, radius in zip(boxes, radii, strict=True)), default=0.0)
    high = max(
        (max(box.x - low_x, box.y - low_y) + r for box, r in zip(boxes, radii, strict=True)), default=1.0
    )
    side = max(_CELL_M, high / _CELLS_MAX)
    across = int(high / side) + 1
    squares: list[list[int]] = [[] for _ in range(across * across)]
    for index, (box, radius) in enumerate(zip(boxes, radii, strict=True)):
        for column in _span(box.x - low_x, radius, side):
            for row in _span(box.y - low_y, radius, side):
                squares[column * across + row].append(index)
    return Grid(
        np.array([low_x, low_y, side, across, across], np.float64),
        np.cumsum([0, *map(len, squares)], dtype=np.int64),
        np.array([index for square in squares for index in square], np.int64),
    )


def _span(middle: float, radius: float, side: float) -> Iterable[int]:
    return range(max(0, int((middle - radius) / side)), int((middle + radius) / side) + 1)
