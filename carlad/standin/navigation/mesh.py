"""Polygons that know their neighbours: vertices welded, edges matched, at most six corners each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import floor, hypot

from carlad.standin.navigation.convex import Point, Polygon, area, is_convex
from carlad.standin.navigation.patchwork import Area

CORNERS_MAX = 6  # of a Detour polygon
WELD_M = 0.1
_ON_EDGE_M = 0.03
_DENT_M = 0.04  # that a corner on an edge may make
_STOREY_M = 0.5
_CELL_M = 8.0
_AREA_MIN_M2 = 1e-3

Corners = tuple[int, ...]
Edge = tuple[int, int]


@dataclass(frozen=True)
class Mesh:
    """`polygons[i]` are indices into `vertices`, counter-clockwise from above, with `areas[i]`.

    `neighbours[i][k]` is the polygon beyond the edge from corner k to the next, None at the rim. `lost_m2` is
    the area of polygons that had to be left out because they overlapped others.
    """

    vertices: tuple[Point, ...]
    polygons: tuple[Corners, ...]
    areas: tuple[Area, ...]
    neighbours: tuple[tuple[int | None, ...], ...]
    lost_m2: float


def joined(pieces: Iterable[tuple[Polygon, Area]]) -> Mesh:
    """The mesh of polygons that share edges, or parts of edges."""
    weld = _Weld()
    welded = [(corners, kind) for polygon, kind in pieces if (corners := weld.corners(polygon))]
    vertices = weld.vertices
    loose = _unmatched(corners for corners, _ in welded)
    on_edges = _VerticesOnEdges(vertices, {vertex for edge in loose for vertex in edge})
    cut = [
        (part, kind)
        for corners, kind in welded
        for part in _cut(on_edges.inserted(corners, loose), vertices) or _cut(corners, vertices)
    ]
    kept = _without_overlaps(cut, vertices)
    owners = {edge: index for index, (corners, _) in enumerate(kept) for edge in _edges(corners)}
    return Mesh(
        vertices=tuple(vertices),
        polygons=tuple(corners for corners, _ in kept),
        areas=tuple(kind for _, kind in kept),
        neighbours=tuple(tuple(owners.get((b, a)) for a, b in _edges(corners)) for corners, _ in kept),
        lost_m2=sum(_area(part, vertices) for part, _ in cut)
        - sum(_area(part, vertices) for part, _ in kept),
    )


def _without_overlaps(
    polygons: list[tuple[Corners, Area]], vertices: list[Point]
) -> list[tuple[Corners, Area]]:
    """Only one of the polygons that have an edge in the same direction: the largest.

    Welding may turn a sliver onto its neighbour.
    """
    taken: set[Edge] = set()
    kept = []
    for index in sorted(range(len(polygons)), key=lambda i: -_area(polygons[i][0], vertices)):
        own = set(_edges(polygons[index][0]))
        if taken.isdisjoint(own):
            taken |= own
            kept.append(index)
    return [polygons[index] for index in sorted(kept)]


def _area(corners: Corners, vertices: list[Point]) -> float:
    return area([vertices[vertex] for vertex in corners])


def _edges(corners: Corners) -> Iterator[Edge]:
    return zip(corners, (*corners[1:], corners[0]), strict=True)


def _unmatched(polygons: Iterable[Corners]) -> set[Edge]:
    """Edges that no polygon has in the other direction."""
    all_edges = {edge for corners in polygons for edge in _edges(corners)}
    return {(a, b) for a, b in all_edges if (b, a) not in all_edges}


class _Weld:
    """Vertices, of which those closer than WELD_M and on one storey are one."""

    def __init__(self) -> None:
        self.vertices: list[Point] = []
        self._cells: dict[tuple[int, int], list[int]] = defaultdict(list)

    def corners(self, polygon: Polygon) -> Corners:
        """The polygon's vertices; empty where it has shrunk to nothing."""
        corners: list[int] = []
        for point in polygon:
            vertex = self._vertex(point)
            if vertex not in corners:
                corners.append(vertex)
        if len(corners) < 3 or _area(tuple(corners), self.vertices) < _AREA_MIN_M2:
            return ()
        return tuple(corners)

    def _vertex(self, point: Point) -> int:
        column, row = floor(point[0] / WELD_M), floor(point[1] / WELD_M)
        for cell in ((column + i, row + j) for i in (0, -1, 1) for j in (0, -1, 1)):
            for vertex in self._cells.get(cell, ()):
                if _are_one(self.vertices[vertex], point):
                    return vertex
        self.vertices.append(point)
        self._cells[column, row].append(len(self.vertices) - 1)
        return len(self.vertices) - 1


