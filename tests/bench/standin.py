"""How fast the stand-in is, through the official client: `python -m tests.bench.standin`.

Rates of `world.tick()`, each the median of three rounds. Servers and clients share the machine's cores.
`--peer FILE.py` names another server that speaks CARLA's protocol and takes `--port`; it and ours take turns.
`--maps DIRECTORY` names OpenDRIVE files whose loads are timed like those of our own towns.
"""

from __future__ import annotations

import argparse
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import carla
import psutil

from tests.bench.harness import Report, rate, rates
from tests.ports import free_port, listens
from tests.standin.process import eventually, standin_process

ROUND_S = 1.0
STARTS = 3
IDLE_S = 5.0
REST_WITHIN_S, REST_CPU_S = 20, 0.1
SMALL, LARGE = (84, 84), (800, 600)
MANY = 50
AS_MANY = 48  # that find room on a small map, too
CROWDS = (50, 100, 200, 500)  # of one alone nothing can be told from the tick's own time
APART_M, CLOSE_M = 20.0, 5.5  # vehicles that keep away from each other, and such as run into each other


def main() -> None:
    options = _options()
    report = Report("standin")
    report.add("start to ready", median(start_s() for _ in range(STARTS)), "s")
    with standin_process() as server:
        client, world = synchronous(server.rpc_port)
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
    add_growth(report)
    add_rest(report)
    add_loads(report, options.maps)
    add_peer(report, options.peer)
    report.write()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.standin")
    parser.add_argument("--peer", type=_existing, help="another server to compare ours with, a Python file")
    parser.add_argument("--maps", type=_existing, help="a folder of OpenDRIVE files to load, too")
    return parser.parse_args()


def _existing(text: str) -> Path:
    if not Path(text).exists():
        raise argparse.ArgumentTypeError(f"there is no {text}")
    return Path(text).resolve()


# --- what is measured ------------------------------------------------------------------------------------


def start_s() -> float:
    started = time.perf_counter()
    with standin_process():
        return time.perf_counter() - started


def add_growth(report: Report) -> None:
    """What a vehicle adds to a tick, by how many there are: the same for all where costs grow linearly."""
    for distance_m, case in ((APART_M, "apart"), (CLOSE_M, "in a crowd")):
        with standin_process("--map", "Town05") as server:
            client, world = synchronous(server.rpc_port)
            empty_s = 1 / rate(world.tick, ROUND_S)
            places = along_roads(world, distance_m)
            for count in CROWDS:
                with vehicles(client, world, count, places):
                    added_s = 1 / rate(world.tick, ROUND_S) - empty_s
                first = f"{CROWDS[0]} vehicles {case}: each"
                name = f"{count} vehicles {case}: each"
                report.add(name, 1e6 * added_s / count, "us/tick", first if count > CROWDS[0] else None)


def add_rest(report: Report) -> None:
    """What a server takes that waits for its client, with vehicles and without cameras."""
    with standin_process() as server:
        client, world = synchronous(server.rpc_port)
        with vehicles(client, world, MANY):
            for _ in range(100):
                world.tick()
            process = psutil.Process(server.process.pid)
            _await_rest(process)
            before = _cpu_s(process)
            time.sleep(IDLE_S)
            report.add("idle in synchronous mode", 100 * (_cpu_s(process) - before) / IDLE_S, "% of a core")
            report.add("memory", process.memory_info().rss / 2**20, "MiB")


def _await_rest(process: psutil.Process) -> None:
    """After a start a thread makes ready what cameras will see, for a second or two."""
    for _ in range(REST_WITHIN_S):
        before = _cpu_s(process)
        time.sleep(1)
        if _cpu_s(process) - before < REST_CPU_S:
            return
    raise SystemExit(f"the server still computes {REST_WITHIN_S} s after its start")


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def add_loads(report: Report, maps: Path | None) -> None:
    """`client.load_world` of each map, the client's part included."""
    with standin_process(*(["--maps", str(maps)] if maps else [])) as server:
        client, _world = synchronous(server.rpc_port)
        names = [name for name in client.get_available_maps() if not name.endswith("_Opt")]
        for name in sorted(names):
            started = time.perf_counter()
            client.load_world(name)
            report.add(f"load of {name.rpartition('/')[2]}", time.perf_counter() - started, "s")


def add_peer(report: Report, peer: Path | None) -> None:
    """Ours and another server with as many vehicles, in turns."""
    if peer is None:
        print("no --peer: compared with no other server", file=sys.stderr)
        return
    with standin_process() as server, _peer_process(peer) as peer_port:
        worlds = {"peer": synchronous(peer_port), "ours": synchronous(server.rpc_port)}
        for count, case in ((0, "empty tick"), (1, "1 vehicle"), (AS_MANY, f"{AS_MANY} vehicles")):
            with ExitStack() as stack:
                for client, world in worlds.values():
                    stack.enter_context(vehicles(client, world, count))
                found = rates({name: world.tick for name, (_client, world) in worlds.items()}, ROUND_S)
            for name in worlds:
                report.add(
                    f"{name}: {case}", found[name], "ticks/s", None if name == "peer" else f"peer: {case}"
                )


@contextmanager
def _peer_process(program: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, str(program), "--port", str(port)]
    process = subprocess.Popen(command, cwd=program.parent, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        eventually(lambda: listens(port), 30.0)
        yield port
    finally:
        process.kill()
        process.wait()


# --- scenes ----------------------------------------------------------------------------------------------


def synchronous(port: int) -> tuple[carla.Client, carla.World]:
    client = carla.Client("127.0.0.1", port)
    client.set_timeout(30.0)
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    return client, world


@contextmanager
def vehicles(
    client: carla.Client, world: carla.World, count: int, places: list[carla.Transform] | None = None
) -> Iterator[list[carla.Vehicle]]:
    """Cars that drive in slow circles, at the first of `places` that are free, else spread over the town."""
    blueprint = world.get_blueprint_library().find("vehicle.tesla.model3")
    points = world.get_map().get_spawn_points()
    free = iter(places or [*(points[k * len(points) // count] for k in range(count)), *points])
    cars: list[carla.Vehicle] = []
    while len(cars) < count:
        cars += filter(None, [world.try_spawn_actor(blueprint, next(free))])
    for car in cars:
        car.apply_control(carla.VehicleControl(throttle=0.3, steer=0.5))
    try:
        yield cars
    finally:
        client.apply_batch_sync([carla.command.DestroyActor(car) for car in cars], True)


def along_roads(world: carla.World, distance_m: float) -> list[carla.Transform]:
    """Places so far from each other on the town's driving lanes."""
    return [
        carla.Transform(point.transform.location + carla.Location(z=0.5), point.transform.rotation)
        for point in world.get_map().generate_waypoints(distance_m)
    ]


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
    port = free_port()
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
