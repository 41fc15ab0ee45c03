"""Slots with real processes: what misbehaves is seen for what it is, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
import trio
from msgspec import structs

from carlad.config import LogsSection, ProbeSection, RestartSection
from carlad.fleet.backends.interface import Launch
from carlad.rpc import connect
from carlad.wire import types as t
from tests.fleet.processes import is_running, parent_of, server_on
from tests.fleet.scenario import NO_PROBE, PROBE, fake, first_fake


@pytest.fixture
def run(run_fleet):
    """Runs a scenario on fake servers with the given options."""

    def run_fakes(scenario, *options, **config):
        run_fleet(scenario, launch=fake(run_fleet.environ, *options), **config)

    return run_fakes


# --- what is asked of a slot


def test_a_ready_slot_says_what_was_checked(run):
    async def scenario(world):
        assert world.fleet.maps() == {0: frozenset()}
        status = await world.ready()
        assert (status.map, status.host, status.restarts, status.reason) == ("Town01", "127.0.0.1", 0, None)
        assert status.traffic_manager_port == status.rpc_port + 3
        assert world.fleet.maps() == {0: {"Town01", "Town02"}}
        async with connect("127.0.0.1", status.rpc_port) as rpc:
            assert (await rpc.call("get_map_info")).name == "Carla/Maps/Town01"
        assert is_running(status.pid)
        assert [event for event, _, _ in world.notices] == ["slot.starting", "slot.ready"]

    run(scenario)


def test_only_one_lease_is_granted(run):
    async def scenario(world):
        assert not await world.fleet.lease(0, "L0")  # not READY yet
        await world.ready()
        assert await world.fleet.lease(0, "L1")
        assert (world.status().state, world.status().lease_id) == ("LEASED", "L1")
        assert not await world.fleet.lease(0, "L2")
        assert not await world.fleet.load(0, "Town02")
        await world.fleet.ping()

    run(scenario)


def test_an_ended_lease_gives_way_to_another_incarnation_on_other_ports(run):
    async def scenario(world):
        before = await world.ready()
        await world.fleet.lease(0, "L1")
        await world.fleet.end(0, "L0", "a lease that does not hold it")
        assert world.status().state == "LEASED"
        await world.fleet.end(0, "L1", "released")
        assert (world.status().state, world.status().lease_id) == ("STOPPING", None)
        after = await world.ready(incarnation=2)
        assert not {before.rpc_port, before.streaming_port} & {after.rpc_port, after.streaming_port}
        assert not is_running(before.pid)
        assert (after.restarts, after.reason) == (0, "released")
        assert ("slot.stopping", "L1", "released") in world.notices
        assert world.reasons("slot.lost") == []

    run(scenario)


def test_a_slot_loads_the_map_that_is_asked_for(run):
    async def scenario(world):
        ready = await world.ready()
        assert await world.fleet.load(0, "Town02")
        assert world.status().state == "STARTING"
        loaded = await world.ready()
        assert (loaded.map, loaded.incarnation, loaded.pid) == ("Town02", 1, ready.pid)

    run(scenario, "--load-s=0.3")


def test_the_configured_map_is_loaded_before_a_slot_is_ready(run):
    async def scenario(world):
        assert (await world.ready()).map == "Town02"

    run(scenario, map="Town02")


def test_several_maps_are_spread_over_the_slots_so_that_each_is_there(run):
    async def scenario(world):
        assert [(await world.ready(slot)).map for slot in range(3)] == ["Town02", "Town01", "Town02"]

    run(scenario, maps=("Town02", "Town01"), size=3)


def test_a_crash_while_a_map_loads_replaces_the_incarnation(run):
    async def scenario(world):
        await world.ready()
        assert await world.fleet.load(0, "Town02")
        status = await world.until(lambda now: now.incarnation == 2)
        assert status.reason.startswith("was killed by SIGSEGV")
        await world.ready(incarnation=2)

    run(scenario, "--crash-on-load")


def test_the_log_is_read_across_incarnations(run):
    async def scenario(world):
        before = await world.ready()
        await world.fleet.lease(0, "L1")
        await world.fleet.end(0, "L1", "released")
        await world.ready(incarnation=2)
        lines = (await world.fleet.log(0, 50)).lines
        assert f"ready {before.rpc_port} {before.streaming_port}" in lines
        assert sum(line.startswith("ready") for line in lines) == 2

    run(scenario)


def test_slots_do_not_disturb_each_other(run):
    async def scenario(world):
        for slot in range(3):
            await world.ready(slot)
        pids = [status.pid for status in world.fleet.statuses()]
        os.kill(pids[1], signal.SIGKILL)
        await world.ready(slot=1, incarnation=2)
        assert [world.status(0).pid, world.status(2).pid] == [pids[0], pids[2]]
        assert len({status.rpc_port for status in world.fleet.statuses()}) == 3

    run(scenario, size=3)


def test_a_server_that_nobody_holds_is_parked_and_draws_again_for_its_holder(run):
    async def parked(world):
        while ("slot.parked", None, None) not in world.notices:  # noqa: ASYNC110
            await trio.sleep(0.01)
        world.notices.clear()

    async def draws(port):
        async with connect("127.0.0.1", port) as rpc:
            return not (await rpc.call("get_episode_settings")).no_rendering_mode

    async def scenario(world):
        port = (await world.ready()).rpc_port
        await parked(world)
        assert await world.fleet.lease(0, "L1")
        assert await draws(port)
        await world.fleet.release(0, "L1", "released")
        assert (await world.ready()).incarnation == 1
        await parked(world)
        assert await world.fleet.load(0, "Town02")  # which must not take parking for how it was found
        loaded = await world.ready()
        assert (loaded.map, loaded.incarnation) == ("Town02", 1)
        await parked(world)
        assert await world.fleet.lease(0, "L2")
        assert await draws(port)

    run(scenario, park_after_s=0.2)


# --- servers that misbehave


def test_a_crash_takes_the_lease_away_at_once_and_says_why(run):
    async def scenario(world):
        before = await world.ready()
        await world.fleet.lease(0, "L1")
        os.kill(before.pid, signal.SIGKILL)
        status = await world.until(lambda now: now.state != "LEASED")
        assert status.lease_id is None
        assert status.reason.startswith("was killed by SIGKILL: it said: ready")
        assert ("slot.lost", "L1", status.reason) in world.notices
        after = await world.ready(incarnation=2)
        assert after.rpc_port != before.rpc_port
        assert (after.restarts, after.reason) == (1, status.reason)

    run(scenario, probe=NO_PROBE)  # it is the shim that sees it


def test_a_hang_is_seen_by_the_probes(run):
    async def scenario(world):
        before = await world.ready()
        await world.fleet.lease(0, "L1")
        os.kill(before.pid, signal.SIGSTOP)
        status = await world.lost()
        assert status.reason == "hung: no answer to 3 probes in a row, 0.5 s each"
        assert (await world.until(lambda now: now.cause)).cause == "hung"
        await world.ready(incarnation=2)
        assert not is_running(before.pid)

    run(scenario)


def test_a_holder_that_loads_a_map_for_long_keeps_its_server(run):
    async def scenario(world):
        before = await world.ready()
        await world.fleet.lease(0, "L1")
        async with connect("127.0.0.1", before.rpc_port) as rpc:
            await rpc.call("load_new_episode", "Town02", True, 0)
            assert (await rpc.call("get_map_info")).name == "Carla/Maps/Town02"
        assert (world.status().state, world.status().pid) == ("LEASED", before.pid)

    run(scenario, "--load-s=2.2")  # the probes' patience is 1.5 s


def test_a_server_that_is_busy_for_ever_is_given_up(run):
    async def scenario(world):
        before = await world.ready()
        await world.fleet.lease(0, "L1")
        async with connect("127.0.0.1", before.rpc_port) as rpc:
            await rpc.call("load_new_episode", "Town02", True, 0)
        assert (await world.lost()).reason == "busy without an answer for 1.2 s"

    # A machine that is busy may give it no time for a while: that is no hang here.
    run(scenario, "--load-s=20", probe=structs.replace(PROBE, load_max_s=1.2, failures=40))


def test_a_tick_that_waits_for_ever_is_freed_and_the_holder_keeps_server_and_settings(run):
    async def scenario(world):
        ready = await world.ready()
        await world.fleet.lease(0, "L1")
        async with connect("127.0.0.1", ready.rpc_port) as holder:
            settings = t.EpisodeSettings(synchronous_mode=True, fixed_delta_seconds=(True, 0.1))
            await holder.call("set_episode_settings", settings)
            await trio.sleep(0.3)  # a probe has seen it
            with trio.move_on_after(0.1):
                await holder.call("tick_cue")
            while not world.reasons("slot.revived"):  # noqa: ASYNC110
                await trio.sleep(0.05)
            assert await holder.call("get_episode_settings") == settings
        assert (world.status().state, world.status().lease_id) == ("LEASED", "L1")

    run(scenario, "--stuck-tick")


def test_a_server_that_never_listens_is_given_up(run):
    async def scenario(world):
        status = await world.lost()
        assert status.reason == (
            f"not ready 0.5 s after its start: a listener on port {world.first_port} is missing"
        )
        assert status.restarts == 0

    run(scenario, "--never-ready", probe=ProbeSection(start_max_s=0.5))


def test_a_world_that_stops_ticking_while_nobody_holds_it_is_given_up(run, monkeypatch):
    monkeypatch.setattr("carlad.fleet.progress.PERIOD_S", 0.2)

    async def scenario(world):
        await world.ready()
        assert (await world.lost()).reason == "it answers, but its world does not tick"

    run(scenario, "--freezes-after=2")


def test_a_world_that_stands_still_while_somebody_holds_it_is_his_affair(run, monkeypatch):
    monkeypatch.setattr("carlad.fleet.progress.PERIOD_S", 0.2)

    async def scenario(world):
        await world.ready()
        assert await world.fleet.lease(0, "L1")
        await trio.sleep(2.0)
        assert world.status().state == "LEASED"

    run(scenario, "--freezes-after=1")


def test_a_world_that_does_not_tick_is_given_up(run):
    async def scenario(world):
        status = await world.lost()
        assert status.reason == "not ready 4 s after its start: a tick of its world is missing"

    run(scenario, "--frozen", probe=ProbeSection(start_max_s=4.0))


@pytest.mark.parametrize(
    ("option", "map", "reason"),
    [
        ("--version=0.9.15", "", "it is CARLA 0.9.15, carlad speaks to 0.9.16 only"),
        ("--synchronous", "", "it started in synchronous mode"),
        ("--map=Town01", "Town99", "cannot load Town99: Map 'Town99' not found"),
    ],
)
def test_a_server_that_is_not_what_it_should_be_is_refused(run, option, map, reason):
    async def scenario(world):
        status = await world.lost()
        assert status.reason.startswith(reason)

    run(scenario, option, map=map)


def test_another_version_is_quarantined_at_once(run):
    async def scenario(world):
        status = await world.until(lambda now: now.state == "QUARANTINED")
        assert (status.incarnation, status.restarts) == (1, 0)
        assert status.reason == "it is CARLA 0.9.15, carlad speaks to 0.9.16 only"
        assert status.cause == "not what it should be"

    run(scenario, "--version=0.9.15")


def test_a_server_that_crashes_at_its_start_ends_in_quarantine(run):
    async def scenario(world):
        status = await world.until(lambda now: now.state == "QUARANTINED")
        assert (status.incarnation, status.restarts, status.pid, status.rpc_port) == (3, 2, None, None)
        assert status.reason == (
            "failed too often, lastly: exited with status 7 while it started: it said: cannot start: told to"
        )
        assert len(world.reasons("slot.backoff")) == 2
        assert len(world.reasons("slot.quarantined")) == 1
        assert not await world.fleet.lease(0, "L1")
        await world.fleet.ping()

    run(scenario, "--exit=7")


def test_a_reason_that_several_slots_share_is_tried_on_one_of_them_and_given_up_for_all(run):
    async def scenario(world):
        last = [await world.until(lambda now: now.state == "QUARANTINED", slot) for slot in range(4)]
        (scout,) = [status for status in last if status.incarnation == 3]
        assert scout.reason.startswith("failed too often, lastly: exited with status 7")
        others = [status for status in last if status is not scout]
        assert {status.reason for status in others} == {f"as slot {scout.slot}: {scout.reason}"}
        world.fleet.restart(others[0].slot)  # which may try for itself then
        await world.until(lambda now: now.incarnation > others[0].incarnation, slot=others[0].slot)

    run(scenario, "--exit=7", size=4)


def test_slots_that_wait_for_one_another_start_when_it_could(run_fleet, tmp_path):
    repaired = tmp_path / "repaired"

    def launch(ports):
        return fake(run_fleet.environ, *(() if repaired.exists() else ("--exit=7",)))(ports)

    async def scenario(world):
        while not (waiting := [now for now in world.fleet.statuses() if "waits while" in (now.reason or "")]):
            await world.fleet.changes.wait()
        assert waiting[0].state == "BACKOFF"
        repaired.touch()
        for slot in range(3):
            await world.ready(slot)

    patient = RestartSection(backoff_s=0.5, backoff_max_s=0.5, restarts_max=50)
    run_fleet(scenario, launch=launch, size=3, restart=patient)


def test_a_server_that_cannot_be_executed_ends_in_quarantine(run_fleet):
    async def scenario(world):
        status = await world.until(lambda now: now.state == "QUARANTINED")
        assert "cannot execute /no/such/server: [Errno 2] No such file" in status.reason

    run_fleet(scenario, launch=lambda _ports: Launch(("/no/such/server",), run_fleet.environ, "/"))


def test_a_start_that_fails_once_is_followed_by_one_that_works(run_fleet):
    async def scenario(world):
        status = await world.ready()
        assert (status.incarnation, status.restarts) == (2, 1)

    run_fleet(scenario, launch=first_fake(run_fleet.environ, "--exit=1"))


def test_a_server_that_ignores_sigterm_is_killed(run):
    async def scenario(world):
        before = await world.ready()
        await world.fleet.lease(0, "L1")
        await world.fleet.end(0, "L1", "released")
        await world.ready(incarnation=2)
        assert not is_running(before.pid)
        world.fleet.hasten()

    run(scenario, "--ignore-sigterm")


def test_a_launcher_that_forks_hides_neither_the_server_nor_its_crash(run):
    async def scenario(world):
        before = await world.ready()
        assert f"-carla-rpc-port={before.rpc_port}" in command_line(before.pid)
        assert "shim.py" in command_line(parent_of(parent_of(before.pid)))  # the launcher is between them
        os.kill(before.pid, signal.SIGSEGV)
        status = await world.lost()
        assert status.reason.startswith("exited with status 245: ")  # as the launcher passed it on
        await world.ready(incarnation=2)

    run(scenario, "--fork", probe=NO_PROBE)


def test_a_flood_of_output_disturbs_nobody(run, tmp_path):
    async def scenario(world):
        status = await world.ready()
        await trio.sleep(0.5)  # five probes' time
        assert world.status() == status
        assert sum(file.stat().st_size for file in (tmp_path / "log" / "slot-0").iterdir()) <= 4 << 20

    run(scenario, "--flood", logs=LogsSection(file_mib=1.0, stamps=False))


def test_a_shim_that_is_killed_costs_its_incarnation_only(run):
    async def scenario(world):
        before = await world.ready()
        os.kill(parent_of(before.pid), signal.SIGKILL)
        status = await world.lost()
        assert status.reason.startswith("its shim ended unexpectedly: ")
        await world.ready(incarnation=2)
        assert not is_running(before.pid)

    run(scenario)


def test_a_slot_that_fails_itself_is_restarted_and_keeps_no_server(run_fleet, monkeypatch):
    async def scenario(world):
        before = await world.ready()
        await world.fleet.lease(0, "L1")
        monkeypatch.setattr("carlad.fleet.upkeep.stay_alive", None)  # a fault of carlad's own
        await world.fleet.end(0, "L1", "released")
        await world.until(lambda now: now.state == "STOPPED")
        assert not await world.fleet.lease(0, "L2")
        monkeypatch.undo()
        after = await world.ready(incarnation=3)
        assert not is_running(before.pid)
        assert after.reason == "the slot stops"

    run_fleet(scenario, launch=fake(run_fleet.environ))


# --- ports


def test_busy_ports_are_skipped(run):
    async def scenario(world):
        await world.ready()
        await world.fleet.lease(0, "L1")
        with socket.create_server(("127.0.0.1", world.first_port + 5)):
            await world.fleet.end(0, "L1", "released")
            assert (await world.ready(incarnation=2)).rpc_port == world.first_port + 8

    run(scenario)


def test_a_squatters_server_is_never_taken_for_ours(run_fleet):
    async def scenario(world):
        # It comes between the registry's test and the server's start: ours cannot bind any more.
        status = await world.until(lambda now: now.rpc_port)
        with server_on(status.rpc_port) as squatter:
            lost = await world.lost()
            assert f"port {status.rpc_port} belongs to process {squatter.pid} (python" in lost.reason
            assert (await world.ready(incarnation=2)).rpc_port == world.first_port + 4

    run_fleet(scenario, launch=first_fake(run_fleet.environ, "--never-ready"))


def test_a_squatter_is_named_where_the_server_cannot_start_because_of_it(run_fleet):
    squatted = []

    def launch(ports):
        """Called between the registry's test and the start."""
        if not squatted:
            squatted.append(socket.create_server(("127.0.0.1", ports.rpc)))
        return fake(run_fleet.environ)(ports)

    async def scenario(world):
        lost = await world.lost()
        assert f"port {world.first_port} belongs to process {os.getpid()} (" in lost.reason
        assert (await world.ready(incarnation=2)).rpc_port == world.first_port + 4
        squatted[0].close()

    run_fleet(scenario, launch=launch)


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def test_an_engine_that_hangs_does_not_keep_a_fleet_from_ending(run_fleet, tmp_path, monkeypatch):
    """It is asked for what earlier daemons left, and never answers."""
    engine = tmp_path / "bin" / "docker"
    engine.parent.mkdir()
    engine.write_text('#!/bin/sh\n[ "$1" != ps ] || exec sleep 600\n')
    engine.chmod(0o755)
    run_fleet.environ["PATH"] = f"{engine.parent}:{run_fleet.environ['PATH']}"
    monkeypatch.setattr("carlad.fleet.fleet._LEFTOVERS_END_S", 0.5)

    async def scenario(world):
        """It is stopped at once."""

    run_fleet(scenario, backend="docker")
