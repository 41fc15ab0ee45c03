"""The street plan of a grid town: blocks between straight streets, and a ring around them.

The ring turns in arcs at the town's corners; where an inner street meets it there is a T junction,
elsewhere a four-way junction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from carlad.standin.towns.design.curves import Point
from carlad.standin.towns.design.network import Crossing, Link, Network, Street

Node = tuple[int, int]  # column and row of a crossing, from the south-west

LOCAL = Street(1, 1, speed_kmh=30)
ARTERIAL = Street(2, 2, speed_kmh=50)
RING = Street(1, 1, speed_kmh=40)


@dataclass(frozen=True)
class GridSpec:
    """Block lengths from west to east and from south to north, at least two of each.

    `arterial_columns` and `arterial_rows` name the inner streets that are wide (0 is the ring's).
    `corner_radius_m` is that of the ring's centre line at the town's corners, `south_west` the corner where
    its streets would meet.
    """

    name: str
    columns_m: tuple[float, ...]
    rows_m: tuple[float, ...]
    arterial_columns: frozenset[int] = frozenset()
    arterial_rows: frozenset[int] = frozenset()
    local: Street = LOCAL
    arterial: Street = ARTERIAL
    ring: Street = RING
    corner_radius_m: float = 18.0
    south_west: Point = (0.0, 0.0)

    def column(self, i: int) -> Street:
        """The street that runs north at crossing column `i`."""
        return self._street(i, len(self.columns_m), self.arterial_columns)

    def row(self, j: int) -> Street:
        """The street that runs east at crossing row `j`."""
        return self._street(j, len(self.rows_m), self.arterial_rows)

    def _street(self, index: int, last: int, arterials: frozenset[int]) -> Street:
        if index in (0, last):
            return self.ring
        return self.arterial if index in arterials else self.local


def network(spec: GridSpec) -> Network:
    """Raises ValueError where there are too few blocks."""
    if min(len(spec.columns_m), len(spec.rows_m)) < 2:
        raise ValueError(f"cannot plan {spec.name}: a grid town has at least 2 by 2 blocks")
    west, south = spec.south_west
    xs, ys = list(accumulate(spec.columns_m, initial=west)), list(accumulate(spec.rows_m, initial=south))
    corners = {(i, j) for i in (0, len(xs) - 1) for j in (0, len(ys) - 1)}
    nodes = [(i, j) for i in range(len(xs)) for j in range(len(ys)) if (i, j) not in corners]
    index = {node: number for number, node in enumerate(nodes)}
    return Network(
        name=spec.name,
        crossings=tuple(Crossing(xs[i], ys[j]) for i, j in nodes),
        links=(*_straights(spec, index), *_bends(spec, index, corners, xs, ys)),
    )


def _straights(spec: GridSpec, index: dict[Node, int]) -> Iterator[Link]:
    for (i, j), number in index.items():
        for far, street in (((i + 1, j), spec.row(j)), ((i, j + 1), spec.column(i))):
            if far in index:
                yield Link(number, index[far], street)


def _bends(
    spec: GridSpec, index: dict[Node, int], corners: set[Node], xs: list[float], ys: list[float]
) -> Iterator[Link]:
    """The ring at the corners, each from the crossing beside it in x to the one beside it in y."""
    for i, j in sorted(corners):
        beside_x = (i + 1 if i == 0 else i - 1, j)
        beside_y = (i, j + 1 if j == 0 else j - 1)
        yield Link(
            index[beside_x], index[beside_y], spec.ring, via=((xs[i], ys[j]),), radius_m=spec.corner_radius_m
        )
