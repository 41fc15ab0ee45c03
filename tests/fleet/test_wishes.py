"""What operators ask of slots with real processes: no holder is disturbed but by quarantine."""

from __future__ import annotations

import os
import signal

import pytest
import trio
from msgspec import structs

from carlad.config import RestartSection
from tests.fleet.processes import is_running
from tests.fleet.scenario import NO_PROBE, PROBE, fake


@pytest.fixture
def run(run_fleet):
    def run_fakes(scenario, *options, **config):
        run_fleet(scenario, launch=fake(run_fleet.environ, *options), **config)

    return run_fakes


def test_a_drained_slot_ends_its_server_and_stays_empty_until_it_is_wanted_again(run):
    async def scenario(world):
        before = await world.ready()
        world.fleet.drain(0)
        assert (world.status().state, world.status().draining) == ("STOPPING", True)
        stopped = await world.until(lambda now: now.state == "STOPPED")
        assert (stopped.reason, stopped.pid, is_running(before.pid)) == ("it is drained", None, False)
        assert not await world.fleet.lease(0, "L1")
        world.fleet.undrain(0)
        assert not (await world.ready(incarnation=2)).draining

    run(scenario)


def test_a_holder_keeps_its_server_while_the_slot_drains(run):
    async def scenario(world):
        before = await world.ready()
        await world.fleet.lease(0, "L1")
        world.fleet.drain(0)
        assert (world.status().state, world.status().draining) == ("LEASED", True)
        assert is_running(before.pid)
        await world.fleet.end(0, "L1", "released")
        await world.until(lambda now: now.state == "STOPPED")
        assert world.status().incarnation == 1

    run(scenario)


def test_draining_that_is_taken_back_in_time_costs_nothing(run):
    async def scenario(world):
        await world.ready()
        await world.fleet.lease(0, "L1")
        world.fleet.drain(0)
        world.fleet.undrain(0)
        assert (world.status().state, world.status().draining) == ("LEASED", False)

    run(scenario)


def test_a_slot_may_be_drained_while_it_starts(run):
    async def scenario(world):
        await world.until(lambda now: now.pid is not None)
        world.fleet.drain(0)
        await world.until(lambda now: now.state == "STOPPED")
        assert world.reasons("slot.lost") == []

    run(scenario, "--never-ready")


def test_a_restart_replaces_a_free_server_at_once(run):
    async def scenario(world):
        before = await world.ready()
        world.fleet.restart(0)
        after = await world.ready(incarnation=2)
        assert (after.reason, is_running(before.pid)) == ("it is restarted by hand", False)

    run(scenario)


def test_a_restart_waits_for_the_holder(run):
    async def scenario(world):
        await world.ready()
        await world.fleet.lease(0, "L1")
        world.fleet.restart(0)
        assert world.status().state == "LEASED"
        await world.fleet.end(0, "L1", "released")
        await world.ready(incarnation=2)

    run(scenario)


@pytest.mark.parametrize("restarts_max", [1, 2])
def test_a_restart_lifts_quarantine_and_skips_the_back_off(run, restarts_max):
    """Quarantined after the second failure, or still in a back-off of a minute."""
    backoff_s, state = (0.01, "QUARANTINED") if restarts_max == 1 else (60.0, "BACKOFF")
    restart = RestartSection(backoff_s=backoff_s, backoff_max_s=60.0, restarts_max=restarts_max)

    async def scenario(world):
        before = await world.until(lambda now: now.state == state)
        world.fleet.restart(0)
        await world.until(lambda now: now.incarnation > before.incarnation and now.state == "STARTING")

    run(scenario, "--exit=1", restart=restart, probe=NO_PROBE)


def test_quarantine_takes_a_server_from_its_holder_and_keeps_the_slot_empty(run):
    async def scenario(world):
        before = await world.ready()
        await world.fleet.lease(0, "L1")
        world.fleet.quarantine(0, "it smells")
        assert ("slot.stopping", "L1", "it smells") in world.notices
        status = await world.until(lambda now: now.state == "QUARANTINED")
        assert (status.reason, status.lease_id, is_running(before.pid)) == ("it smells", None, False)
        world.fleet.restart(0)
        await world.until(lambda now: now.state == "READY" and now.incarnation == 2)

    run(scenario)


def test_a_quarantined_slot_can_be_drained_and_a_stopped_one_quarantined(run):
    async def scenario(world):
        await world.ready()
        world.fleet.quarantine(0, "it smells")
        await world.until(lambda now: now.state == "QUARANTINED")
        world.fleet.drain(0)
        await world.until(lambda now: now.state == "STOPPED")
        world.fleet.quarantine(0, "it smells")
        await world.until(lambda now: now.state == "QUARANTINED" and not now.draining)

    run(scenario)


# --- the fleet as a whole


def scaled(world, size):
    return structs.replace(world.config, fleet=structs.replace(world.config.fleet, size=size))


def test_a_fleet_grows_and_shrinks_and_holders_keep_their_servers(run):
    async def scenario(world):
        await world.ready(1)
        world.fleet.use(scaled(world, 3))
        await world.ready(2)
        assert await world.fleet.lease(2, "L1")
        world.fleet.use(scaled(world, 1))
        while len(world.fleet.statuses()) > 2:
            await world.fleet.changes.wait()
        assert [(now.slot, now.state) for now in world.fleet.statuses()] == [(0, "READY"), (2, "LEASED")]
        await world.fleet.end(2, "L1", "released")
        while len(world.fleet.statuses()) > 1:
            await world.fleet.changes.wait()
        assert not await world.fleet.lease(2, "L2")

    run(scenario, size=2)


def test_a_slot_that_leaves_is_kept_when_the_fleet_grows_again_in_time(run):
    async def scenario(world):
        before = await world.ready()
        await world.fleet.lease(0, "L1")
        world.fleet.use(scaled(world, 0))
        world.fleet.use(scaled(world, 1))
        assert (world.status().state, world.status().draining) == ("LEASED", False)
        assert world.status().pid == before.pid

    run(scenario)


def test_another_probe_limit_applies_to_running_servers_without_replacing_them(run):
    async def scenario(world):
        before = await world.ready()
        world.fleet.use(structs.replace(world.config, probe=PROBE))
        with trio.move_on_after(0.2):
            await world.until(lambda now: now.state != "READY")
        assert world.status().pid == before.pid
        os.kill(before.pid, signal.SIGSTOP)
        assert (await world.lost()).reason.startswith("hung: ")

    run(scenario, probe=NO_PROBE)


def test_servers_of_another_configuration_are_replaced_one_by_one_as_they_become_free(run):
    async def scenario(world):
        held, _free = await world.ready(0), await world.ready(1)
        await world.fleet.lease(0, "L1")
        world.fleet.use(changed(world.config, extra_args=("-nosound",)))
        await world.ready(1, incarnation=2)
        assert (world.status(0).state, world.status(0).pid) == ("LEASED", held.pid)
        await world.fleet.end(0, "L1", "released")
        await world.ready(0, incarnation=2)

    run(scenario, size=2)


def test_servers_that_another_configuration_does_not_concern_stay(run):
    async def scenario(world):
        stays = await world.ready(0)
        await world.ready(1)
        world.fleet.use(changed(world.config, maps=("Town01", "Town02"), park_after_s=9.0))
        assert (await world.ready(1, incarnation=2)).map == "Town02"
        assert world.status(0) == stays

    run(scenario, size=2, maps=("Town01",))


def changed(config, **fleet):
    return structs.replace(config, fleet=structs.replace(config.fleet, **fleet))
