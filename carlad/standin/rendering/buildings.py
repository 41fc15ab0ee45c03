"""Schematic houses and trees on the lots beside the roads, the same ones for the same map."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.lanes import Lane
from carlad.standin.rendering.mesh import Color, Mesh, box, join, quads, uniform, up, yaw_matrix
from carlad.standin.towns.files import TWIN
from carlad.wire.types import CityObjectLabel as Tag

_FACADES: tuple[Color, ...] = (
    (188, 160, 132), (168, 112, 92), (206, 196, 176), (150, 152, 156), (196, 178, 140), (134, 118, 110),
    (178, 186, 190), (158, 132, 112),
)  # fmt: skip
_ROOF: Color = (92, 88, 86)
_GLASS: tuple[Color, ...] = ((62, 78, 94), (76, 92, 106), (52, 64, 78))
_BARK: Color = (92, 72, 54)
_LEAVES: tuple[Color, ...] = ((70, 106, 52), (82, 118, 58), (62, 94, 56), (96, 122, 62))

_FLOOR_M = 3.2
_WINDOW_M = (1.5, 1.6)  # width, height
_WINDOW_PITCH_M = 3.0
_GLASS_RELIEF_M = 0.03
_FRONT_GARDEN_M = 4.0
_TREE_GAP_M = 17.0
_RAISED_M = 4.0  # beside higher roads, which are bridges, is nothing
_CLEARANCE_M = 1.0  # between a lot and any lane
TRUNK_M = 0.13  # half of what a trunk measures across


@dataclass(frozen=True)
class _Lot:
    """An upright rectangle; `yaw_deg` is the direction of the road beside it."""

    x: float
    y: float
    z: float
    yaw_deg: float
    half_length: float
    half_depth: float


@dataclass(frozen=True)
class House:
    """From `foot` to `top` (m, world), with so many floors."""

    lot: _Lot
    foot: float
    top: float
    floors: int
    facade: Color
    glass: Color

    @property
    def yaw_deg(self) -> float:
        return self.lot.yaw_deg

    @classmethod
    def on(cls, lot: _Lot, bottom: float, chance: random.Random) -> House:
        """Beside a raised road it stands on a foundation that reaches down to the country's level."""
        floors = chance.choice((2, 2, 3, 3, 4, 5, 7))
        facade, glass = chance.choice(_FACADES), chance.choice(_GLASS)
        return cls(lot, bottom - 0.2, lot.z + floors * _FLOOR_M + 0.8, floors, facade, glass)


@dataclass(frozen=True)
class Tree:
    """`trunk`: its height; `crown`: its radius (m); the crown is `stretch` times as high as wide."""

    place: _Lot
    bottom: float
    trunk: float
    crown: float
    stretch: float
    turn_deg: float
    leaves: Color
    yaw_deg = 0.0

    @classmethod
    def at(cls, place: _Lot, bottom: float, chance: random.Random) -> Tree:
        trunk, crown = chance.uniform(1.6, 2.4), chance.uniform(1.5, 2.3)
        stretch, turn = chance.uniform(1.0, 1.35), chance.uniform(0.0, 72.0)
        return cls(place, bottom, trunk, crown, stretch, turn, chance.choice(_LEAVES))


