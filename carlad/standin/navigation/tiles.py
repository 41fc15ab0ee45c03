"""Which tile of the file each polygon lies in. One tile is the rule: only huge maps need more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil, floor

from carlad.standin.navigation.convex import Polygon, is_sliver, split
from carlad.standin.navigation.mesh import WELD_M, Mesh
from carlad.standin.navigation.patchwork import Area

POLYGONS_MAX = 30_000  # of one tile: neighbour words have 15 bits for an index
TILE_M = 400.0
_MARGIN_M = 1.0
_FAR_M = 1e6

# Sides of a tile as neighbour words name them, by the step to the next column or row.
_SIDES = {(1, 0): 0, (0, 1): 2, (-1, 0): 4, (0, -1): 6}


@dataclass(frozen=True)
class Tile:
    """`polygons` are indices into the mesh; `portals[i]` is the side beyond which neighbour `i` lies."""

    column: int
    row: int
    polygons: tuple[int, ...]
    portals: dict[int, int]


@dataclass(frozen=True)
class Tiling:
    """Tiles of `width` (along x) by `depth` (along y) metres, counted from the corner at `x`, `y`."""

    x: float
    y: float
    width: float
    depth: float
    tiles: tuple[Tile, ...]


def whole(mesh: Mesh) -> Tiling:
    """One tile around everything."""
    x, y, _ = zip(*mesh.vertices, strict=True)
    left, top = min(x) - _MARGIN_M, min(y) - _MARGIN_M
    tile = Tile(0, 0, tuple(range(len(mesh.polygons))), {})
    return Tiling(left, top, max(x) + _MARGIN_M - left, max(y) + _MARGIN_M - top, (tile,))


def tiled(mesh: Mesh, tile_m: float = TILE_M) -> Tiling:
    """Square tiles; the mesh's polygons must have been cut at their lines."""
    x, y, _ = zip(*mesh.vertices, strict=True)
    left, top = floor(min(x) / tile_m), floor(min(y) / tile_m)
    places = [_place(mesh, polygon, tile_m) for polygon in range(len(mesh.polygons))]
    members: dict[tuple[int, int], list[int]] = defaultdict(list)
    for polygon, place in enumerate(places):
        members[place].append(polygon)
    tiles = tuple(
        Tile(place[0] - left, place[1] - top, tuple(own), _portals(mesh, own, places))
        for place, own in sorted(members.items())
    )
    return Tiling(left * tile_m, top * tile_m, tile_m, tile_m, tiles)


def cut(pieces: Iterable[tuple[Polygon, Area]], tile_m: float = TILE_M) -> Iterator[tuple[Polygon, Area]]:
    """The polygons cut along the tiles' lines; corners almost on a line are put on it."""
    for polygon, kind in pieces:
        for strip in _cut_along(_snapped(polygon, tile_m), 0, tile_m):
            for part in _cut_along(_snapped(strip, tile_m), 1, tile_m):
                if not is_sliver(snapped := _snapped(part, tile_m)):
                    yield snapped, kind


def _cut_along(rest: Polygon, axis: int, tile_m: float) -> Iterator[Polygon]:
    first = floor(min(point[axis] for point in rest) / tile_m) + 1
    last = ceil(max(point[axis] for point in rest) / tile_m)
    for k in range(first, last):
        # Each line runs so that what comes before it on the axis lies to its right.
        line = k * tile_m
        begin, end = ((line, -_FAR_M, 0.0), (line, _FAR_M, 0.0))
        if axis == 1:
            begin, end = ((_FAR_M, line, 0.0), (-_FAR_M, line, 0.0))
        before, rest = split(rest, begin, end)
        if before:
            yield before
    if rest:
        yield rest


def _snapped(polygon: Polygon, tile_m: float) -> Polygon:
    """Welding must not pull corners off a line, so none may lie close to one."""
    return tuple((_on_line(x, tile_m), _on_line(y, tile_m), z) for x, y, z in polygon)


def _on_line(coordinate: float, tile_m: float) -> float:
    line = round(coordinate / tile_m) * tile_m
    return line if abs(coordinate - line) <= WELD_M else coordinate


def _place(mesh: Mesh, polygon: int, tile_m: float) -> tuple[int, int]:
    """Column and row of the tile that a polygon's middle lies in, counted from the world's origin."""
    corners = [mesh.vertices[vertex] for vertex in mesh.polygons[polygon]]
    x = sum(corner[0] for corner in corners) / len(corners)
    y = sum(corner[1] for corner in corners) / len(corners)
    return floor(x / tile_m), floor(y / tile_m)


def _portals(mesh: Mesh, own: list[int], places: list[tuple[int, int]]) -> dict[int, int]:
    portals = {}
    for polygon in own:
        column, row = places[polygon]
        for beyond in mesh.neighbours[polygon]:
            if beyond is not None and places[beyond] != (column, row):
                step = places[beyond][0] - column, places[beyond][1] - row
                portals[beyond] = _SIDES[step]
    return portals
