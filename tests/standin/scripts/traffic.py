"""The unmodified Traffic Manager drives vehicles: PORT TRAFFIC_MANAGER_PORT VEHICLES TICKS.

Prints how far they got, how far they were off the lane's centre, and what they did at lights.
"""

from __future__ import annotations

import json
import sys

import carla

from tests.standin.raw import raw_client


def main(port: int, traffic_port: int, count: int, ticks: int) -> dict[str, object]:
    client = carla.Client("127.0.0.1", port)
    client.set_timeout(20.0)
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    town = world.get_map()
    manager = client.get_trafficmanager(traffic_port)
    registered = [is_registered(port, traffic_port)]
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(7)
    vehicles = spawn(client, world, town.get_spawn_points(), count, traffic_port)
    world.tick()
    for vehicle in vehicles:
        manager.auto_lane_change(vehicle, False)
    metres = {vehicle.id: 0.0 for vehicle in vehicles}
    roads: dict[int, set[int]] = {vehicle.id: set() for vehicle in vehicles}
    last = {vehicle.id: vehicle.get_location() for vehicle in vehicles}
    offsets, waited = [], 0
    for _ in range(ticks):
        world.tick()
        for vehicle in vehicles:
            place = vehicle.get_location()
            lane = town.get_waypoint(place)
            metres[vehicle.id] += place.distance(last[vehicle.id])
            roads[vehicle.id].add(lane.road_id)
            last[vehicle.id] = place
            centre = lane.transform.location
            offsets.append(((centre.x - place.x) ** 2 + (centre.y - place.y) ** 2) ** 0.5)
            waits = vehicle.is_at_traffic_light() and vehicle.get_velocity().length() < 0.1
            waited += waits and vehicle.get_traffic_light_state() == carla.TrafficLightState.Red
    client.apply_batch_sync([carla.command.DestroyActor(vehicle) for vehicle in vehicles], True)
    manager.shut_down()
    registered.append(is_registered(port, traffic_port))
    world.apply_settings(carla.WorldSettings())
    return {
        "metres": list(metres.values()),
        "roads": [len(seen) for seen in roads.values()],
        "offset_max_m": max(offsets),
        "waited_at_red": waited,
        "registered": registered,
    }


def is_registered(port: int, traffic_port: int) -> object:
    with raw_client(port) as watcher:
        return watcher.call("is_traffic_manager_running", traffic_port)


def spawn(
    client: carla.Client, world: carla.World, points: list[carla.Transform], count: int, traffic_port: int
) -> list[carla.Vehicle]:
    blueprint = world.get_blueprint_library().find("vehicle.lincoln.mkz_2020")
    future = carla.command.FutureActor
    answers = client.apply_batch_sync(
        [
            carla.command.SpawnActor(blueprint, points[k * len(points) // count]).then(
                carla.command.SetAutopilot(future, True, traffic_port)
            )
            for k in range(count)
        ],
        True,
    )
    assert not [answer.error for answer in answers if answer.error]
    return [world.get_actor(answer.actor_id) for answer in answers]


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:]))))
