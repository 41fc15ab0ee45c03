"""Places of CARLA's towns that CARLA's own tests and examples name by their coordinates."""

from __future__ import annotations

import math
from functools import cache

import carla
import pytest

from carlad.standin import towns
from carlad.standin.collisions import Box
from carlad.standin.obstacles import Obstacles
from carlad.standin.towns import Town

CAR_M = (4.0, 1.6, 1.5)  # half sizes that hold every vehicle but the longest: length, width, height

# From where to where they drive (m, CARLA's frame).
DRIVEN = {
    "Town03": [
        ((235, -1), (235, 90)),  # test_vehicle_physics, where controls stick
        ((140, -205), (50, -207.4)),  # test_sensor_determinism
        ((50, -200), (140, -197.6)),
        ((140, -256), (40, -256)),  # test_collision_determinism, check_collisions_substepping
        ((110, -253), (40, -251.2)),
        ((85, -230), (85, -257)),
        ((83, -40), (83, -20)),  # check_lidar_bb
        ((60, 6), (160, 6)),
        ((180, -3.5), (100, -3.5)),
        ((234, 20), (234, 80)),
        ((243, 140), (243, -40)),
        ((239, 125), (241.6, 25)),
    ],
    "Town05": [
        *(((x, -200), (x, 10)) for x in (28, 29, 31, 33, 35, 36)),  # test_vehicle_physics
        ((36, -200), (32.3, 10)),
        ((32, -180), (32, 40)),  # vehicle_physics_tester
        ((15, -190), (27, -190)),
        ((50, -204), (150, -204)),
    ],
}
WALL = ((30.0, -6.0), 38.0)  # test_collision_sensor, Town03: the start, and how far it can roll northwards


@cache
def _town(name: str) -> Town:
    return towns.load(name)


def _all() -> list[tuple[str, tuple[float, float], tuple[float, float]]]:
    return [(name, start, end) for name, ways in DRIVEN.items() for start, end in ways]


def _swept(start: tuple[float, float], end: tuple[float, float]) -> Box:
    """What a car covers from one place to the other."""
    length = math.dist(start, end)
    ahead = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
    half_length, half_width, half_height = CAR_M
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    return Box(x, y, half_height, *ahead, length / 2 + half_length, half_width, half_height)


@pytest.mark.parametrize(("name", "start", "end"), _all())
def test_nothing_stands_where_carlas_tests_drive(
    name: str, start: tuple[float, float], end: tuple[float, float]
) -> None:
    assert not Obstacles(_town(name), [], []).in_the_way(_swept(start, end))


@pytest.mark.parametrize(("name", "start", "end"), _all())
def test_the_ground_is_level_where_carlas_tests_drive(
    name: str, start: tuple[float, float], end: tuple[float, float]
) -> None:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        place = carla.Location(*(a + (b - a) * share for a, b in zip(start, end, strict=True)))
        lane = _town(name).map.get_waypoint(place, project_to_road=True, lane_type=carla.LaneType.Any)
        assert lane.transform.location.z == pytest.approx(0.0, abs=0.01)


def test_something_stands_north_of_the_roundabout_to_run_into() -> None:
    (x, y), reach = WALL
    there = Obstacles(_town("Town03"), [], [])
    assert not there.in_the_way(_swept((x, y), (x, y - 10.0)))
    assert there.in_the_way(_swept((x, y), (x, y - (reach - 10.0))))
