from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carlad.standin.navigation.convex import (
    Polygon,
    area,
    convex_parts,
    hull,
    is_convex,
    ray_enters,
    split,
    subtract,
)

SQUARE: Polygon = ((0.0, 0.0, 0.0), (0.0, 10.0, 0.0), (10.0, 10.0, 0.0), (10.0, 0.0, 0.0))


def moved(polygon: Polygon, x: float, y: float) -> Polygon:
    return tuple((px + x, py + y, z) for px, py, z in polygon)


@st.composite
def convex_polygons(draw: st.DrawFn) -> Polygon:
    """Ellipses of 3 to 6 corners, some metres large."""
    count, turn = draw(st.integers(3, 6)), draw(st.floats(0.0, 6.3))
    x, y = draw(st.floats(-8.0, 8.0)), draw(st.floats(-8.0, 8.0))
    wide, deep = draw(st.floats(1.0, 9.0)), draw(st.floats(1.0, 9.0))
    angles = [turn - 2.0 * math.pi * k / count for k in range(count)]
    return tuple((x + wide * math.cos(a), y + deep * math.sin(a), 0.0) for a in angles)


def test_polygon_that_runs_counter_clockwise_from_above_has_a_positive_area() -> None:
    assert area(SQUARE) == pytest.approx(100.0)
    assert area(SQUARE[::-1]) == pytest.approx(-100.0)


@given(convex_polygons(), convex_polygons())
def test_difference_and_overlap_make_up_the_whole(subject: Polygon, other: Polygon) -> None:
    pieces = subtract(subject, other)
    assert all(is_convex(piece) for piece in pieces)
    overlap = common(subject, other)
    lost = area(subject) - sum(map(area, pieces))
    assert lost == pytest.approx(area(overlap) if overlap else 0.0, abs=1.0)  # slivers along the edges
    for piece in pieces if pieces != [subject] else []:
        rest = common(piece, other)
        assert not rest or area(rest) < 0.5


def common(subject: Polygon, other: Polygon) -> Polygon:
    """What two convex polygons have in common."""
    rest = subject
    for a, b in zip(other, (*other[1:], other[0]), strict=True):
        _, rest = split(rest, a, b)
        if not rest:
            return ()
    return rest


@given(convex_polygons(), st.floats(-5.0, 5.0), st.floats(0.0, 3.1))
def test_split_keeps_the_whole_area(polygon: Polygon, offset: float, angle: float) -> None:
    a = (offset * math.cos(angle), offset * math.sin(angle), 0.0)
    b = (a[0] + math.sin(angle), a[1] - math.cos(angle), 0.0)
    right, left = split(polygon, a, b)
    assert sum(area(part) for part in (right, left) if part) == pytest.approx(
        area(polygon), rel=0.02, abs=0.1
    )


def test_what_only_touches_is_left_alone() -> None:
    assert subtract(SQUARE, moved(SQUARE, 10.0, 3.0)) == [SQUARE]


def test_hole_in_the_middle_leaves_four_pieces() -> None:
    small = moved(tuple((0.4 * x, 0.4 * y, z) for x, y, z in SQUARE), 3.0, 3.0)
    pieces = subtract(SQUARE, small)
    assert len(pieces) == 4
    assert sum(map(area, pieces)) == pytest.approx(84.0)


def test_covered_polygon_leaves_nothing() -> None:
    small = moved(tuple((0.4 * x, 0.4 * y, z) for x, y, z in SQUARE), 3.0, 3.0)
    assert subtract(small, SQUARE) == []


def test_heights_go_along_with_a_cut() -> None:
    ramp = tuple((x, y, x / 10.0) for x, y, _ in SQUARE)
    for part in split(ramp, (4.0, -1.0, 0.0), (4.0, 11.0, 0.0)):
        assert all(z == pytest.approx(x / 10.0) for x, _, z in part)


def test_bow_tie_leaves_the_triangle_that_is_not_turned_over() -> None:
    inner, outer = ((0.0, 0.0, 0.0), (10.0, 0.0, 0.0)), ((7.0, -4.0, 0.0), (3.0, -4.0, 0.0))
    parts = convex_parts((inner[1], inner[0], outer[0], outer[1]))
    assert all(is_convex(part) for part in parts)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=12))
def test_hull_is_convex_and_holds_all_points(places: list[tuple[int, int]]) -> None:
    points = [(float(x), float(y), 0.0) for x, y in places]
    found = hull(points)
    if len(found) < 3 or area(found) == 0.0:
        return
    assert is_convex(found, 1e-9)
    for a, b in zip(found, (*found[1:], found[0]), strict=True):
        assert all((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) <= 1e-9 for p in points)


def test_ray_enters_where_it_meets_the_polygon() -> None:
    assert ray_enters(SQUARE, (-3.0, 5.0, 0.0), (1.0, 0.0)) == pytest.approx(3.0)
    assert ray_enters(SQUARE, (4.0, 5.0, 0.0), (1.0, 0.0)) == 0.0
    assert ray_enters(SQUARE, (-3.0, 5.0, 0.0), (-1.0, 0.0)) is None
    assert ray_enters(SQUARE, (-3.0, 11.0, 0.0), (1.0, 0.0)) is None
