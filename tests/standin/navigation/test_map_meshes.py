"""Meshes of whole maps: the towns, and hand-written streets that curve, climb and cross."""

from __future__ import annotations

import math

import carla
import pytest

from carlad.standin import navigation, towns
from carlad.standin.navigation.check import checked
from carlad.standin.navigation.patchwork import Area
from tests.standin.navigation import maps
from tests.standin.navigation.maps import INSET_M, LANE_M, PAVEMENT_M, Ground, islands, mesh_of

TOWNS = sorted({name.rpartition("/")[2].removesuffix("_Opt") for name in towns.available()})
_WALKED_M = PAVEMENT_M - 2 * INSET_M


@pytest.mark.parametrize("name", TOWNS)
def test_pavements_and_crosswalks_of_a_town_hang_together(name: str) -> None:
    town = towns.load(name)
    mesh = mesh_of(town.xodr)
    assert mesh.lost_m2 == 0.0
    found = islands(mesh, Area.SIDEWALK, Area.CROSSWALK)
    assert len(found[0]) > 0.5 * sum(map(len, found))
    assert maps.area_m2(mesh, Area.SIDEWALK) > maps.area_m2(mesh, Area.CROSSWALK) > 0.0


@pytest.mark.parametrize("name", ["Town01", "Town02"])
def test_every_block_of_the_grid_towns_is_reached_without_walking_on_roads(name: str) -> None:
    mesh = mesh_of(towns.load(name).xodr)
    assert len(islands(mesh, Area.SIDEWALK, Area.CROSSWALK)) == 1
    assert len(islands(mesh, Area.SIDEWALK)) > 4


def test_town_passes_the_checker_in_one_tile() -> None:
    town = towns.load("Town02")
    content = navigation.mesh_file(town.map, town.xodr)
    assert len(checked(content)) == 1
    assert content == navigation.mesh_file(town.map, town.xodr)


def test_pavement_follows_curve_and_slope() -> None:
    """50 m straight, a quarter turn of 30 m radius, climbing 8 % all the way."""
    bend = 30.0 * math.pi / 2
    length = 50.0 + bend
    xodr = maps.document(
        maps.street(
            1, maps.line(0, 0, 0, 50), maps.arc(50, 0, 0, bend, 30, s=50), length=length, height="2 0.08 0 0"
        )
    )
    mesh = mesh_of(xodr)
    assert maps.area_m2(mesh, Area.SIDEWALK) == pytest.approx(2 * length * _WALKED_M, rel=0.02)
    assert len(islands(mesh, Area.SIDEWALK)) == 2
    town_map = carla.Map("test", xodr)
    for x, y, z in mesh.vertices:
        nearest = town_map.get_waypoint(carla.Location(x, y, z), lane_type=carla.LaneType.Sidewalk)
        place = nearest.transform.location
        assert z == pytest.approx(place.z, abs=0.15)
        assert math.hypot(x - place.x, y - place.y) <= nearest.lane_width / 2 + 0.15


def test_walkers_keep_away_from_kerb_and_wall() -> None:
    mesh = mesh_of(maps.document(maps.street(1, maps.line(0, 0, 0, 60), length=60)))
    ground = sorted({round(abs(y), 2) for _, y, _ in mesh.vertices})
    assert ground == [LANE_M + INSET_M, LANE_M + PAVEMENT_M - INSET_M]


def test_bridge_and_the_street_below_it_stay_apart() -> None:
    below = maps.street(1, maps.line(-50, 0, 0, 100), length=100)
    above = maps.street(2, maps.line(0, -50, math.pi / 2, 100), length=100, height="6 0 0 0")
    mesh = mesh_of(maps.document(below, above))
    assert maps.area_m2(mesh, Area.SIDEWALK) == pytest.approx(4 * 100 * _WALKED_M, rel=0.01)
    assert len(islands(mesh, *Area)) == 2


def test_streets_on_top_of_each_other_share_the_ground() -> None:
    one = maps.street(1, maps.line(-50, 0, 0, 100), length=100)
    other = maps.street(2, maps.line(0, -50, math.pi / 2, 100), length=100)
    mesh = mesh_of(maps.document(one, other))
    crossed = (2 * _WALKED_M) ** 2
    assert maps.area_m2(mesh, Area.SIDEWALK) == pytest.approx(4 * 100 * _WALKED_M - crossed, rel=0.01)
    assert len(islands(mesh, *Area)) == 1


@pytest.mark.parametrize("half_length", [2.0, LANE_M, LANE_M + 1.0], ids=["short", "to the kerb", "beyond"])
def test_drawn_crosswalk_reaches_both_pavements(half_length: float) -> None:
    objects = maps.crosswalk(30.0, half_length)
    mesh = mesh_of(maps.document(maps.street(1, maps.line(0, 0, 0, 60), length=60, objects=objects)))
    assert len(islands(mesh, Area.SIDEWALK)) == 2
    assert len(islands(mesh, Area.SIDEWALK, Area.CROSSWALK)) == 1
    across = 2 * (LANE_M + INSET_M)
    assert maps.area_m2(mesh, Area.CROSSWALK) == pytest.approx(3.0 * across, rel=0.02)


