"""Convex polygons on the ground: areas, cuts and differences.

Points are (x, y, z) in CARLA's frame, metres, and polygons run counter-clockwise as seen from above, which in
that left-handed frame is a negative shoelace sum. Cuts follow vertical planes, so heights go along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import hypot

Point = tuple[float, float, float]
Polygon = tuple[Point, ...]

EPSILON_M = 0.02  # nearer to a line than this is on it
_SLIVER_M2 = 0.02
_SLIVER_WIDTH_M = 0.05
_PARALLEL = 1e-6


def area(polygon: Sequence[Point]) -> float:
    """m^2 on the ground; negative where the polygon runs clockwise as seen from above."""
    return -0.5 * sum(a[0] * b[1] - b[0] * a[1] for a, b in edges(polygon))


def edges(polygon: Sequence[Point]) -> Iterator[tuple[Point, Point]]:
    return zip(polygon, (*polygon[1:], polygon[0]), strict=True)


def is_sliver(polygon: Sequence[Point]) -> bool:
    """Whether nobody could stand on it: too small, too narrow, or turned over."""
    size = area(polygon)
    if size < _SLIVER_M2:
        return True
    around = sum(hypot(b[0] - a[0], b[1] - a[1]) for a, b in edges(polygon))
    return 2.0 * size / around < _SLIVER_WIDTH_M


def is_convex(polygon: Sequence[Point], dent_m: float = EPSILON_M) -> bool:
    """Whether it is not turned over, and no corner lies further than `dent_m` inside its neighbours' line."""
    n = len(polygon)
    return area(polygon) > 0.0 and all(
        _outside(polygon[i], polygon[i - 1], polygon[(i + 1) % n]) >= -dent_m for i in range(n)
    )


def convex_parts(quad: Polygon) -> list[Polygon]:
    """A quad or triangle where it is convex, else the triangles of the quad that are not turned over."""
    if is_sliver(quad):
        return []
    if is_convex(quad):
        return [quad]
    a, b, c, d = quad
    halves = max(((a, b, c), (a, c, d)), ((a, b, d), (b, c, d)), key=lambda pair: min(map(area, pair)))
    return [half for half in halves if not is_sliver(half)]


def hull(points: Sequence[Point]) -> Polygon:
    """The smallest convex polygon around points, counter-clockwise from above; fewer than 3 where there is
    none."""
    ordered = sorted(set(points))
    if len(ordered) < 3:
        return tuple(ordered)
    return (*_half_hull(ordered), *_half_hull(ordered[::-1]))


def _half_hull(ordered: Sequence[Point]) -> list[Point]:
    chain: list[Point] = []
    for point in ordered:
        while len(chain) > 1 and area((chain[-2], chain[-1], point)) <= 0.0:
            chain.pop()
        chain.append(point)
    return chain[:-1]


def subtract(subject: Polygon, other: Polygon) -> list[Polygon]:
    """Convex pieces of `subject` that lie outside `other`; [subject] where they hardly overlap."""
    outside: list[Polygon] = []
    rest: Polygon = subject
    for a, b in edges(other):
        beyond, rest = split(rest, a, b)
        if not rest:
            return [subject]
        if beyond:
            outside.append(beyond)
    if is_sliver(rest):
        return [subject]
    return [piece for piece in outside if not is_sliver(piece)]


def split(polygon: Polygon, a: Point, b: Point) -> tuple[Polygon, Polygon]:
    """What lies to the right of the line from a to b (as seen from above), and what to the left of it.

    Points within EPSILON_M of the line are on it. A side that has nothing is empty.
    """
    sides = [_outside(point, a, b) for point in polygon]
    if max(sides) <= EPSILON_M:
        return (), polygon
    if min(sides) >= -EPSILON_M:
        return polygon, ()
    right: list[Point] = []
    left: list[Point] = []
    for i, point in enumerate(polygon):
        side, next_side = sides[i], sides[(i + 1) % len(polygon)]
        if side >= -EPSILON_M:
            right.append(point)
        if side <= EPSILON_M:
            left.append(point)
        if min(side, next_side) < -EPSILON_M and max(side, next_side) > EPSILON_M:
            crossing = between(point, polygon[(i + 1) % len(polygon)], side / (side - next_side))
            right.append(crossing)
            left.append(crossing)
    return tuple(right), tuple(left)


def between(a: Point, b: Point, share: float) -> Point:
    """The point that lies `share` of the way from a to b."""
    return (
        a[0] + share * (b[0] - a[0]),
        a[1] + share * (b[1] - a[1]),
        a[2] + share * (b[2] - a[2]),
    )


def ray_enters(polygon: Polygon, origin: Point, direction: tuple[float, float]) -> float | None:
    """How far along `direction` (unit) a ray from `origin` meets the polygon, m; 0 where it starts inside."""
    enters, leaves = 0.0, float("inf")
    further = (origin[0] + direction[0], origin[1] + direction[1], origin[2])
    for a, b in edges(polygon):
        outside = _outside(origin, a, b)
        leaving = _outside(further, a, b) - outside  # m outwards for each metre of the ray
        if abs(leaving) < _PARALLEL:
            if outside > EPSILON_M:
                return None
        elif leaving < 0.0:
            enters = max(enters, outside / -leaving)
        else:
            leaves = min(leaves, -outside / leaving)
    return enters if enters < leaves else None


def _outside(point: Point, a: Point, b: Point) -> float:
    """How far a point lies to the right of the line from a to b as seen from above, m."""
    along_x, along_y = b[0] - a[0], b[1] - a[1]
    length = hypot(along_x, along_y) or 1.0
    return (along_x * (point[1] - a[1]) - along_y * (point[0] - a[0])) / length
