"""A daemon that is killed loses no server; the next one takes them back, and ends what nobody vouches for."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from msgspec import structs

from carlad.config import Config, RecycleSection
from carlad.fleet.leftovers import read
from carlad.messages import SlotStatus
from carlad.rpc import connect
from carlad.wire.types import EpisodeSettings
from tests.fleet.processes import REPOSITORY, eventually, is_running, parent_of
from tests.fleet.scenario import NO_PROBE, Runner, World, fake

Statuses = list[SlotStatus]


class Earlier:
    """A fleet in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, command: str) -> Statuses:
        self.say(command)
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], 15.0)[0], f"no answer to {command}"
        return msgspec.json.decode(self._process.stdout.readline(), type=Statuses)

    def say(self, command: str) -> None:
        """Does not wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """It ends all servers in order."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(10) == 0


@contextmanager
def earlier(config: Config, state_dir: Path, environ: dict[str, str], *options: str) -> Iterator[Earlier]:
    command = [sys.executable, "-m", "tests.fleet.fleet_process"]
    with subprocess.Popen(
        [*command, msgspec.json.encode(config).decode(), str(state_dir), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
        cwd=REPOSITORY,
    ) as process:
        try:
            yield Earlier(process)
        finally:
            process.kill()


class Succession:
    """Runs an earlier fleet with commands and kills it, then a later one with a scenario.

    `before` is what the last command of the earlier one was answered with.
    """

    def __init__(self, run_fleet: Runner) -> None:
        self._run_fleet = run_fleet
        self.before: Statuses = []

    def __call__(
        self,
        commands: list[str],
        scenario: Callable[[World, Statuses], object],
        *options: str,
        between: Callable[[Config, Path, Statuses], None] = lambda _config, _state_dir, _before: None,
        **config: object,
    ) -> None:
        environ = self._run_fleet.environ

        def before(config: Config, state_dir: Path) -> None:
            with earlier(config, state_dir, environ, *options) as fleet:
                for command in commands:
                    self.before = fleet.tell(command)
                fleet.kill()
            between(config, state_dir, self.before)

        async def later(world: World) -> None:
            await scenario(world, self.before)  # type: ignore[misc]

        self._run_fleet(later, launch=fake(environ, *options), before=before, **config)


@pytest.fixture
def succeed(run_fleet: Runner) -> Succession:
    return Succession(run_fleet)


def shim_of(state_dir: Path) -> int:
    """Of the first slot's first server."""
    incarnation = read(state_dir / "run" / "0-1")
    assert incarnation is not None
    return incarnation.shim_pid


UNTIL_LEASED = ["until 0 READY", "lease 0 L1"]


# --- what is taken back


def test_a_ready_server_is_taken_back_and_checked(succeed):
    async def scenario(world, before):
        assert world.status().state == "STARTING"
        ready = await world.ready()
        assert (ready.pid, ready.rpc_port, ready.incarnation) == (before[0].pid, before[0].rpc_port, 1)
        assert [event for event, _, _ in world.notices] == ["slot.adopted", "slot.ready"]
        assert world.fleet.maps()[0] == {"Town01", "Town02"}
        assert await world.fleet.lease(0, "L1")
        await world.fleet.end(0, "L1", "released")
        await world.ready(incarnation=2)

    succeed(["until 0 READY"], scenario)


def test_a_held_server_is_held_from_the_first_moment(succeed):
    async def scenario(world, before):
        assert world.status() == before[0]
        assert not await world.fleet.lease(0, "L2")
        assert is_running(before[0].pid)
        await world.fleet.end(0, "L1", "released")
        after = await world.ready(incarnation=2)
        assert after.rpc_port not in (before[0].rpc_port, None)
        assert not is_running(before[0].pid)

    succeed(UNTIL_LEASED, scenario)


def test_a_held_server_that_is_given_back_at_the_first_moment_is_scrubbed(succeed):
    async def scenario(world, before):
        await world.fleet.release(0, "L1", "given back")
        assert world.status().state == "SCRUBBING"
        assert (await world.ready()).pid == before[0].pid

    succeed(UNTIL_LEASED, scenario)


def test_a_held_server_keeps_the_map_that_was_loaded(succeed):
    async def scenario(world, before):
        assert (await world.ready()).map == "Town02"
        assert world.status().pid == before[0].pid

    succeed(["until 0 READY", "load 0 Town02", "until 0 READY"], scenario)


def test_a_server_that_starts_is_taken_back_and_becomes_ready(succeed):
    async def scenario(world, before):
        ready = await world.ready()
        assert (ready.incarnation, ready.rpc_port) == (1, before[0].rpc_port)

    succeed(["until 0 STARTING", "pid 0"], scenario)


def test_a_crash_of_a_server_that_was_taken_back_is_seen(succeed):
    async def scenario(world, before):
        os.kill(before[0].pid, signal.SIGSEGV)
        await world.until(lambda now: now.state != "LEASED")
        (reason,) = world.reasons("slot.lost")
        assert reason.startswith("was killed by SIGSEGV")
        await world.until(lambda now: now.incarnation == 2)

    succeed(UNTIL_LEASED, scenario)


def test_a_hang_of_a_server_that_was_taken_back_is_seen(succeed):
    async def scenario(world, before):
        os.kill(before[0].pid, signal.SIGSTOP)
        assert (await world.lost()).reason.startswith("hung: ")

    succeed(UNTIL_LEASED, scenario)


def test_a_server_is_taken_back_by_one_daemon_after_the_other(succeed, run_fleet):
    def again(config, state_dir, before):
        for _ in range(2):
            with earlier(config, state_dir, run_fleet.environ) as fleet:
                assert fleet.tell("until 0 LEASED") == before
                fleet.kill()

    async def scenario(world, before):
        assert world.status() == before[0]

    succeed(UNTIL_LEASED, scenario, between=again)


# --- what is not


def test_a_server_that_ended_meanwhile_is_lost_with_its_last_words(succeed):
    def kill_the_server(config, state_dir, before):
        shim = shim_of(state_dir)
        os.kill(before[0].pid, signal.SIGSEGV)
        eventually(lambda: not is_running(shim))

    async def scenario(world, before):
        reason = "was killed by SIGSEGV while no daemon was there"
        assert ("slot.lost", "L1", reason) in world.notices
        assert (world.status().state, world.status().lease_id, world.status().reason) == (
            "STOPPING",
            None,
            reason,
        )
        after = await world.ready(incarnation=2)
        assert (after.restarts, after.rpc_port != before[0].rpc_port) == (1, True)

    succeed(UNTIL_LEASED, scenario, between=kill_the_server)


def test_a_server_whose_shim_was_killed_too_is_lost_and_what_is_left_of_it_ended(succeed):
    def kill_the_shim(config, state_dir, before):
        os.kill(shim_of(state_dir), signal.SIGKILL)

    async def scenario(world, before):
        assert world.reasons("slot.lost") == ["its shim ended while no daemon was there"]
        await world.ready(incarnation=2)
        assert not is_running(before[0].pid)

    succeed(UNTIL_LEASED, scenario, "--fork", between=kill_the_shim)


def test_a_shim_that_does_not_answer_is_not_vouched_for(succeed):
    def stop_the_shim(config, state_dir, before):
        os.kill(shim_of(state_dir), signal.SIGSTOP)

    async def scenario(world, before):
        (reason,) = world.reasons("slot.lost")
        assert reason.endswith("does not answer")
        await world.ready(incarnation=2)
        assert not is_running(before[0].pid)

    succeed(UNTIL_LEASED, scenario, between=stop_the_shim)


def test_a_shim_that_dies_under_the_later_daemon_is_a_lost_incarnation(succeed):
    async def scenario(world, before):
        os.kill(parent_of(before[0].pid), signal.SIGKILL)
        await world.until(lambda now: now.state != "LEASED")
        (reason,) = world.reasons("slot.lost")
        assert reason.startswith("its shim ended unexpectedly")
        await world.ready(incarnation=2)

    succeed(UNTIL_LEASED, scenario)


def test_a_server_that_was_being_ended_is_ended(succeed):
    async def scenario(world, before):
        assert (await world.ready(incarnation=2)).rpc_port != before[0].rpc_port
        assert not is_running(before[0].pid)

    succeed([*UNTIL_LEASED, "end 0 L1"], scenario, "--ignore-sigterm")


def lose_the_journal(config, state_dir, before):
    for file in state_dir.glob("journal.sqlite*"):
        file.unlink()


def test_without_its_journal_all_is_ended_and_no_folder_confused_with_another(succeed):
    async def scenario(world, before):
        after = await world.ready()
        assert after.incarnation == 2
        assert not is_running(before[0].pid)

    succeed(UNTIL_LEASED, scenario, between=lose_the_journal)


@pytest.mark.parametrize("between", [lambda *_: None, lose_the_journal], ids=["journal", "none"])
def test_a_daemon_that_is_stopped_as_it_starts_leaves_nothing_of_an_earlier_one(succeed, between):
    async def scenario(world, before):
        """It is stopped at once."""

    succeed(["until 1 READY", *UNTIL_LEASED], scenario, between=between, size=3)
    assert not any(is_running(status.pid) for status in succeed.before if status.pid)


# --- ports, wishes, configurations


def test_ports_are_given_out_on_from_where_the_earlier_daemon_was(succeed):
    async def scenario(world, before):
        used = {before[0].rpc_port, before[1].rpc_port}
        await world.ready(1)
        await world.fleet.end(0, "L1", "released")
        assert (await world.ready(0, incarnation=2)).rpc_port not in used
        assert (await world.ready(0, incarnation=2)).rpc_port > max(used)

    succeed(["until 1 READY", *UNTIL_LEASED], scenario, size=2)


def test_after_an_orderly_end_too(succeed, run_fleet):
    def end_in_order(config, state_dir, before):
        with earlier(config, state_dir, run_fleet.environ) as fleet:
            fleet.tell("until 0 LEASED")
            fleet.close()

    async def scenario(world, before):
        after = await world.ready()
        assert (after.incarnation, after.rpc_port) == (2, before[0].rpc_port + 4)
        assert (after.restarts, after.reason) == (0, None)

    succeed(UNTIL_LEASED, scenario, between=end_in_order)


def test_what_operators_wanted_is_still_so(succeed):
    async def scenario(world, before):
        with trio.move_on_after(0.3):
            await world.until(lambda now: now.state not in ("STOPPED", "QUARANTINED"))
        await world.until(lambda now: now.state == "QUARANTINED", slot=1)
        assert (world.status(0).state, world.status(0).draining) == ("STOPPED", True)
        assert world.status(1).reason == "dust"
        world.fleet.undrain(0)
        world.fleet.restart(1)
        await world.ready(0)
        await world.until(lambda now: now.state == "READY", slot=1)

    commands = ["drain 0", "until 0 STOPPED", "quarantine 1 dust", "until 1 QUARANTINED"]
    succeed(commands, scenario, size=2)


def test_a_held_server_of_a_slot_that_drains_keeps_its_holder(succeed):
    async def scenario(world, before):
        assert (world.status().state, world.status().draining) == ("LEASED", True)
        await world.fleet.end(0, "L1", "released")
        await world.until(lambda now: now.state == "STOPPED")

    succeed([*UNTIL_LEASED, "drain 0"], scenario)


def test_a_server_of_another_configuration_is_replaced_when_it_is_free(run_fleet):
    def before(config, state_dir):
        other = structs.replace(config, fleet=structs.replace(config.fleet, quality="Epic", size=3))
        with earlier(other, state_dir, run_fleet.environ) as fleet:
            for command in ("until 0 READY", "lease 0 L1", "until 1 READY", "until 2 READY", "lease 2 L2"):
                fleet.tell(command)
            fleet.kill()

    async def scenario(world):
        await world.ready(1, incarnation=2)  # it was free
        assert [world.status(number).lease_id for number in (0, 2)] == ["L1", "L2"]
        assert (world.status(0).incarnation, world.status(2).draining) == (1, True)
        await world.fleet.end(0, "L1", "released")
        await world.ready(0, incarnation=2)
        await world.fleet.end(2, "L2", "released")
        while len(world.fleet.statuses()) > 2:
            await world.fleet.changes.wait()

    run_fleet(scenario, launch=fake(run_fleet.environ), before=before, size=2)


def test_the_settings_of_a_server_that_was_lost_with_its_daemon_are_its_replacements(run_fleet):
    def before(config, state_dir):
        with earlier(config, state_dir, run_fleet.environ) as fleet:
            fleet.tell("until 0 READY")
            (held, _spare) = fleet.tell("until 1 READY")
            fleet.tell("lease 0 L1")
            trio.run(choose, held.rpc_port)
            fleet.tell("seen 0 L1 77.0")
            fleet.kill()
        shim = parent_of(held.pid)
        os.kill(held.pid, signal.SIGKILL)
        eventually(lambda: not is_running(shim), 30.0)

    async def choose(port):
        async with connect("127.0.0.1", port) as rpc:
            await rpc.call("set_episode_settings", CHOSEN)

    async def scenario(world):
        assert world.reasons("slot.lost")[0].startswith("was killed by SIGKILL while no daemon was there")
        spare = await world.ready(1)
        assert await world.fleet.lease(1, "L2", furnished_as="L1")
        async with connect("127.0.0.1", spare.rpc_port) as rpc:
            assert await rpc.call("get_episode_settings") == CHOSEN

    run_fleet(scenario, launch=fake(run_fleet.environ), before=before, size=2)


CHOSEN = EpisodeSettings(max_culling_distance=77.0)


def test_a_server_that_was_taken_back_is_as_worn_as_it_was(succeed):
    async def scenario(world, before):
        status = await world.ready()
        assert (status.pid, status.incarnation) == (before[0].pid, 1)
        assert await world.fleet.lease(0, "L2")
        await world.fleet.release(0, "L2", "released")
        await world.ready(incarnation=2)
        assert world.reasons("slot.stopping") == ["it is recycled: 2 leases served; recycle.leases_max is 2"]

    commands = [*UNTIL_LEASED, "release 0 L1", "until 0 READY"]
    succeed(commands, scenario, recycle=RecycleSection(leases_max=2))


# --- the output


def test_a_flood_goes_on_while_no_daemon_is_there_and_no_line_is_lost(succeed):
    """Slow enough to be kept: every line has the number after the one before."""

    def wait(config, state_dir, before):
        time.sleep(0.5)

    async def scenario(world, before):
        await trio.sleep(0.5)
        log = await world.fleet.log(0, 10_000)
        numbers = [int(line.split()[1]) for line in log.lines if line.startswith("count ")]
        assert len(numbers) > 200
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    succeed(UNTIL_LEASED, scenario, "--count", between=wait, probe=NO_PROBE)


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5])
def test_whenever_a_daemon_is_killed_nothing_is_left_or_twice(run_fleet, delay_s):
    """At some moment of starting, leasing, ending and starting again."""

    def before(config, state_dir):
        with earlier(config, state_dir, run_fleet.environ) as fleet:
            fleet.say("until 0 READY\nlease 0 L1\nend 0 L1\nuntil 0 READY\nlease 0 L2")
            eventually(lambda: (state_dir / "run").exists() and list((state_dir / "run").iterdir()))
            time.sleep(delay_s)
            fleet.kill()

    async def scenario(world):
        if world.status().state == "LEASED":
            await world.fleet.end(0, world.status().lease_id, "released")
            await world.ready(incarnation=world.status().incarnation + 1)
        await world.ready()

    run_fleet(scenario, launch=fake(run_fleet.environ), before=before)
