"""In synchronous mode the same commands give the same bits, in another process too."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import carla
import pytest

from carlad.wire.sensors import EPISODE_BYTES, HEADER_BYTES
from tests.ports import free_port
from tests.standin.process import standin_process
from tests.standin.raw import raw_client, raw_subscriber

VEHICLES, TICKS = 20, 200


def drive() -> list[str]:
    """A digest of the records of every frame of a fixed drive, crashes included."""
    with standin_process("--seed=7") as server:
        client = carla.Client("127.0.0.1", server.rpc_port)
        client.set_timeout(10.0)
        world = client.get_world()
        settings = world.get_settings()
        settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
        world.apply_settings(settings)
        # Lights have run since the start, by the real clock: this episode is synchronous from its first tick.
        world = client.load_world("Town01", False)
        blueprint = world.get_blueprint_library().find("vehicle.tesla.model3")
        points = world.get_map().get_spawn_points()
        cars = [world.spawn_actor(blueprint, points[k]) for k in range(VEHICLES)]
        digests = []
        with raw_client(server.rpc_port) as ticker, raw_subscriber(server.streaming_port, 1) as observer:
            for _ in range(2):
                ticker.call("version")  # the subscription is through when the second is answered
            for tick in range(TICKS):
                if tick % 20 == 0:
                    for k, vehicle in enumerate(cars):
                        steer = ((k * 7 + tick) % 11 - 5) / 10.0
                        vehicle.apply_control(carla.VehicleControl(throttle=0.6, steer=steer))
                    world.get_settings()  # the controls are through when this is answered
                ticker.call("tick_cue")
                digests.append(hashlib.sha256(observer.payload()[HEADER_BYTES + EPISODE_BYTES :]).hexdigest())
        return digests


def test_the_same_drive_twice_gives_equal_records() -> None:
    first, second = drive(), drive()
    assert len(set(first)) == TICKS
    assert first == second


def traffic(town: str, load: int = 0) -> list[str]:
    """Digests of 100 vehicles' traffic for 2000 ticks, beside so many processes that only burn CPU time."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(load)]
    try:
        with standin_process() as server:
            command = [sys.executable, "-m", "tests.standin.scripts.traffic_record", str(server.rpc_port)]
            command += [str(free_port()), town, "100", "2000", "5"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    digests: list[str] = json.loads(done.stdout.splitlines()[-1])
    return digests


@pytest.mark.system
def test_the_traffic_manager_s_traffic_is_the_same_under_load() -> None:
    quiet, loaded = traffic("Town05"), traffic("Town05", load=2)
    assert len(set(quiet)) == 20
    assert loaded == quiet


def climb(world: carla.World, frames_before: int) -> list[float]:
    """Heights of a car that is pushed uphill, in an episode that has run for a while."""
    for _ in range(frames_before):
        world.tick()
    hill = next(point for point in world.get_map().get_spawn_points() if point.rotation.pitch > 2.0)
    vehicle = world.spawn_actor(world.get_blueprint_library().find("vehicle.tesla.model3"), hill)
    vehicle.enable_constant_velocity(carla.Vector3D(x=20.0))
    heights = []
    for _ in range(20):
        world.tick()
        heights.append(vehicle.get_location().z)
    vehicle.destroy()
    return heights


def test_a_drive_is_the_same_however_long_the_episode_has_run(
    client: carla.Client, world: carla.World
) -> None:
    hilly = client.load_world("Town03", False)
    heights = [climb(hilly, frames_before) for frames_before in range(4)]
    client.load_world("Town01", False)
    assert heights[0][-1] > heights[0][0] + 0.5
    assert heights[1:] == heights[:1] * 3
