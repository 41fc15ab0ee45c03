"""Actors come and go while a Traffic Manager asks about them: PORT TRAFFIC_MANAGER_PORT SECONDS."""

from __future__ import annotations

import json
import sys
import time

import carla


def main(port: int, traffic_port: int, seconds: float) -> dict[str, object]:
    client = carla.Client("127.0.0.1", port)
    client.set_timeout(20.0)
    world = client.get_world()
    blueprint = world.get_blueprint_library().find("vehicle.audi.tt")
    points = world.get_map().get_spawn_points()
    manager = client.get_trafficmanager(traffic_port)
    driven = world.spawn_actor(blueprint, points[0])
    driven.set_autopilot(True, traffic_port)
    until, spawned = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        others = [world.try_spawn_actor(blueprint, point) for point in points[10:30]]
        spawned += sum(other is not None for other in others)
        time.sleep(0.06)
        client.apply_batch([carla.command.DestroyActor(other) for other in others if other])
    driven.set_autopilot(False, traffic_port)
    manager.shut_down()
    driven.destroy()
    return {"spawned": spawned}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
