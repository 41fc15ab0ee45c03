"""The official client's Traffic Manager drives in the larger towns."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

from tests.standin.process import standin_process

pytestmark = pytest.mark.system  # thousands of ticks

FIRST_PORT, LAST_PORT = 21000, 21499
SECONDS = 60
_SCRIPT = """
import json, os, sys
import carla

port, manager_port, town, seconds = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
client = carla.Client("127.0.0.1", port)
client.set_timeout(20.0)
world = client.load_world(town)
settings = world.get_settings()
settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
world.apply_settings(settings)
manager = client.get_trafficmanager(manager_port)
manager.set_synchronous_mode(True)
manager.set_random_device_seed(7)
town_map = world.get_map()
places = town_map.get_spawn_points()
car = world.get_blueprint_library().find("vehicle.tesla.model3")
vehicles = [world.spawn_actor(car, place) for place in places[:: len(places) // 30][:30]]
world.tick()
for vehicle in vehicles:
    vehicle.set_autopilot(True, manager_port)
    manager.auto_lane_change(vehicle, False)
aside, above, way = [], [], {vehicle.id: 0.0 for vehicle in vehicles}
for tick in range(20 * seconds):
    world.tick()
    for vehicle in vehicles:
        way[vehicle.id] += vehicle.get_velocity().length() * 0.05
        if tick % 10 == 0 and tick > 100:
            here = vehicle.get_location()
            lane = town_map.get_waypoint(here).transform
            aside.append(abs((here - lane.location).dot(lane.get_right_vector())))
            above.append(abs(here.z - lane.location.z))
aside.sort()
print(json.dumps({"vehicles": len(vehicles), "alive": len(world.get_actors().filter("vehicle.*")),
                  "aside": aside[int(0.999 * len(aside))], "above": max(above), "way": sorted(way.values())}))
sys.stdout.flush()
os._exit(0)  # the client's threads may abort the interpreter's end
"""


@pytest.mark.parametrize("town", ["Town03", "Town04"])
def test_traffic_keeps_its_lane_on_bends_ramps_slopes_and_bridges(town: str) -> None:
    with standin_process() as server:
        command = [sys.executable, "-c", _SCRIPT, str(server.rpc_port), str(_free_port()), town, str(SECONDS)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    seen = json.loads(done.stdout)
    assert seen["vehicles"] == seen["alive"] == 30
    assert seen["aside"] < 0.5
    assert seen["above"] < 0.15
    assert seen["way"][3] > 100.0  # at most a few wait at red lights for most of the time


def _free_port() -> int:
    for port in range(FIRST_PORT, LAST_PORT):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port in {FIRST_PORT} to {LAST_PORT}")
