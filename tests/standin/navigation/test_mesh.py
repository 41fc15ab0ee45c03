from __future__ import annotations

import itertools

import pytest

from carlad.standin.navigation.convex import Polygon
from carlad.standin.navigation.mesh import CORNERS_MAX, Mesh, joined
from carlad.standin.navigation.patchwork import Area, Patchwork


def box(x: float, y: float, wide: float, deep: float, z: float = 0.0) -> Polygon:
    """A rectangle from its least corner on, counter-clockwise from above."""
    return ((x, y, z), (x + wide, y, z), (x + wide, y + deep, z), (x, y + deep, z))[::-1]


def sidewalks(*polygons: Polygon) -> Mesh:
    return joined((polygon, Area.SIDEWALK) for polygon in polygons)


def known(mesh: Mesh) -> set[tuple[int, int]]:
    """Pairs of polygons that are neighbours, each the smaller index first."""
    return {
        (min(i, beyond), max(i, beyond))
        for i, own in enumerate(mesh.neighbours)
        for beyond in own
        if beyond is not None
    }


def test_polygons_that_share_an_edge_are_neighbours() -> None:
    mesh = sidewalks(box(0, 0, 4, 4), box(4, 0, 4, 4))
    assert known(mesh) == {(0, 1)}
    assert len(mesh.vertices) == 6


def test_corners_a_few_centimetres_apart_are_welded() -> None:
    assert known(sidewalks(box(0, 0, 4, 4), box(4.03, 0.02, 4, 4))) == {(0, 1)}


def test_storeys_are_not_welded() -> None:
    mesh = sidewalks(box(0, 0, 4, 4), box(4, 0, 4, 4, z=3.0))
    assert not known(mesh)
    assert len(mesh.vertices) == 8


def test_corner_on_an_edge_joins_both() -> None:
    mesh = sidewalks(box(0, 0, 10, 4), box(3, 4, 2, 5))
    assert known(mesh) == {(0, 1)}
    assert len(mesh.polygons[0]) == 6


def test_comb_is_joined_and_cut_to_six_corners() -> None:
    mesh = sidewalks(box(0, 0, 40, 4), *(box(4 * k + 1, 4, 2, 5) for k in range(9)))
    assert max(map(len, mesh.polygons)) <= CORNERS_MAX
    teeth = [i for i, corners in enumerate(mesh.polygons) if min(mesh.vertices[v][1] for v in corners) >= 4.0]
    assert len(teeth) == 9
    assert all(any(beyond is not None for beyond in mesh.neighbours[i]) for i in teeth)


def test_of_overlapping_polygons_the_larger_one_stays() -> None:
    mesh = sidewalks(box(0, 0, 4, 4), box(0, 0, 4, 6))
    assert len(mesh.polygons) == 1
    assert mesh.lost_m2 == pytest.approx(16.0)


def test_neighbours_know_each_other_by_the_same_edge() -> None:
    mesh = sidewalks(*(box(4 * i, 4 * j, 4, 4) for i, j in itertools.product(range(3), repeat=2)))
    for i, (corners, beyond) in enumerate(zip(mesh.polygons, mesh.neighbours, strict=True)):
        for k, other in enumerate(beyond):
            if other is not None:
                edge = corners[k], corners[(k + 1) % len(corners)]
                reverse = mesh.polygons[other].index(edge[1])
                assert mesh.polygons[other][(reverse + 1) % len(mesh.polygons[other])] == edge[0]
                assert mesh.neighbours[other][reverse] == i


def test_later_patch_gets_what_is_left() -> None:
    patchwork = Patchwork()
    patchwork.add(box(0, 0, 10, 2), Area.SIDEWALK)
    patchwork.add(box(4, -3, 2, 8), Area.CROSSWALK)
    mesh = joined((patch.polygon, patch.area) for patch in patchwork.patches)
    assert mesh.lost_m2 == 0.0
    assert [patch.area for patch in patchwork.patches] == [Area.SIDEWALK, Area.CROSSWALK, Area.CROSSWALK]
    assert all(any(beyond is not None for beyond in own) for own in mesh.neighbours)


def test_patches_of_another_storey_are_left_alone() -> None:
    patchwork = Patchwork()
    patchwork.add(box(0, 0, 10, 2), Area.SIDEWALK)
    patchwork.add(box(4, -3, 2, 8, z=5.0), Area.CROSSWALK)
    assert len(patchwork.patches) == 2


def test_reach_is_the_distance_to_the_first_patch_of_an_area() -> None:
    patchwork = Patchwork()
    patchwork.add(box(0, 5, 10, 2), Area.SIDEWALK)
    patchwork.add(box(0, 2, 10, 2), Area.ROAD)
    assert patchwork.reach((5.0, 1.0, 0.0), (0.0, 1.0), 6.0, Area.SIDEWALK) == pytest.approx(4.0)
    assert patchwork.reach((5.0, 1.0, 0.0), (0.0, 1.0), 3.0, Area.SIDEWALK) is None
    assert patchwork.reach((5.0, 1.0, 0.0), (0.0, -1.0), 6.0, Area.SIDEWALK) is None
