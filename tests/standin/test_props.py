"""Props as CARLA's official client meets them: what lies low is driven over, and any place will do."""

from __future__ import annotations

import carla
import pytest

SPEED_MPS = 8.0


@pytest.fixture
def driver(world: carla.World) -> tuple[carla.Vehicle, carla.Transform]:
    """A car on a straight road at 8 m/s, and the place 12 m before it."""
    library = world.get_blueprint_library()
    pose = world.get_map().get_spawn_points()[0]
    vehicle = world.spawn_actor(library.find("vehicle.lincoln.mkz_2017"), pose)
    for _ in range(10):
        world.tick()
    pose = vehicle.get_transform()
    vehicle.enable_constant_velocity(carla.Vector3D(SPEED_MPS))
    return vehicle, carla.Transform(pose.location + 12.0 * pose.get_forward_vector(), pose.rotation)


def way_of(world: carla.World, vehicle: carla.Vehicle, ticks: int) -> tuple[float, list[str]]:
    """Metres that it gets in so many ticks, and what it runs into."""
    sensor = world.spawn_actor(
        world.get_blueprint_library().find("sensor.other.collision"), carla.Transform(), attach_to=vehicle
    )
    met: list[str] = []
    sensor.listen(lambda event: met.append(event.other_actor.type_id))
    start = vehicle.get_location()
    for _ in range(ticks):
        world.tick()
    way = start.distance(vehicle.get_location())
    sensor.stop()
    sensor.destroy()
    return way, met


@pytest.mark.parametrize("prop", ["static.prop.dirtdebris01", "static.prop.ironplank", "static.prop.colacan"])
def test_what_is_lower_than_a_car_s_clearance_is_driven_over(world: carla.World, driver, prop: str) -> None:
    vehicle, before = driver
    world.spawn_actor(world.get_blueprint_library().find(prop), before)
    way, met = way_of(world, vehicle, 60)
    assert met == []
    assert way == pytest.approx(60 * SPEED_MPS * world.get_settings().fixed_delta_seconds, rel=0.05)


def test_what_stands_higher_stops_it(world: carla.World, driver) -> None:
    vehicle, before = driver
    vehicle.disable_constant_velocity()
    vehicle.set_target_velocity(SPEED_MPS * vehicle.get_transform().get_forward_vector())
    world.spawn_actor(world.get_blueprint_library().find("static.prop.streetbarrier"), before)
    way, met = way_of(world, vehicle, 60)
    assert set(met) == {"static.prop.streetbarrier"}
    assert way < 12.0


def test_a_prop_appears_wherever_it_is_wanted(world: carla.World, driver) -> None:
    vehicle, before = driver
    barrel = world.get_blueprint_library().find("static.prop.barrel")
    props = [world.spawn_actor(barrel, before) for _ in range(2)]
    assert world.try_spawn_actor(barrel, vehicle.get_transform()) is not None
    assert len({prop.id for prop in props}) == 2


def test_no_vehicle_appears_in_a_prop_that_would_stop_it(world: carla.World, driver) -> None:
    _, before = driver
    library = world.get_blueprint_library()
    car = library.find("vehicle.tesla.model3")
    world.spawn_actor(library.find("static.prop.dirtdebris02"), before)
    other = world.try_spawn_actor(car, before)
    assert other is not None
    other.destroy()
    world.spawn_actor(library.find("static.prop.streetbarrier"), before)
    assert world.try_spawn_actor(car, before) is None
