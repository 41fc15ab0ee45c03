"""What stands beside the roads stops vehicles."""

from __future__ import annotations

import math
import queue
from collections.abc import Iterator

import carla
import numpy as np
import pytest

from carlad.standin import obstacles, towns
from carlad.standin.collisions import Box, touching
from carlad.standin.motion import columns as c
from carlad.standin.motion import kernels
from carlad.standin.obstacles import KINDS, Obstacles
from carlad.standin.rendering.structures import structures_of

SPEED_MPS = 12.0
RUN_UP_M = 5.0


@pytest.fixture(scope="module")
def driven(server) -> Iterator[tuple[carla.Client, carla.World]]:
    client = carla.Client("127.0.0.1", server.rpc_port)
    client.set_timeout(20.0)
    world = client.load_world("Town02_Opt")
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    world.tick()
    yield client, world
    world.apply_settings(carla.WorldSettings())


def houses(world: carla.World) -> list[carla.EnvironmentObject]:
    return list(world.get_environment_objects(carla.CityObjectLabel.Buildings))


def before_a_house(world: carla.World) -> tuple[carla.EnvironmentObject, carla.Transform]:
    """A house, and a place that faces it with nothing between."""
    standing = Obstacles(towns.load("Town02_Opt"), [], []).boxes
    for house in houses(world):
        box = house.bounding_box
        for side in (90.0, -90.0):
            turn = carla.Rotation(yaw=box.rotation.yaw + side)
            ahead = turn.get_forward_vector()
            face = carla.Location(box.location.x, box.location.y, 0.7) - ahead * box.extent.y
            middle = face - ahead * (RUN_UP_M / 2 + 1.5)
            way = Box(middle.x, middle.y, 0.7, ahead.x, ahead.y, RUN_UP_M / 2 + 1.4, 1.4, 0.7)
            if not any(touching(way, other) for other in standing):
                start = face - ahead * RUN_UP_M
                return house, carla.Transform(carla.Location(start.x, start.y, 0.1), turn)
    raise AssertionError("every house is surrounded")


def drive(
    world: carla.World, start: carla.Transform, ticks: int = 40
) -> tuple[list[carla.CollisionEvent], float]:
    """What a car felt that began at some speed, and how far it came."""
    library = world.get_blueprint_library()
    car = world.spawn_actor(library.find("vehicle.tesla.model3"), world.get_map().get_spawn_points()[0])
    sensor = world.spawn_actor(library.find("sensor.other.collision"), carla.Transform(), attach_to=car)
    events: queue.SimpleQueue[carla.CollisionEvent] = queue.SimpleQueue()
    sensor.listen(events.put)
    world.tick()
    car.set_transform(start)
    car.set_target_velocity(start.get_forward_vector() * SPEED_MPS)
    for _ in range(ticks):
        world.tick()
    way = car.get_location().distance(start.location)
    felt = [events.get() for _ in range(events.qsize())]
    sensor.stop()
    sensor.destroy()
    car.destroy()
    world.tick()
    return felt, way


def test_a_house_stops_a_car_and_is_named_as_carla_names_it(driven) -> None:
    _client, world = driven
    _house, start = before_a_house(world)
    felt, way = drive(world, start)
    hit = felt[0]
    assert (hit.other_actor.type_id, hit.other_actor.id) == ("static.building", 0)
    assert hit.other_actor.semantic_tags == [int(carla.CityObjectLabel.Buildings)]
    ahead = start.get_forward_vector()
    impulse = hit.normal_impulse.x * ahead.x + hit.normal_impulse.y * ahead.y
    assert -1.2 < impulse / (1.1 * 1850.0 * SPEED_MPS) < -0.7  # of a car of about that mass, in kg
    assert way < RUN_UP_M


@pytest.mark.parametrize("by", ["object", "layer"])
def test_what_is_hidden_stops_nobody_until_it_is_back(driven, by: str) -> None:
    _client, world = driven
    house, start = before_a_house(world)

    def show(shown: bool) -> None:
        if by == "object":
            world.enable_environment_objects({house.id}, shown)
        elif shown:
            world.load_map_layer(carla.MapLayer.Buildings)
        else:
            world.unload_map_layer(carla.MapLayer.Buildings)

    show(False)
    felt, way = drive(world, start, ticks=10)
    show(True)
    assert felt == []
    assert way > RUN_UP_M
    assert drive(world, start, ticks=10)[0]


