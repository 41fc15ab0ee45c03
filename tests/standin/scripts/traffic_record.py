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
    assert spawn(client, world, count, traffic_port, seed) >= 0.9 * count
    digest, digests = hashlib.sha256(), []
    for tick in range(ticks):
        world.tick()
        for actor in sorted(world.get_snapshot(), key=lambda actor: actor.id):
            digest.update(state_of(actor))
        if (tick + 1) % DIGEST_EVERY == 0:
            digests.append(digest.hexdigest()[:16])
    return digests


def spawn(client: carla.Client, world: carla.World, count: int, traffic_port: int, seed: int) -> int:
    """Vehicles of all kinds on spawn points drawn by chance; how many there are."""
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
    return sum(not answer.error for answer in answers)


def state_of(actor: carla.ActorSnapshot) -> bytes:
    pose = actor.get_transform()
    vectors = [pose.location, actor.get_velocity(), actor.get_angular_velocity(), actor.get_acceleration()]
    turn = (pose.rotation.pitch, pose.rotation.yaw, pose.rotation.roll)
    return repr((actor.id, turn, [(v.x, v.y, v.z) for v in vectors])).encode()


if __name__ == "__main__":
    port, traffic_port, town, *numbers = sys.argv[1:]
    print(json.dumps(main(int(port), int(traffic_port), town, *map(int, numbers))))
    sys.stdout.flush()
    os._exit(0)  # the client's threads may abort the interpreter's end
