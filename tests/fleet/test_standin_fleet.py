"""The embedded backend as configured by an operator, with the faults that need a real simulator's shape."""

from __future__ import annotations

import os
import signal

import pytest

from carlad.rpc import connect, observe_world
from tests.fleet.processes import is_running, parent_of


def test_a_stand_in_is_leased_used_loaded_and_replaced(run_fleet):
    async def scenario(world):
        ready = await world.ready()
        assert ready.map == "Town02"
        assert {"Town01", "Town02"} <= world.fleet.maps()
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


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("crash-at-start", "was killed by SIGSEGV while it started"),
        ("crash-after=0.3", "was killed by SIGSEGV"),
        ("hang-after=0.3", "hung: no answer to 3 probes"),
        ("hang-game-after=0.3", "hung: no answer to 3 probes"),  # `version` still answers
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
