"""A run of many vehicles of the Traffic Manager: PORT TRAFFIC_MANAGER_PORT TOWN VEHICLES TICKS SEED.

Prints a digest of the snapshots after every hundred ticks: equal ones mean equal bits.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys

import carla

DELTA_S = 0.05
DIGEST_EVERY = 100


def main(port: int, traffic_port: int, town: str, count: int, ticks: int, seed: int) -> list[str]:
    client = carla.Client("127.0.0.1", port)
    client.set_timeout(60.0)
    world = client.load_world(town)
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, DELTA_S
    world.apply_settings(settings)
    manager = client.get_trafficmanager(traffic_port)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(seed)
    vehicles = spawn(client, world, count, traffic_port, seed)
    digest, digests = hashlib.sha256(), []
    for tick in range(ticks):
        world.tick()
        snapshot = world.get_snapshot()
        for vehicle in vehicles:
            digest.update(state_of(snapshot.find(vehicle)))
        if (tick + 1) % DIGEST_EVERY == 0:
            digests.append(digest.hexdigest()[:16])
    return digests


def spawn(client: carla.Client, world: carla.World, count: int, traffic_port: int, seed: int) -> list[int]:
    """Cars of all kinds on spawn points drawn by chance; their ids."""
    chance = random.Random(seed)
    cars = sorted(world.get_blueprint_library().filter("vehicle.*"), key=lambda car: car.id)
    points = world.get_map().get_spawn_points()
    chance.shuffle(points)
    future = carla.command.FutureActor
    answers = client.apply_batch_sync(
        [
            carla.command.SpawnActor(chance.choice(cars), point).then(
                carla.command.SetAutopilot(future, True, traffic_port)
            )
            for point in points[:count]
        ],
        True,
    )
    return [answer.actor_id for answer in answers if not answer.error]


def state_of(actor: carla.ActorSnapshot | None) -> bytes:
    if actor is None:
        return b"gone"
    pose, velocity, turning = actor.get_transform(), actor.get_velocity(), actor.get_angular_velocity()
    place, turn, speedup = pose.location, pose.rotation, actor.get_acceleration()
    return repr(
        [(v.x, v.y, v.z) for v in (place, velocity, turning, speedup)] + [(turn.pitch, turn.yaw, turn.roll)]
    ).encode()


if __name__ == "__main__":
    port, traffic_port, town, *numbers = sys.argv[1:]
    print(json.dumps(main(int(port), int(traffic_port), town, *map(int, numbers))))
    sys.stdout.flush()
    os._exit(0)  # the client's threads may abort the interpreter's end