def test_who_runs_into_a_traffic_light_s_post_hits_the_light(driven) -> None:
    _client, world = driven
    for light in world.get_actors().filter("traffic.traffic_light"):
        pose = light.get_transform()
        ahead = carla.Rotation(yaw=pose.rotation.yaw - 90.0)
        start = carla.Transform(pose.location - ahead.get_forward_vector() * RUN_UP_M, ahead)
        felt, _way = drive(world, start, ticks=10)
        assert felt[0].other_actor.id == light.id
        break


def test_no_vehicle_appears_in_a_house(driven) -> None:
    _client, world = driven
    box = houses(world)[0].bounding_box
    inside = carla.Transform(carla.Location(box.location.x, box.location.y, 1.0), carla.Rotation())
    car = world.get_blueprint_library().find("vehicle.tesla.model3")
    assert world.try_spawn_actor(car, inside) is None
    with pytest.raises(RuntimeError, match="collision at spawn position"):
        world.spawn_actor(car, inside)


@pytest.mark.parametrize("name", ["Town01", "Town03"])
def test_obstacles_are_the_structures_that_cameras_see_in_the_same_order(name: str) -> None:
    town = towns.load(name)
    seen = [thing for thing in structures_of(town) if thing.name.rpartition("_")[0] in KINDS]
    boxes = Obstacles(town, [], []).boxes
    assert len(boxes) == len(seen)
    for box, structure in zip(boxes, seen, strict=True):
        (x, y, _z), half = structure.box
        assert math.hypot(box.x - x, box.y - y) < 0.8  # a mast's arm, a crown that is not round
        assert box.half_width <= half[:2].max() + 0.05


@pytest.mark.parametrize("name", ["Town01", "Town03", "Town04", "Town05", "Town10HD"])
def test_nothing_stands_on_a_spawn_point(name: str) -> None:
    town = towns.load(name)
    there = Obstacles(town, [], [])
    for pose in town.spawn_points:
        yaw, place = math.radians(pose.rotation.yaw), pose.location
        assert not there.in_the_way(
            Box(place.x, place.y, place.z + 0.7, math.cos(yaw), math.sin(yaw), 3.0, 1.2, 0.7)
        )


@pytest.mark.parametrize("functions", [kernels.PLAIN, None], ids=["plain", "compiled"])
def test_vehicles_leave_the_obstacles_that_they_are_in_and_no_others(
    functions: kernels.Kernels | None,
) -> None:
    kernels.load()
    meet = (functions or kernels.kernels()).meet_obstacles
    chance = np.random.default_rng(5)

    def some(count: int, half: float) -> list[Box]:
        turns = chance.uniform(-math.pi, math.pi, count)
        places = chance.uniform(-150.0, 150.0, (count, 2))
        return [
            Box(x, y, 0.75, math.cos(a), math.sin(a), 2 * half, half, 0.75)
            for (x, y), a in zip(places, turns, strict=True)
        ]

    standing, cars = some(300, 4.0), some(200, 1.0)
    grid = obstacles._grid(standing)
    rows = np.array([(*box, box.radius) for box in standing])
    state, car = np.zeros((len(cars), c.STATE)), np.zeros((len(cars), c.CAR))
    state[:, c.X], state[:, c.Y] = np.array([(box.x, box.y) for box in cars]).T
    state[:, c.YAW] = [math.degrees(math.atan2(box.along_y, box.along_x)) for box in cars]
    state[:, c.HEADING_X], state[:, c.SIMULATED], state[:, c.VX], car[:, c.MASS] = 1.0, 1.0, 10.0, 1500.0
    bodies = np.tile((0.0, 0.0, 0.75, 2.0, 1.0, 0.75, 1.0), (len(cars), 1))
    before = state.copy()
    felt = meet(state, car, bodies, len(cars), rows, grid.frame, grid.starts, grid.members)
    met = {(int(row), int(number)) for row, number in felt[:, :2].tolist()}
    touched = [[j for j, box in enumerate(standing) if touching(one, box)] for one in cars]
    alone = [row for row in range(len(cars)) if (felt[:, 0] == row).sum() == 1]  # not out of one into another
    assert len(alone) > 20
    for row, numbers in enumerate(touched):
        moved = before[row].tobytes() != state[row].tobytes()
        assert moved == bool(numbers)
        assert moved == any(row == who for who, _number in met)
    for row in alone:
        assert any(who == row and number in touched[row] for who, number in met)
        now = cars[row]._replace(x=state[row, c.X], y=state[row, c.Y])
        left = touching(now, standing[touched[row][0]])
        assert left is None or left.depth < 1e-9
        lost = state[row, [c.VX, c.VY]] - before[row, [c.VX, c.VY]]
        impulse = felt[felt[:, 0] == row, 2:].sum(axis=0)
        np.testing.assert_allclose(impulse, 1500.0 * lost, atol=1e-9)
