"""What a slot tells of its server, and when it replaces it by itself. Real processes."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from carlad.config import RecycleSection
from carlad.fleet.condition import Condition
from carlad.fleet.resources import Usage
from tests.fleet.scenario import fake

QUICK = 0.05


@pytest.fixture
def run(run_fleet):
    def run_fakes(scenario, *options, **config):
        run_fleet(scenario, launch=fake(run_fleet.environ, *options), **config)

    return run_fakes


def test_a_running_server_has_vitals_and_a_stopped_one_has_none(run):
    async def scenario(world):
        await world.ready()
        while not (vitals := world.fleet.vitals()[0]).rss_bytes:  # noqa: ASYNC110 nobody tells of samples
            await trio.sleep(0.01)
        assert (vitals.slot, vitals.incarnation) == (0, 1)
        assert vitals.processes >= 1
        assert 5 << 20 < vitals.rss_bytes < 1 << 30
        assert vitals.log_bytes > 0
        while (vitals := world.fleet.vitals()[0]).answer_s is None:  # noqa: ASYNC110 nor of probes
            await trio.sleep(0.01)
        assert 0 < vitals.answer_s < 5
        world.fleet.drain(0)
        await world.until(lambda status: status.state == "STOPPED")
        assert world.fleet.vitals() == ()

    run(scenario, recycle=RecycleSection(period_s=QUICK))


def test_a_server_is_recycled_after_so_many_leases_and_not_while_it_is_held(run):
    async def scenario(world):
        first = await world.ready()
        for lease_id in ("L1", "L2"):
            assert await world.fleet.lease(0, lease_id)
            await trio.sleep(3 * QUICK)
            assert world.status().state == "LEASED"
            await world.fleet.release(0, lease_id, "given back")
            status = await world.ready()
        assert status.incarnation == first.incarnation + 1
        assert status.restarts == 0  # nothing has failed
        assert "2 leases served; recycle.leases_max is 2" in " ".join(
            reason or "" for _event, _lease, reason in world.notices
        )

    run(scenario, recycle=RecycleSection(leases_max=2, period_s=QUICK))


def test_a_server_that_has_grown_too_large_is_recycled_while_nobody_holds_it(run, monkeypatch):
    monkeypatch.setattr("carlad.fleet.wear.SETTLED_AFTER_S", 0.0)

    async def scenario(world):
        await world.ready(incarnation=2)
        (reason, *_) = world.reasons("slot.stopping")
        assert reason.endswith("MiB of memory; recycle.rss_max_mb is 200")

    run(scenario, "--grow-mb=250", recycle=RecycleSection(rss_max_mb=200, period_s=QUICK))


def test_a_limit_that_a_server_reaches_by_its_start_is_told_once_and_leaves_it_to_be_leased(run):
    async def scenario(world):
        for incarnation in (1, 2):
            status = await world.ready(incarnation=incarnation)
            while not world.reasons("slot.limit_too_tight"):  # noqa: ASYNC110 nobody tells of samples
                await trio.sleep(0.01)
            assert (world.status().state, world.status().incarnation) == ("READY", incarnation)
            assert await world.fleet.lease(0, "L1", expected=(incarnation, status.map))
            await world.fleet.release(0, "L1", "given back")
        await world.ready(incarnation=3)
        (told,) = world.reasons("slot.limit_too_tight")
        assert "recycle.rss_max_mb is 1: it is replaced after every lease" in told
        assert all("recycle.rss_max_mb is 1" in reason for reason in world.reasons("slot.stopping"))

    run(scenario, recycle=RecycleSection(rss_max_mb=1, period_s=QUICK))


def test_a_server_that_is_worn_by_loading_a_map_serves_whoever_wanted_it_and_is_then_recycled(run):
    async def scenario(world):
        await world.ready()
        assert await world.fleet.load(0, "Town02")
        assert (await world.ready()).map == "Town02"
        assert await world.fleet.lease(0, "L1", expected=(1, "Town02"))
        await world.fleet.release(0, "L1", "given back")
        await world.ready(incarnation=2)
        assert world.reasons("slot.stopping") == ["it is recycled: 1 maps loaded; recycle.map_loads_max is 1"]

    run(scenario, recycle=RecycleSection(map_loads_max=1, period_s=600.0))


def test_a_crash_is_told_with_its_cause_and_last_words(run):
    async def scenario(world):
        status = await world.ready()
        os.kill(status.pid, signal.SIGSEGV)
        status = await world.until(lambda status: status.cause is not None)
        assert status.cause == "segmentation fault"
        assert "SIGSEGV" in status.reason

    run(scenario)


def test_a_crash_at_the_start_is_told_with_what_the_server_said(run):
    async def scenario(world):
        status = await world.until(lambda status: status.cause is not None)
        assert status.cause == "exited"
        assert status.last_words
        assert status.last_words[-1] in status.reason

    run(scenario, "--exit=3")


def test_cores_are_counted_between_two_samples_alone():
    """A server that was taken back has used hours before the first one."""
    condition = Condition(0, 3, now_s=100.0)
    condition.uses(Usage(processes=1, rss_bytes=1, cpu_s=7200.0, fds=1, threads=1), 100.2)
    assert condition.vitals(100.3, 0).cores == 0.0
    condition.uses(Usage(processes=1, rss_bytes=1, cpu_s=7201.0, fds=1, threads=1), 102.2)
    assert condition.vitals(102.3, 0).cores == pytest.approx(0.5)
