"""Environment objects, layers, rays and street lights, as the official client has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import carla
import pytest

from tests.standin.process import StandIn, eventually, standin_process
from tests.standin.test_official_client import blueprint

Label = carla.CityObjectLabel


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with standin_process("--map", "Town02_Opt") as running:
        yield running


@pytest.fixture
def house(world: carla.World) -> carla.EnvironmentObject:
    return world.get_environment_objects(Label.Buildings)[0]


def labels_below(world: carla.World, place: carla.Location) -> set[str]:
    top, bottom = place + carla.Location(z=100.0), place - carla.Location(z=5.0)
    return {str(point.label) for point in world.cast_ray(top, bottom)}


def test_environment_objects_have_names_ids_and_boxes_in_the_world(world: carla.World) -> None:
    found = world.get_environment_objects()
    assert {Label.Roads, Label.Sidewalks, Label.Buildings, Label.Vegetation} <= {
        thing.type for thing in found
    }
    assert len({thing.id for thing in found}) == len({thing.name for thing in found}) == len(found)
    assert set(world.get_names_of_all_objects()) == {thing.name for thing in found}


def test_a_tag_selects_environment_objects(world: carla.World) -> None:
    houses = world.get_environment_objects(Label.Buildings)
    assert houses
    assert {thing.type for thing in houses} == {Label.Buildings}
    assert len(world.get_level_bbs(Label.Buildings)) == len(houses)


def test_a_house_is_met_where_its_box_is(world: carla.World, house: carla.EnvironmentObject) -> None:
    box = house.bounding_box
    roof = world.ground_projection(box.location + carla.Location(z=100.0), 200.0)
    assert roof.label == Label.Buildings
    assert roof.location.z == pytest.approx(box.location.z + box.extent.z, abs=0.01)
    assert house.transform.location.z == pytest.approx(box.location.z - box.extent.z, abs=0.01)


def test_a_disabled_house_is_not_there_until_it_is_enabled(
    world: carla.World, house: carla.EnvironmentObject
) -> None:
    place = house.bounding_box.location
    world.enable_environment_objects({house.id}, False)
    assert "Buildings" not in labels_below(world, place)
    world.enable_environment_objects({house.id}, True)
    assert "Buildings" in labels_below(world, place)


def test_layers_come_and_go(world: carla.World, house: carla.EnvironmentObject) -> None:
    place = house.bounding_box.location
    world.unload_map_layer(carla.MapLayer.Buildings)
    assert "Buildings" not in labels_below(world, place)
    world.load_map_layer(carla.MapLayer.Buildings)
    assert "Buildings" in labels_below(world, place)


def test_level_boxes_include_actors(world: carla.World) -> None:
    pose = world.get_map().get_spawn_points()[0]
    vehicle = world.spawn_actor(blueprint(world, "vehicle.audi.tt"), pose)
    world.tick()
    (box,) = world.get_level_bbs(Label.Car)
    assert box.actor_id == vehicle.id
    assert box.location.distance(vehicle.get_location()) < 2.0


def test_a_ray_meets_each_thing_once_in_order(world: carla.World, house: carla.EnvironmentObject) -> None:
    place, away = house.bounding_box.location, carla.Location(x=60.0)
    points = world.cast_ray(place - away, place + away)
    travelled = [point.location.x for point in points]
    assert travelled == sorted(travelled)
    assert sum(point.label == Label.Buildings for point in points) >= 1


def test_a_traffic_lights_boxes_are_its_heads(world: carla.World) -> None:
    light = world.get_actors().filter("traffic.traffic_light")[0]
    boxes = light.get_light_boxes()
    assert boxes
    for box in boxes:
        above = box.location + carla.Location(z=box.extent.z + 0.2)
        hit = world.ground_projection(above, 1.0)
        assert hit.label == Label.TrafficLight
        assert hit.location.z == pytest.approx(box.location.z + box.extent.z, abs=0.01)


def test_a_ray_into_the_sky_meets_nothing(world: carla.World) -> None:
    start = carla.Location(z=50.0)
    assert not world.cast_ray(start, start + carla.Location(z=500.0))
    assert world.project_point(start, carla.Vector3D(z=1.0), 500.0) is None


def test_the_ground_is_met_only_within_reach(world: carla.World) -> None:
    lane = world.get_map().get_spawn_points()[0].location
    above = carla.Location(lane.x, lane.y, lane.z + 20.0)
    assert world.ground_projection(above, 5.0) is None
    ground = world.ground_projection(above, 50.0)
    assert ground.label in (Label.Roads, Label.RoadLines)


# --- street lights -----------------------------------------------------------------------------------


def test_street_lights_can_be_switched_and_coloured(client: carla.Client, world: carla.World) -> None:
    manager = world.get_lightmanager()
    lights = manager.get_all_lights(carla.LightGroup.Street)
    assert lights
    manager.turn_on(lights)
    manager.set_color(lights, carla.Color(255, 0, 0))
    world.tick()
    again = client.get_world().get_lightmanager().get_all_lights()
    assert all(light.is_on and (light.color.r, light.color.g) == (255, 0) for light in again)


def test_another_client_hears_of_lights(server: StandIn, world: carla.World) -> None:
    other_world = carla.Client("127.0.0.1", server.rpc_port).get_world()
    other = other_world.get_lightmanager()
    mine = world.get_lightmanager()
    mine.turn_off(mine.get_all_lights())
    assert other.get_all_lights()
    for switch, lit in ((mine.turn_on, True), (mine.turn_off, False)):
        switch(mine.get_all_lights())
        _ticking_until(world, lambda lit=lit: bool(other.get_turned_on_lights()) == lit)


def test_lights_burn_at_night(world: carla.World) -> None:
    manager, day = world.get_lightmanager(), world.get_weather()
    manager.set_day_night_cycle(True)
    night, default = carla.WeatherParameters.ClearNight, carla.WeatherParameters.Default
    for weather, lit in ((night, True), (day, False), (night, True), (default, False)):
        world.set_weather(weather)
        _ticking_until(world, lambda lit=lit: bool(manager.get_turned_on_lights()) == lit)
    world.set_weather(day)


def _ticking_until(world: carla.World, condition: Callable[[], bool]) -> None:
    def met() -> bool:
        world.tick()
        return condition()

    eventually(met, 10.0)
