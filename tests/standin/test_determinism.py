"""In synchronous mode the same commands give the same bits, in another process too."""

from __future__ import annotations

import hashlib

import carla

from carlad.wire.sensors import EPISODE_BYTES, HEADER_BYTES
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
        blueprint = world.get_blueprint_library().find("vehicle.tesla.model3")
        points = world.get_map().get_spawn_points()
        cars = [world.spawn_actor(blueprint, points[k]) for k in range(VEHICLES)]
        digests = []
        with raw_client(server.rpc_port) as ticker, raw_subscriber(server.streaming_port, 1) as observer:
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