class _Ground:
    """What is taken: discs (x, y, radius), from roads and from what was built before."""

    def __init__(self, lanes: Iterable[Lane]) -> None:
        self._discs = np.concatenate([_lane_discs(lane) for lane in lanes])
        self._widest = float(self._discs[:, 2].max())

    def is_free(self, lot: _Lot) -> bool:
        reach = math.hypot(lot.half_length, lot.half_depth) + self._widest
        x, y, radius = self._discs[np.abs(self._discs[:, 0] - lot.x) < reach].T
        c, s = math.cos(math.radians(lot.yaw_deg)), math.sin(math.radians(lot.yaw_deg))
        along, across = (x - lot.x) * c + (y - lot.y) * s, (y - lot.y) * c - (x - lot.x) * s
        inside = (np.abs(along) < lot.half_length + radius) & (np.abs(across) < lot.half_depth + radius)
        return not inside.any()

    def take(self, lot: _Lot) -> None:
        """Covers the lot with discs of 2 m."""
        along, across = np.meshgrid(
            np.linspace(-lot.half_length, lot.half_length, math.ceil(lot.half_length) + 1),
            np.linspace(-lot.half_depth, lot.half_depth, math.ceil(lot.half_depth) + 1),
        )
        flat = np.stack((along.ravel(), across.ravel(), np.zeros(along.size)), axis=1)
        discs = flat @ yaw_matrix(lot.yaw_deg).T + (lot.x, lot.y, 2.0)
        self._discs = np.concatenate((self._discs, discs))


def neighbourhood(plan: Iterable[House | Tree]) -> Iterator[tuple[Mesh, float]]:
    """Each house and tree, and its yaw in degrees."""
    for thing in plan:
        yield join(_house(thing) if isinstance(thing, House) else _tree(thing)), thing.yaw_deg


def planned(map_name: str, lanes: Sequence[Lane]) -> Iterator[House | Tree]:
    """Houses and trees along the outer border of every road outside junctions."""
    chance = random.Random(zlib.crc32(map_name.removesuffix(TWIN).encode()))
    ground = _Ground(lanes)
    borders = list(_outer_borders(lanes))
    bottom = min(float(lane.center[:, 2].min()) for lane in lanes)
    for lane in borders:
        for lot in _lots(lane, chance):
            if lot.z - bottom < _RAISED_M and ground.is_free(lot):
                ground.take(lot)
                yield House.on(lot, bottom, chance)
    for lane in borders:
        for place in _tree_places(lane, chance):
            if place.z - bottom < _RAISED_M and ground.is_free(place):
                yield Tree.at(place, bottom, chance)


def _lane_discs(lane: Lane) -> npt.NDArray[np.float64]:
    """(n, 3): a disc as wide as the lane at every other metre."""
    radius = np.linalg.norm(lane.right - lane.left, axis=1, keepdims=True) / 2 + _CLEARANCE_M
    return np.concatenate((lane.center[:, :2], radius), axis=1)[::2]


def _outer_borders(lanes: Iterable[Lane]) -> Iterator[Lane]:
    """The outermost lane on each side of each road, in the order of the roads."""
    outermost: dict[tuple[int, bool], Lane] = {}
    for lane in lanes:
        if lane.junction is None:
            side = (lane.road_id, lane.lane_id > 0)
            if side not in outermost or abs(lane.lane_id) >= abs(outermost[side].lane_id):
                outermost[side] = lane
    yield from outermost.values()


# --- lots ------------------------------------------------------------------------------------------


def _lots(lane: Lane, chance: random.Random) -> Iterator[_Lot]:
    """Lots of 12 to 22 m frontage, one beside the other along the lane's right border."""
    station = chance.uniform(0.0, 3.0)
    while True:
        half_length = chance.uniform(6.0, 11.0)
        middle = int(station + half_length)
        if middle >= len(lane.right):
            return
        half_depth = chance.uniform(5.0, 8.0)
        yield _beside(lane, middle, _FRONT_GARDEN_M + half_depth, half_length, half_depth)
        station += 2 * half_length + chance.choice((0.5, 0.5, 2.5, 9.0))


def _tree_places(lane: Lane, chance: random.Random) -> Iterator[_Lot]:
    station = chance.uniform(2.0, _TREE_GAP_M)
    while station < len(lane.right):
        yield _beside(lane, int(station), 2.0 + chance.uniform(0.0, 0.6), 0.5, 0.5)
        station += _TREE_GAP_M * chance.uniform(0.6, 1.5)


