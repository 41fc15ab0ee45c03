"""The embedded backend as configured by an operator, with the faults that need a real simulator's shape."""

from __future__ import annotations

import os
import signal

import pytest

from carlad.rpc import connect, observe_world
from carlad.wire import types as t
from carlad.wire.streaming import WORLD_STREAM
from tests.fleet.processes import is_running, parent_of


def test_a_stand_in_is_leased_used_loaded_and_replaced(run_fleet):
    async def scenario(world):
        ready = await world.ready()
        assert ready.map == "Town02"
        assert {"Town01", "Town02"} <= world.fleet.maps()[0]
        assert await world.fleet.load(0, "Town01")
        assert (await world.ready()).map == "Town01"
        assert await world.fleet.lease(0, "L1")
        async with connect("127.0.0.1", ready.rpc_port) as rpc:
            assert (await rpc.call("get_map_info")).name.endswith("/Town01")
        async with observe_world("127.0.0.1", ready.streaming_port) as observer:
            assert (await observer.snapshot()).frame < (await observer.snapshot()).frame
        await world.fleet.end(0, "L1", "released")
        after = await world.ready(incarnation=2)
        assert (after.incarnation, after.map) == (2, "Town02")
        assert after.rpc_port != ready.rpc_port

    run_fleet(scenario, map="Town02")


def test_what_a_holder_left_is_gone_when_its_server_is_ready_again(run_fleet):
    async def scenario(world):
        ready = await world.ready()
        assert await world.fleet.lease(0, "L1")
        before = await what_is_there(ready)
        async with connect("127.0.0.1", ready.rpc_port) as rpc:
            town = await rpc.call("get_map_info")
            car = t.ActorDescription(0, "vehicle.tesla.model3", [])
            for place in town.spawn_points[:20]:
                await rpc.call("spawn_actor", car, place)
            await rpc.call("set_weather_parameters", t.WeatherParameters(fog_density=90.0))
            await rpc.call("set_episode_settings", t.EpisodeSettings(synchronous_mode=True))
        assert await what_is_there(ready) != before
        await world.fleet.release(0, "L1", "it was released")
        assert (world.status().state, world.status().lease_id) == ("SCRUBBING", None)
        again = await world.ready()
        assert again.incarnation == 1, again.reason
        assert (again.pid, again.rpc_port) == (ready.pid, ready.rpc_port)
        assert await what_is_there(again) == before

    run_fleet(scenario)


async def what_is_there(status):
    """Settings, weather and actors; a world that stands still is ticked once."""
    async with (
        connect("127.0.0.1", status.rpc_port) as rpc,
        observe_world("127.0.0.1", status.streaming_port) as observer,
    ):
        await observer.subscribe()
        await rpc.call("get_sensor_token", WORLD_STREAM)  # the next tick waits for the subscription
        settings, weather = await rpc.calls(("get_episode_settings",), ("get_weather_parameters",))
        await rpc.call("tick_cue")
        return settings, weather, (await observer.snapshot()).actor_ids


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("crash-at-start", "was killed by SIGSEGV while it started"),
        ("crash-after=0.3", "was killed by SIGSEGV"),
        ("hang-after=1", "hung: no answer to 3 probes"),
        ("hang-game-after=1", "hung: no answer to 3 probes"),  # `version` still answers
    ],
)
def test_a_fault_is_seen_for_what_it_is(run_fleet, fault, reason):
    async def scenario(world):
        status = await world.lost()
        assert status.reason.startswith(reason)

    run_fleet(scenario, extra_args=("--fault", fault))


def test_a_stand_in_that_forks_and_ignores_sigterm_is_seen_through_and_ended(run_fleet):
    async def scenario(world):
        ready = await world.ready()
        launcher = parent_of(ready.pid)
        assert await world.fleet.lease(0, "L1")
        await world.fleet.end(0, "L1", "released")
        await world.ready(incarnation=2)
        assert not is_running(ready.pid)
        assert not is_running(launcher)
        os.kill(world.status().pid, signal.SIGKILL)  # the launcher stays and tells of it
        status = await world.lost()
        assert "SIGKILL" in status.reason

    run_fleet(scenario, extra_args=("--fault", "fork", "--fault", "ignore-sigterm"))
