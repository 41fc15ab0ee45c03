"""The scenes of the larger towns: bridges and hills, signs and crosswalks."""

from __future__ import annotations

import carla
import numpy as np
import pytest

from carlad.standin import towns
from carlad.standin.rendering.lanes import lanes_of
from carlad.standin.rendering.objects import Objects
from carlad.standin.rendering.roads import surfaces
from carlad.standin.rendering.scene import Frame, Scene
from carlad.standin.rendering.signs import sign_plates
from carlad.wire.types import CityObjectLabel as Tag

ABOVE_M = 3.0  # lower than any bridge, higher than any vehicle


@pytest.fixture(scope="module", params=["Town03", "Town04", "Town05"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(towns.load(request.param))


def _down(frame: Frame, places: list[carla.Location]) -> tuple[list[int], list[float]]:
    """Tags and heights (m, over each place) of what lies under points that are `ABOVE_M` above the places."""
    rays = np.array([(p.x, p.y, p.z + ABOVE_M, 0.0, 0.0, -1.0) for p in places], np.float32)
    hits = frame.cast(rays)
    return frame.tags[hits.triangle].tolist(), (ABOVE_M - hits.distance).tolist()


def test_every_driving_lane_is_clear_road_at_its_own_height(scene: Scene) -> None:
    places = [waypoint.transform.location for waypoint in scene.town.map.generate_waypoints(2.0)]
    tags, heights = _down(scene.frame(Objects.none()), places)
    assert set(tags) <= {Tag.ROADS, Tag.ROAD_LINES}
    assert np.abs(heights).max() < 0.05


def test_crosswalks_are_striped(scene: Scene) -> None:
    corners = scene.town.map.get_crosswalks()
    frame = scene.frame(Objects.none())
    for k in range(0, len(corners), 5):
        start, end = (corners[k] + corners[k + 3]) * 0.5, (corners[k + 1] + corners[k + 2]) * 0.5
        across = [start + (end - start) * share for share in np.linspace(0.2, 0.8, 60).tolist()]
        tags, _ = _down(frame, across)
        assert 12 <= tags.count(Tag.ROAD_LINES) <= 45


def test_each_sign_s_plate_faces_the_traffic(scene: Scene) -> None:
    frame = scene.frame(Objects.none())
    for sign in scene.town.signs:
        yaw = np.radians(sign.pose.rotation.yaw - 90.0)
        foot, ahead = sign.pose.location, np.array((np.cos(yaw), np.sin(yaw)))
        ray = np.array(
            [[foot.x - 2 * ahead[0], foot.y - 2 * ahead[1], foot.z + 2.3, *ahead, 0.0]], np.float32
        )
        hits = frame.cast(ray)
        assert frame.tags[hits.triangle].tolist() == [Tag.TRAFFIC_SIGNS]
        assert hits.distance[0] == pytest.approx(1.94, abs=0.01)
        assert frame.normals[hits.triangle][0] @ ray[0, 3:] == pytest.approx(-1.0, abs=1e-3)


def test_plates_are_told_apart_by_their_number_of_corners() -> None:
    town = towns.load("Town05")
    corners = {"traffic.stop": 8, "traffic.yield": 3}
    for sign, (plate, _) in zip(town.signs, sign_plates(town), strict=True):
        assert len(plate) == 3 * corners.get(sign.type_id, 20)


def test_raised_roads_stand_on_walls() -> None:
    town = towns.load("Town03")
    walls = [mesh for mesh in surfaces(list(lanes_of(town.map, town.xodr))) if mesh.tag[0] == Tag.WALLS]
    corners = np.concatenate([mesh.corners for mesh in walls]).reshape(-1, 3)
    assert corners[:, 2].min() == pytest.approx(-0.12, abs=0.01)
    assert corners[:, 2].max() == pytest.approx(9.0, abs=0.01)


def test_a_road_leads_through_under_the_bridges() -> None:
    town = towns.load("Town04")
    heights = {w.transform.location.z for w in town.map.generate_waypoints(2.0) if _is_near_the_middle(w)}
    assert (min(heights), max(heights)) == (0.0, 13.0)
    ray = np.array([[-150.0, 11.75, 1.5, 1.0, 0.0, 0.0]], np.float32)  # in the eastbound lane
    assert Scene(town).frame(Objects.none()).cast(ray).distance[0] > 300.0


def _is_near_the_middle(waypoint: carla.Waypoint) -> bool:
    place = waypoint.transform.location
    return bool(abs(place.x) < 15.0 and abs(place.y) < 15.0)