def _beside(lane: Lane, index: int, distance_m: float, half_length: float, half_depth: float) -> _Lot:
    """A lot whose middle lies `distance_m` right of the lane's border."""
    aside = lane.aside[index]
    x, y, z = lane.right[index] + aside * distance_m
    yaw_deg = math.degrees(math.atan2(-aside[0], aside[1]))
    return _Lot(float(x), float(y), float(z), yaw_deg, half_length, half_depth)


# --- houses ----------------------------------------------------------------------------------------


def _house(house: House) -> Iterator[Mesh]:
    lot, middle = house.lot, (house.foot + house.top) / 2
    extent = (lot.half_length, lot.half_depth, (house.top - house.foot) / 2)
    yield box((lot.x, lot.y, middle), extent, lot.yaw_deg, Tag.BUILDINGS, house.facade)
    roof = (lot.x, lot.y, house.top)
    yield box(roof, (lot.half_length - 0.4, lot.half_depth - 0.4, 0.5), lot.yaw_deg, Tag.BUILDINGS, _ROOF)
    panes = np.array([*_panes(lot.half_length, lot.half_depth, house.floors)])
    yield quads(panes @ yaw_matrix(lot.yaw_deg).T + (lot.x, lot.y, lot.z), Tag.BUILDINGS, house.glass)


def _panes(half_length: float, half_depth: float, floors: int) -> Iterator[npt.NDArray[np.float64]]:
    """Windows (4, 3) of the four walls of a house, in the house's frame, facing outwards."""
    for quarter in range(4):
        reach, width = (half_depth, half_length) if quarter % 2 else (half_length, half_depth)
        turn = yaw_matrix(90.0 * quarter).T
        columns = max(1, int(2 * width / _WINDOW_PITCH_M))
        for column in range(columns):
            middle = (column + 0.5) * 2 * width / columns - width
            for floor in range(floors):
                yield _pane(reach + _GLASS_RELIEF_M, middle, (floor + 0.55) * _FLOOR_M) @ turn


def _pane(x: float, y: float, z: float) -> npt.NDArray[np.float64]:
    w, h = _WINDOW_M[0] / 2, _WINDOW_M[1] / 2
    return np.array(((x, y - w, z - h), (x, y + w, z - h), (x, y + w, z + h), (x, y - w, z + h)))


# --- trees -----------------------------------------------------------------------------------------


def _tree(tree: Tree) -> Iterator[Mesh]:
    place = tree.place
    foot = np.array((place.x, place.y, place.z))
    half = (place.z + tree.trunk - tree.bottom) / 2
    yield box(foot + up(tree.trunk - half), (TRUNK_M, TRUNK_M, half), 0.0, Tag.VEGETATION, _BARK)
    radii = np.array((tree.crown, tree.crown, tree.crown * tree.stretch))
    turned = _ICOSAHEDRON @ yaw_matrix(tree.turn_deg).T
    middle = foot + up(tree.trunk + 0.8 * float(radii[2]))
    yield uniform(turned * radii + middle, Tag.VEGETATION, tree.leaves)


def _icosahedron() -> npt.NDArray[np.float64]:
    """(20, 3, 3): unit icosahedron with a corner at the top, facing outwards."""
    ring = [
        (math.cos(math.radians(angle)) * 2 / math.sqrt(5), math.sin(math.radians(angle)) * 2 / math.sqrt(5))
        for angle in range(0, 360, 36)
    ]
    upper = [np.array((x, y, 1 / math.sqrt(5))) for x, y in ring[0::2]]
    lower = [np.array((x, y, -1 / math.sqrt(5))) for x, y in ring[1::2]]
    top, bottom = np.array((0.0, 0.0, 1.0)), np.array((0.0, 0.0, -1.0))
    faces = []
    for k in range(5):
        nxt = (k + 1) % 5
        faces += [
            (top, upper[k], upper[nxt]),
            (upper[k], lower[k], upper[nxt]),
            (lower[k], lower[nxt], upper[nxt]),
            (bottom, lower[nxt], lower[k]),
        ]
    return np.array(faces)


_ICOSAHEDRON = _icosahedron()
