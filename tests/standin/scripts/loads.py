"""Loads one map after the other while this client's Traffic Manager runs freely: RPC_PORT TM_PORT LOADS."""

from __future__ import annotations

import json
import sys

import carla

CARS, TICKS = 6, 30


def main(rpc_port: int, tm_port: int, loads: int) -> None:
    client = carla.Client("127.0.0.1", rpc_port)
    client.set_timeout(20.0)
    towns = []
    for number in range(loads):
        world = client.load_world(("Town01", "Town02")[number % 2])
        towns.append(world.get_map().name[-6:])
        drive(client, world, tm_port)
    print(json.dumps({"towns": towns}))


def drive(client: carla.Client, world: carla.World, tm_port: int) -> None:
    """Some ticks in synchronous mode, and back, with the cars left where they are."""
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    manager = client.get_trafficmanager(tm_port)
    manager.set_synchronous_mode(True)
    blueprint = world.get_blueprint_library().find("vehicle.audi.tt")
    for point in world.get_map().get_spawn_points()[:CARS]:
        world.spawn_actor(blueprint, point).set_autopilot(True, tm_port)
    for _ in range(TICKS):
        world.tick()
    settings.synchronous_mode = False
    world.apply_settings(settings)
    manager.set_synchronous_mode(False)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
