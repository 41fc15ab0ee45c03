from __future__ import annotations

from collections.abc import Iterator

import carla
import pytest

from tests.standin.process import StandIn, standin_process

DELTA_S = 0.05


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    """One server for all tests of a module."""
    with standin_process() as running:
        yield running


@pytest.fixture
def client(server: StandIn) -> carla.Client:
    client = carla.Client("127.0.0.1", server.rpc_port)
    client.set_timeout(10.0)
    return client


@pytest.fixture
def world(client: carla.Client) -> Iterator[carla.World]:
    """The world in synchronous mode; afterwards it is asynchronous again, without any actor of the test."""
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode = True
    settings.fixed_delta_seconds = DELTA_S
    world.apply_settings(settings)
    world.tick()
    before = {actor.id for actor in world.get_actors()}
    yield world
    world.tick()
    left = [actor for actor in world.get_actors() if actor.id not in before]
    client.apply_batch_sync([carla.command.DestroyActor(actor) for actor in left])
    world.apply_settings(carla.WorldSettings())
