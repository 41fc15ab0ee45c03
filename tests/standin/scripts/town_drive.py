"""30 vehicles of the Traffic Manager in a town: PORT TRAFFIC_MANAGER_PORT TOWN SECONDS.

Prints how far they were off their lane's centre and above it, what share of the time they were far off, and
how far they got.
"""

from __future__ import annotations

import json
import os
import sys

import carla

VEHICLES = 30
DELTA_S = 0.05
ASTRAY_M = 1.0
SETTLED_TICKS = 100
LOOK_EVERY = 10


def main(port: int, traffic_port: int, town: str, seconds: int) -> dict[str, object]:
    client = carla.Client("127.0.0.1", port)
    client.set_timeout(20.0)
    world = client.load_world(town)
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, DELTA_S
    world.apply_settings(settings)
    manager = client.get_trafficmanager(traffic_port)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(7)
    town_map = world.get_map()
    places = town_map.get_spawn_points()
    car = world.get_blueprint_library().find("vehicle.tesla.model3")
    vehicles = [world.spawn_actor(car, place) for place in places[:: len(places) // VEHICLES][:VEHICLES]]
    world.tick()
    for vehicle in vehicles:
        vehicle.set_autopilot(True, traffic_port)
        manager.auto_lane_change(vehicle, False)
    aside, above, way = [], [], {vehicle.id: 0.0 for vehicle in vehicles}
    for tick in range(round(seconds / DELTA_S)):
        world.tick()
        # The Traffic Manager takes away vehicles that come to a dead end.
        vehicles = [vehicle for vehicle in vehicles if vehicle.is_alive]
        for vehicle in vehicles:
            way[vehicle.id] += vehicle.get_velocity().length() * DELTA_S
            if tick % LOOK_EVERY == 0 and tick > SETTLED_TICKS:
                here = vehicle.get_location()
                lane = town_map.get_waypoint(here).transform
                aside.append(abs((here - lane.location).dot(lane.get_right_vector())))
                above.append(abs(here.z - lane.location.z))
    aside.sort()
    above.sort()
    return {
        "vehicles": len(way),
        "alive": len(vehicles),
        "aside": aside[int(0.999 * len(aside))],
        "astray": sum(metres > ASTRAY_M for metres in aside) / len(aside),
        "above": above[int(0.999 * len(above))],
        "way": sorted(way.values()),
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))))
    sys.stdout.flush()
    os._exit(0)  # the client's threads may abort the interpreter's end
