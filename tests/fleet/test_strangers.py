"""Promise 2: nobody but its holder does anything to a server, and no holder after its lease."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest
import trio

from carlad.errors import ServerError
from carlad.fleet.baseline import difference
from carlad.fleet.ports import Ports
from carlad.fleet.reach import Reach
from carlad.fleet.scrub import baseline_of
from carlad.rpc import connect
from tests.fleet import holders
from tests.fleet.holders import holding
from tests.fleet.scenario import NO_PROBE, fake


@pytest.fixture
def run(run_fleet):
    """Runs a scenario on a fake server."""

    def run_fakes(scenario, *options, **config):
        run_fleet(scenario, launch=fake(run_fleet.environ, *options), **config)

    return run_fakes


def test_a_stranger_at_a_ready_server_is_seen_and_the_server_scrubbed_when_it_has_gone(run):
    async def scenario(world):
        ready = await world.ready()
        async with connect("127.0.0.1", ready.rpc_port) as stranger:
            await world.until(lambda now: now.state == "SCRUBBING")
            assert not await world.fleet.lease(0, "L1")
            assert await stranger.call("version") == "0.9.16"
        again = await world.ready()
        assert (again.incarnation, again.pid) == (1, ready.pid)
        (reason,) = filter(None, world.reasons("slot.scrubbing"))
        assert reason.startswith(f"process {os.getpid()} (")
        assert reason.endswith(f", a stranger, was connected to port {ready.rpc_port}")

    run(scenario)


def test_a_stranger_who_stays_keeps_the_old_ports_and_the_server_is_replaced(run):
    async def scenario(world):
        ready = await world.ready()
        async with connect("127.0.0.1", ready.streaming_port):
            lost = await world.lost()
            assert f"is still connected to port {ready.streaming_port}" in lost.reason
            again = await world.ready(incarnation=2)
        assert again.rpc_port != ready.rpc_port

    run(scenario)


def test_a_visit_between_two_probes_is_seen_before_the_grant(run):
    async def scenario(world):
        ready = await world.ready()
        await trio.sleep(0.3)  # the one probe has been
        async with connect("127.0.0.1", ready.rpc_port) as visitor:
            await visitor.call("version")
        assert not await world.fleet.lease(0, "L1")
        assert world.status().state == "SCRUBBING"
        await world.ready()
        assert await world.fleet.lease(0, "L2")

    run(scenario, probe=NO_PROBE)


def test_nobody_is_a_stranger_at_a_server_that_is_held(run):
    async def scenario(world):
        ready = await world.ready()
        assert await world.fleet.lease(0, "L1")
        async with connect("127.0.0.1", ready.rpc_port):
            await trio.sleep(0.5)  # five probes' time
        assert (world.status().state, world.status().lease_id) == ("LEASED", "L1")

    run(scenario)


def test_a_world_at_which_a_stranger_was_while_it_started_is_loaded_anew(run):
    async def scenario(world):
        starting = await world.until(lambda now: now.pid is not None)
        await until_it_listens(starting.rpc_port)
        async with connect("127.0.0.1", starting.rpc_port) as stranger:
            await stranger.call("stop_recorder")
        ready = await world.ready()
        assert (ready.incarnation, world.reasons("slot.lost")) == (1, [])
        assert await world.fleet.lease(0, "L1")
        assert await episode(ready.rpc_port) == 2

    run(scenario, "--no-episode-until=stop_recorder")


def test_a_stranger_who_stays_while_a_server_starts_makes_it_a_failure(run):
    async def scenario(world):
        starting = await world.until(lambda now: now.pid is not None)
        await until_it_listens(starting.rpc_port)
        async with connect("127.0.0.1", starting.rpc_port) as stranger:
            await stranger.call("stop_recorder")
            lost = await world.lost()
        assert f"a stranger, was connected to port {starting.rpc_port} while Town01 was loaded" in lost.reason
        assert lost.reason.startswith(f"process {os.getpid()} (")

    run(scenario, "--no-episode-until=stop_recorder")


def test_at_an_open_fleet_nobody_is_a_stranger(run):
    async def scenario(world):
        starting = await world.until(lambda now: now.pid is not None)
        await until_it_listens(starting.rpc_port)
        async with connect("127.0.0.1", starting.rpc_port) as early:
            await early.call("stop_recorder")
            await world.ready()
            assert await world.fleet.lease(0, "L1")
            assert (await early.call("get_episode_info")).episode_id == 1
        assert world.reasons("slot.lost") == []

    run(scenario, "--no-episode-until=stop_recorder", open=True)


def test_who_was_at_a_world_while_it_was_loaded_leaves_nothing_to_the_next_holder(run):
    async def scenario(world):
        ready = await world.ready()
        assert await world.fleet.load(0, "Town02")
        async with connect("127.0.0.1", ready.rpc_port) as stranger:
            while (await stranger.call("get_episode_info")).episode_id == 1:
                pass
        lost = await world.lost()
        assert lost.reason.endswith(
            f", a stranger, was connected to port {ready.rpc_port} while Town02 was loaded"
        )
        assert (await world.ready(incarnation=2)).map == "Town01"

    run(scenario, "--load-s=0.3")


def test_a_world_that_a_scrub_loads_is_loaded_again_where_a_stranger_was_at_it(run):
    async def scenario(world):
        ready = await world.ready()
        assert await world.fleet.lease(0, "L1")
        async with connect("127.0.0.1", ready.rpc_port) as holder:
            await holder.call("load_new_episode", "Town02", True, 0xFFFF)
        await world.fleet.release(0, "L1", "it was released")
        while await episode(ready.rpc_port) < 3:  # noqa: ASYNC110 nothing tells a stranger
            await trio.sleep(0.03)  # in which the scrub finds itself alone
        again = await world.ready()
        assert await world.fleet.lease(0, "L2")
        assert (again.incarnation, await episode(again.rpc_port)) != (1, 3)

    run(scenario, "--load-s=0.3")


@pytest.mark.parametrize(
    "what", [holders.SETTINGS, holders.RESTLESS, holders.RECONNECTING], ids=["stays", "sends", "reconnects"]
)
def test_a_released_holder_reaches_nothing_of_its_successors(run_fleet, what):
    async def scenario(world):
        ready = await world.ready()
        assert await world.fleet.lease(0, "L1")
        with holding(ready.rpc_port, what):
            await world.fleet.release(0, "L1", "it was released")
            again = await world.ready()
            assert again.incarnation == 2, "it was not scrubbed while its holder was there"
            assert await world.fleet.lease(0, "L2")
            await check_that_nothing_happens(again)

    run_fleet(scenario)


def test_a_holder_that_was_stopped_past_its_lease_finds_its_server_gone(run_fleet):
    async def scenario(world):
        ready = await world.ready()
        assert await world.fleet.lease(0, "L1")
        with holding(ready.rpc_port, holders.RESTLESS) as holder:
            holder.send_signal(signal.SIGSTOP)
            await world.fleet.end(0, "L1", "its time to live is over")
            again = await world.ready(incarnation=2)
            assert await world.fleet.lease(0, "L2")
            holder.send_signal(signal.SIGCONT)
            await check_that_nothing_happens(again)

    run_fleet(scenario)


async def until_it_listens(port):
    while True:
        with suppress(ServerError):
            async with connect("127.0.0.1", port):
                return
        await trio.sleep(0.01)


async def episode(port):
    async with connect("127.0.0.1", port) as rpc:
        return (await rpc.call("get_episode_info")).episode_id


async def check_that_nothing_happens(status):
    """For a while, at a server that somebody holds who does nothing."""
    reach = Reach(Ports(status.rpc_port))
    before = await baseline_of(reach, status.map)
    await trio.sleep(1.0)
    after = await baseline_of(reach, status.map)
    assert (after.settings, after.weather) == (before.settings, before.weather)
    async with reach.world() as world:
        assert str(difference(before, await world.snapshot())) == ""