def _are_one(a: Point, b: Point) -> bool:
    return hypot(a[0] - b[0], a[1] - b[1]) <= WELD_M and abs(a[2] - b[2]) < _STOREY_M


class _VerticesOnEdges:
    """Finds the vertices that lie on another polygon's edge: T-junctions."""

    def __init__(self, vertices: list[Point], candidates: set[int]) -> None:
        self._vertices = vertices
        self._cells: dict[tuple[int, int], list[int]] = defaultdict(list)
        for vertex in sorted(candidates):
            x, y, _ = vertices[vertex]
            self._cells[floor(x / _CELL_M), floor(y / _CELL_M)].append(vertex)

    def inserted(self, corners: Corners, loose: set[Edge]) -> Corners:
        """The polygon with those vertices as corners of its loose edges."""
        longer: list[int] = []
        for edge in _edges(corners):
            longer.append(edge[0])
            if edge in loose:
                longer += (vertex for vertex in self._on(edge) if vertex not in corners)
        return tuple(dict.fromkeys(longer))

    def _on(self, edge: Edge) -> list[int]:
        """Vertices between the ends of an edge, in its direction."""
        a, b = self._vertices[edge[0]], self._vertices[edge[1]]
        columns = sorted((floor(a[0] / _CELL_M), floor(b[0] / _CELL_M)))
        rows = sorted((floor(a[1] / _CELL_M), floor(b[1] / _CELL_M)))
        found = []
        for column in range(columns[0] - 1, columns[1] + 2):
            for row in range(rows[0] - 1, rows[1] + 2):
                for vertex in self._cells.get((column, row), ()):
                    share = _share(self._vertices[vertex], a, b)
                    if share is not None:
                        found.append((share, vertex))
        return [vertex for _, vertex in sorted(found)]


def _share(point: Point, a: Point, b: Point) -> float | None:
    """How far along the edge from a to b a point lies, 0 to 1; None where it is not on it."""
    x, y = b[0] - a[0], b[1] - a[1]
    length = hypot(x, y)
    along = ((point[0] - a[0]) * x + (point[1] - a[1]) * y) / length
    if not 0.0 < along < length:
        return None
    if abs((point[0] - a[0]) * y - (point[1] - a[1]) * x) > _ON_EDGE_M * length:
        return None
    share = along / length
    return share if abs(a[2] + share * (b[2] - a[2]) - point[2]) < _STOREY_M else None


def _cut(corners: Corners, vertices: list[Point]) -> list[Corners]:
    """Convex parts of at most CORNERS_MAX corners, none of them flat; empty where there is no such cut."""
    if len(corners) <= CORNERS_MAX and is_convex([vertices[vertex] for vertex in corners], _DENT_M):
        return [corners]
    n = len(corners)
    cuts = [
        (max(len(one), len(other)), -min(sizes), one, other)
        for i, j in combinations(range(n), 2)
        if 1 < j - i < n - 1
        for one, other in [(corners[i : j + 1], corners[j:] + corners[: i + 1])]
        for sizes in [(_area(one, vertices), _area(other, vertices))]
        if min(sizes) > _AREA_MIN_M2
    ]
    if not cuts:
        return []
    _, _, one, other = min(cuts)
    halves = _cut(one, vertices), _cut(other, vertices)
    return halves[0] + halves[1] if all(halves) else []
