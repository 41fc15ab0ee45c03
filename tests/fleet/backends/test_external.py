"""Servers that are not ours: never started, never ended, withdrawn until nobody else meddles with them."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from carlad.config import ProbeSection
from carlad.errors import ConfigError, ServerError
from carlad.fleet.backends.external import External, servers_of
from carlad.fleet.ports import PortRegistry, Ports
from carlad.rpc import connect
from carlad.wire import types as t
from tests.fleet.processes import fake_server, is_running, server_on
from tests.fleet.test_adoption import earlier


@pytest.fixture
def run(run_fleet):
    """Runs a scenario on a fleet of the one server at this port, which outlives it."""

    def run_external(scenario, port, **config):
        run_fleet(scenario, backend="external", servers=(f"localhost:{port}",), **config)

    return run_external


async def episode(port: int) -> int:
    async with connect("127.0.0.1", port) as rpc:
        return (await rpc.call("get_episode_info")).episode_id


def test_a_server_is_leased_scrubbed_and_left_running(run):
    with fake_server() as (server, port):

        async def scenario(world):
            ready = await world.ready()
            assert (ready.host, ready.rpc_port, ready.streaming_port) == ("127.0.0.1", port, port + 1)
            assert (ready.map, ready.pid) == ("Town01", server.pid)
            await world.fleet.lease(0, "L1")
            await world.fleet.release(0, "L1", "released")
            assert (await world.ready()).incarnation == 1

        run(scenario, port)
        assert is_running(server.pid)


def test_a_synchronous_world_is_freed_and_loaded_anew(run):
    with fake_server("--synchronous") as (_server, port):

        async def scenario(world):
            await world.ready()
            async with connect("127.0.0.1", port) as rpc:
                assert not (await rpc.call("get_episode_settings")).synchronous_mode
            assert await episode(port) == 2

        run(scenario, port)


def test_a_server_that_was_parked_draws_again_when_it_is_left(run):
    with fake_server() as (_server, port):

        async def settings():
            async with connect("127.0.0.1", port) as rpc:
                return await rpc.call("get_episode_settings")

        async def scenario(world):
            await world.ready()
            while ("slot.parked", None, None) not in world.notices:  # noqa: ASYNC110
                await trio.sleep(0.01)

        run(scenario, port, park_after_s=0.2)
        assert not trio.run(settings).no_rendering_mode


def test_a_holder_who_stays_connected_keeps_the_server_withdrawn_and_is_named(run):
    with fake_server() as (server, port):

        async def scenario(world):
            await world.ready()
            await world.fleet.lease(0, "L1")
            async with connect("127.0.0.1", port) as holder:
                await world.fleet.end(0, "L1", "its time to live is over")
                withdrawn = await world.until(lambda now: now.state == "BACKOFF")
                assert f"process {os.getpid()} (" in withdrawn.reason
                assert "is still connected to port" in withdrawn.reason
                await holder.call("set_episode_settings", t.EpisodeSettings(synchronous_mode=True))
            again = await world.ready(incarnation=2)
            assert (again.rpc_port, is_running(server.pid)) == (port, True)

        run(scenario, port)


def test_a_daemon_that_is_killed_leaves_the_holder_his_server_and_his_world(run, run_fleet):
    with fake_server() as (server, port):

        def earlier_daemon(config, state_dir):
            with earlier(config, state_dir, run_fleet.environ, "--as-configured") as fleet:
                fleet.tell("until 0 READY")
                fleet.tell("lease 0 L1")
                fleet.kill()

        async def scenario(world):
            held = await episode(port)
            assert (world.status().state, world.status().lease_id) == ("LEASED", "L1")
            await world.fleet.release(0, "L1", "released")
            assert (await world.ready()).incarnation == 1
            assert await episode(port) == held

        run(scenario, port, before=earlier_daemon)
        assert is_running(server.pid)


def test_a_server_that_is_replaced_by_its_owner_comes_back(run):
    with fake_server() as (server, port):

        async def scenario(world):
            await world.ready()
            server.kill()
            assert (await world.lost()).reason == "takes no connection: refused 3 times in a row"
            absent = await world.until(lambda now: now.state == "BACKOFF" and now.restarts > 3)
            assert f"cannot connect to 127.0.0.1:{port}" in absent.reason  # it is never quarantined
            with server_on(port):
                await world.ready(incarnation=2)
                await world.fleet.lease(0, "L2")

        run(scenario, port)


def test_a_server_that_hangs_is_withdrawn_and_taken_again_when_it_answers(run):
    with fake_server() as (server, port):

        async def scenario(world):
            await world.ready()
            server.send_signal(signal.SIGSTOP)
            assert (await world.lost()).reason.startswith("hung: no answer")
            server.send_signal(signal.SIGCONT)
            await world.ready(incarnation=2)

        run(scenario, port)


def test_each_slot_has_the_server_that_is_named_at_its_place():
    names = servers_of(("sim0:2000", "sim1:2000", "sim2:2000"))
    external = External(names, PortRegistry(2000, 2999), ProbeSection())
    with external.place(None, slot=2) as two, external.place(None, slot=0) as zero:
        assert (two, zero) == (names[2], names[0])
        with external.place(None, slot=2) as other:  # which a reload has left to another slot
            assert other == names[1]


def test_a_server_that_is_held_is_nobody_elses_after_a_reload_either():
    registry, names = PortRegistry(2000, 2999), servers_of(("sim1:2000", "sim2:2000"))
    before, after = (External(names, registry, ProbeSection()) for _ in range(2))
    with before.place(None) as first, after.place(None) as second:
        assert (first.host, second.host) == ("sim1", "sim2")
        with pytest.raises(ServerError, match="no further server"), after.place(None):
            pass
    with after.place(second) as again:  # the same slot's, as long as it is free
        assert again == second


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("a:2000", "a:2000"), "names a server twice"),
        (("localhost:2000", "127.0.0.1:2000"), "names a server twice"),
        (("sim1:65533",), "sim1:65533: the highest port of a server is 65532"),
    ],
)
def test_servers_that_cannot_be_are_refused(names, says):
    with pytest.raises(ConfigError, match=says):
        servers_of(names)


def test_servers_are_named_by_host_and_port():
    assert servers_of(("localhost:2000", "sim1:3000")) == (Ports(2000), Ports(3000, "sim1"))
