"""Signs and lights as the official client, and programs that judge drivers, see them."""

from __future__ import annotations

from collections import Counter

import carla
import numpy as np
import pytest

TOWNS = ("Town01", "Town03", "Town05")


@pytest.fixture(scope="module", params=TOWNS)
def town(request: pytest.FixtureRequest, server) -> carla.World:
    client = carla.Client("127.0.0.1", server.rpc_port)
    client.set_timeout(20.0)
    world = client.load_world(request.param)
    world.wait_for_tick()
    return world


def test_every_sign_of_the_map_is_an_actor(town: carla.World) -> None:
    landmarks = town.get_map().get_all_landmarks()
    signs = [actor for actor in town.get_actors().filter("traffic.*") if not is_light(actor)]
    assert {type(sign) for sign in signs} == {carla.TrafficSign}
    expected = Counter(
        {landmark.id: kind_of(landmark) for landmark in landmarks if kind_of(landmark)}.values()
    )
    assert Counter(sign.type_id for sign in signs) == expected
    assert expected["traffic.stop"] + expected["traffic.yield"] > 0
    assert all(sign.semantic_tags == [int(carla.CityObjectLabel.TrafficSigns)] for sign in signs)


def test_a_landmark_leads_to_its_actor(town: carla.World) -> None:
    for landmark in town.get_map().get_all_landmarks():
        actor = town.get_traffic_sign(landmark)
        assert actor is not None
        assert actor.type_id == (kind_of(landmark) or "traffic.traffic_light")


def test_trigger_volumes_lie_on_the_lanes_that_are_ruled(town: carla.World) -> None:
    """As CARLA's scenario runner looks for them: points across the volume, moved with the actor's yaw."""
    for actor in town.get_actors().filter("traffic.*"):
        lanes = {(waypoint.road_id, waypoint.lane_id) for waypoint in waypoints_of(town, actor)}
        assert lanes
        ruled = {
            (waypoint.road_id, waypoint.lane_id)
            for landmark in town.get_map().get_all_landmarks_from_id(actor_sign_id(town, actor))
            for waypoint in before(town.get_map(), landmark)
        }
        assert lanes <= ruled


def test_nobody_can_take_a_sign_away(town: carla.World) -> None:
    sign = next(actor for actor in town.get_actors().filter("traffic.*") if not is_light(actor))
    assert not sign.destroy()
    assert sign.is_alive


def is_light(actor: carla.Actor) -> bool:
    return isinstance(actor, carla.TrafficLight)


def kind_of(landmark: carla.Landmark) -> str:
    """The blueprint of a sign; empty for a light."""
    names = {
        "205": "traffic.yield",
        "206": "traffic.stop",
        "274": f"traffic.speed_limit.{landmark.value:.0f}",
    }
    return names.get(landmark.type, "")


def actor_sign_id(town: carla.World, actor: carla.Actor) -> str:
    (found,) = {
        landmark.id
        for landmark in town.get_map().get_all_landmarks()
        if town.get_traffic_sign(landmark).id == actor.id
    }
    return str(found)


def waypoints_of(town: carla.World, actor: carla.TrafficSign) -> list[carla.Waypoint]:
    volume, pose = actor.trigger_volume, actor.get_transform()
    middle = pose.transform(carla.Location(volume.location))
    across = pose.get_forward_vector()
    reach = np.arange(-0.9 * volume.extent.x, 0.9 * volume.extent.x, 1.0)
    return [town.get_map().get_waypoint(middle + across * float(metres)) for metres in reach]


def before(town_map: carla.Map, landmark: carla.Landmark) -> list[carla.Waypoint]:
    """Where the lanes are that a landmark rules, in or before the junction that it stands in."""
    found = []
    for first, last in landmark.get_lane_validities():
        for lane_id in range(min(first, last), max(first, last) + 1):
            waypoint = town_map.get_waypoint_xodr(landmark.road_id, lane_id, landmark.s) if lane_id else None
            if waypoint is not None:
                found += [waypoint, *waypoint.previous(5.0)]
    return found