def test_pavements_that_end_at_junctions_are_joined_around_the_corners() -> None:
    whole = towns.load("Town02").xodr
    mesh = mesh_of(maps.without(whole, lanes_in_junctions="sidewalk"))
    assert len(islands(mesh, Area.SIDEWALK, Area.CROSSWALK)) == 1
    assert maps.area_m2(mesh, Area.SIDEWALK) == pytest.approx(
        maps.area_m2(mesh_of(whole), Area.SIDEWALK), rel=0.03
    )


def test_corners_keep_off_the_driving_lanes() -> None:
    xodr = maps.without(towns.load("Town02").xodr, lanes_in_junctions="sidewalk")
    town_map = carla.Map("test", xodr)
    mesh = mesh_of(xodr)
    for corners, kind in zip(mesh.polygons, mesh.areas, strict=True):
        if kind is Area.SIDEWALK:
            x, y, z = (sum(mesh.vertices[v][axis] for v in corners) / len(corners) for axis in range(3))
            assert town_map.get_waypoint(carla.Location(x, y, z), False, carla.LaneType.Driving) is None


def test_map_that_draws_no_crosswalk_gets_one_before_every_junction() -> None:
    mesh = mesh_of(maps.without(towns.load("Town02").xodr, objects="crosswalk"))
    assert len(islands(mesh, Area.SIDEWALK, Area.CROSSWALK)) == 1


def test_huge_map_is_cut_into_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(navigation.tiles, "POLYGONS_MAX", 300)
    monkeypatch.setattr(navigation.tiles.cut, "__defaults__", (100.0,))
    monkeypatch.setattr(navigation.tiles.tiled, "__defaults__", (100.0,))
    town = towns.load("Town02")
    found = checked(navigation.mesh_file(town.map, town.xodr))
    assert len(found) > 4
    assert sum(word >= 0x8000 for tile in found for own in tile.neighbours for word in own) > 20


def test_map_without_sidewalks_has_no_file() -> None:
    lanes = (
        '<left/>|<right><lane id="-1" type="driving" level="false">'
        '<width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane></right>'
    )
    xodr = maps.document(maps.street(1, maps.line(0, 0, 0, 60), length=60, lanes=lanes))
    assert navigation.file_name("Carla/Maps/OpenDriveMap", xodr) is None
    assert navigation.mesh_file(carla.Map("test", xodr), xodr) == b""


def test_a_road_that_the_map_does_not_have_has_no_pavements() -> None:
    xodr = maps.document(maps.street(1, maps.line(0, 0, 0, 60), length=60))
    for odd in ("99999999999", "-1", "7"):
        assert navigation.mesh_file(carla.Map("test", xodr), xodr.replace('id="1"', f'id="{odd}"')) == b""


@pytest.mark.parametrize(("number", "odd", "read"), [("60", "x", "0"), ("60", "60;5", "60"), ("60", "", "0")])
def test_odd_lengths_are_what_the_map_library_reads_them_as(number: str, odd: str, read: str) -> None:
    xodr = maps.document(maps.street(1, maps.line(0, 0, 0, 60), length=60))
    town_map, was = carla.Map("test", xodr), f'length="{number}"'
    assert was in xodr
    odd_file = navigation.mesh_file(town_map, xodr.replace(was, f'length="{odd}"'))
    assert odd_file == navigation.mesh_file(town_map, xodr.replace(was, f'length="{read}"'))


def test_endless_road_takes_no_endless_time() -> None:
    xodr = maps.document(maps.street(1, maps.line(0, 0, 0, 1e9), length=1e9))
    assert navigation.mesh_file(carla.Map("test", xodr), xodr) == b""


def test_name_changes_with_the_map_and_stays_inside_its_folder() -> None:
    xodr = towns.load("Town02").xodr
    name = navigation.file_name("Carla/Maps/Town02", xodr)
    assert name is not None
    assert name.startswith("Nav/Town02-")
    assert name != navigation.file_name("Carla/Maps/Town02", xodr + " ")
    odd = navigation.file_name("Carla/Maps/..\\..\0 " + "x" * 300, xodr)
    assert odd is not None
    assert odd.count("/") == 1
    assert len(odd) < 80
    assert set(odd[4:]) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.x")


def test_random_places_are_told_apart_by_area() -> None:
    town = towns.load("Town02")
    ground = Ground(checked(navigation.mesh_file(town.map, town.xodr)))
    pose = town.map.generate_waypoints(500.0)[0].transform.location
    assert ground.area_at(pose.x, pose.y, pose.z) in (0, maps.ROAD, maps.CROSSWALK)
    assert ground.area_at(1e5, 0.0, 0.0) == 0
