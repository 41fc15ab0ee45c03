from pathlib import Path

import numpy as np
import pytest

from carlad.standin import towns
from carlad.telemetry import Lane, lanes_of

carla = pytest.importorskip("carla")
TOWN = Path(towns.__file__).with_name("Town01.xodr")


@pytest.fixture(scope="module")
def town() -> "carla.Map":
    return carla.Map("Carla/Maps/Town01", TOWN.read_text())


@pytest.fixture(scope="module")
def lanes(town: "carla.Map") -> list[Lane]:
    found = lanes_of(town)
    assert found.map == "Carla/Maps/Town01"
    return found.lanes


def test_every_driving_lane_is_found_once(town: "carla.Map", lanes: list[Lane]) -> None:
    there = {(w.road_id, w.section_id, w.lane_id) for w in town.generate_waypoints(2.0)}
    assert len([lane for lane in lanes if lane.kind == "driving"]) == len(there)


def test_lanes_of_other_kinds_lie_beside_them(lanes: list[Lane]) -> None:
    assert "sidewalk" in {lane.kind for lane in lanes}


def test_left_and_right_are_the_drivers(town: "carla.Map", lanes: list[Lane]) -> None:
    for lane in (lane for lane in lanes if lane.kind == "driving"):
        forward = lane.left[1] - lane.left[0]
        across = lane.right[0] - lane.left[0]
        assert forward[0] * across[1] - forward[1] * across[0] > 0  # x east, y south: right is positive


def test_outside_junctions_the_middle_between_the_boundaries_is_where_the_map_has_the_lane(
    town: "carla.Map", lanes: list[Lane]
) -> None:
    for lane in (lane for lane in lanes if lane.kind == "driving" and lane.right_mark != "none"):
        for x, y in (lane.left + lane.right).astype(float)[:: len(lane.left) // 3] / 2:
            place = town.get_waypoint(carla.Location(x=x, y=y)).transform.location
            assert np.hypot(place.x - x, place.y - y) < 0.05


def test_only_lanes_outside_junctions_have_markings(lanes: list[Lane]) -> None:
    marks = {(lane.left_mark, lane.right_mark) for lane in lanes if lane.kind == "driving"}
    assert ("none", "none") in marks
    assert {mark for pair in marks for mark in pair} == {"none", "solid", "broken"}
