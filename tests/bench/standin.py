"""How fast the stand-in is, through the official client: `python -m tests.bench.standin`.

Rates of `world.tick()`, each the median of three rounds. Servers and clients share the machine's cores.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import carla

from tests.bench.harness import Report, rate
from tests.standin.process import free_ports, standin_process

ROUND_S = 1.0
STARTS = 3
SMALL, LARGE = (84, 84), (800, 600)
MANY = 50


def main() -> None:
    report = Report("standin")
    report.add("start to ready", median(start_s() for _ in range(STARTS)), "s")
    with standin_process() as server:
        client = carla.Client("127.0.0.1", server.rpc_port)
        client.set_timeout(30.0)
        world = client.get_world()
        settings = world.get_settings()
        settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
        world.apply_settings(settings)
        report.add("bare call", rate(client.get_server_version, ROUND_S), "calls/s")
        report.add("empty tick", rate(world.tick, ROUND_S), "ticks/s", "bare call")
        with vehicles(client, world, 1):
            report.add("1 vehicle", rate(world.tick, ROUND_S), "ticks/s", "empty tick")
        for size in (SMALL, LARGE):
            with vehicles(client, world, 1) as (car,), camera(world, car, size) as frame:
                report.add(f"camera {size[0]}x{size[1]}", rate(frame, ROUND_S), "ticks/s", "empty tick")
        with vehicles(client, world, 1) as (car,), lidar(world, car) as frame:
            report.add("LiDAR of 100k points", rate(frame, ROUND_S), "ticks/s", "empty tick")
        with vehicles(client, world, MANY):
            report.add(
                f"{MANY} vehicles, constant control", rate(world.tick, ROUND_S), "ticks/s", "empty tick"
            )
        with vehicles(client, world, MANY) as cars, traffic(client, cars):
            report.add(f"{MANY} Traffic Manager vehicles", rate(world.tick, 2 * ROUND_S), "ticks/s")
        world.apply_settings(carla.WorldSettings())
    report.write()


def start_s() -> float:
    started = time.perf_counter()
    with standin_process():
        return time.perf_counter() - started


@contextmanager
def vehicles(client: carla.Client, world: carla.World, count: int) -> Iterator[list[carla.Vehicle]]:
    """Cars that drive in slow circles, spread over the town."""
    blueprint = world.get_blueprint_library().find("vehicle.tesla.model3")
    points = world.get_map().get_spawn_points()
    cars = [world.spawn_actor(blueprint, points[k * len(points) // count]) for k in range(count)]
    for car in cars:
        car.apply_control(carla.VehicleControl(throttle=0.3, steer=0.5))
    try:
        yield cars
    finally:
        client.apply_batch_sync([carla.command.DestroyActor(car) for car in cars], True)


@contextmanager
def camera(world: carla.World, car: carla.Vehicle, size: tuple[int, int]) -> Iterator[Callable[[], object]]:
    blueprint = world.get_blueprint_library().find("sensor.camera.rgb")
    blueprint.set_attribute("image_size_x", str(size[0]))
    blueprint.set_attribute("image_size_y", str(size[1]))
    with frames(world, car, blueprint) as frame:
        yield frame


@contextmanager
def lidar(world: carla.World, car: carla.Vehicle) -> Iterator[Callable[[], object]]:
    """One that measures 100,000 points in each tick of 0.05 s."""
    blueprint = world.get_blueprint_library().find("sensor.lidar.ray_cast")
    for name, value in {"channels": 64, "range": 80, "points_per_second": 2_000_000}.items():
        blueprint.set_attribute(name, str(value))
    blueprint.set_attribute("rotation_frequency", "20")
    blueprint.set_attribute("dropoff_general_rate", "0")
    with frames(world, car, blueprint) as frame:
        yield frame


@contextmanager
def frames(
    world: carla.World, car: carla.Vehicle, blueprint: carla.ActorBlueprint
) -> Iterator[Callable[[], object]]:
    """A sensor above the car; yields a function that ticks and takes the sensor's frame."""
    pose = carla.Transform(carla.Location(x=1.6, z=2.4))
    sensor = world.spawn_actor(blueprint, pose, attach_to=car)
    messages: queue.Queue[object] = queue.Queue()
    sensor.listen(messages.put)

    def frame() -> object:
        world.tick()
        return messages.get(timeout=30.0)

    frame()  # the first one imports and builds the scene
    try:
        yield frame
    finally:
        sensor.stop()
        sensor.destroy()


@contextmanager
def traffic(client: carla.Client, cars: list[carla.Vehicle]) -> Iterator[None]:
    port = free_ports()[0]
    manager = client.get_trafficmanager(port)
    manager.set_synchronous_mode(True)
    client.get_world().tick()  # the manager forgets vehicles that no snapshot has shown yet
    for car in cars:
        car.set_autopilot(True, port)
    try:
        yield
    finally:
        for car in cars:
            car.set_autopilot(False, port)
        client.get_world().tick()
        manager.shut_down()


if __name__ == "__main__":
    main()
