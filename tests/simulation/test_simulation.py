"""The control plane through simulated hours; what it must find is in mutations.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.processes import REPOSITORY
from tests.simulation import schedule
from tests.simulation.__main__ import _memory, outcome, shrunk
from tests.simulation.mutations import MUTATIONS

_ENOUGH = 40  # hours, for any mutation


def _simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)


def test_some_hours_pass_without_a_broken_promise():
    done = _simulate("--seeds", "0:4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 simulated hours" in done.stdout


def test_a_seed_is_the_same_hour_each_time():
    first, second = _simulate("--seed", "3"), _simulate("--seed", "3")
    assert first.stdout == second.stdout
    assert "every promise was kept" in first.stdout


def test_what_fails_is_shrunk_and_still_fails():
    with MUTATIONS["a renewal is forgotten"]():
        happenings = schedule.draw(0)
        failure, _world = outcome(0, happenings)
        assert failure is not None
        fewer = shrunk(0, happenings, failure)
        assert 0 < len(fewer) <= 3
        assert outcome(0, fewer)[0] is not None
    assert outcome(0, fewer)[0] is None


def test_a_session_that_did_not_serve_yet_when_its_daemon_was_killed_leaves_no_lease():
    """Found by seeds 36 and 49: its lease was replaced, for nobody, when its server was lost."""
    opens = schedule.SessionClient(10.0, 0, 64001, None, 30.0, 60.0, 20.0, "close", is_known=False)
    for after_ms in range(0, 1000, 50):
        kill = schedule.DaemonKill(10.0 + after_ms / 1000, 0, before=False, down_s=0.1)
        failure, world = outcome(after_ms, (opens, kill))
        assert failure is None
        assert world.oracle.granted


def test_a_session_may_be_closed_at_the_moment_when_it_is_taken_back() -> None:
    """Found by seed 17855, and by that hour alone of 20,000: its daemon ended with a traceback."""
    failure, world = outcome(17855, schedule.draw(17855))
    assert failure is None
    assert world.oracle.granted


def test_who_follows_notices_knows_that_slots_have_left() -> None:
    """Found by seed 0."""
    follows = schedule.Watcher(5.0, 900.0)
    grows = schedule.Scale(60.0, schedule.SLOTS + 2, 300.0)
    failure, _world = outcome(0, (follows, grows))
    assert failure is None


def test_what_replaces_the_server_of_a_slot_that_left_has_its_settings() -> None:
    """Found by seed 205: the slot is gone before there is another server."""
    seed = next(seed for seed in range(100) if schedule.traits(seed).spares == 0)
    holders = [
        schedule.Client(
            10.0 + number, number, 64001 + number, None, 60.0, 600.0, 0,
            replace=True, hold_s=1000.0, leaves="release", beyond_s=0.5,
        )
        for number in range(schedule.SLOTS)
    ]  # fmt: skip
    shrinks = schedule.Scale(400.0, schedule.SLOTS - 1, 120.0)
    hangs = schedule.ServerFault(410.0, schedule.SLOTS - 1, "hang")
    failure, world = outcome(seed, (*holders, shrinks, hangs))
    assert failure is None
    assert world.oracle.fairness.replaced


def test_a_power_cut_that_tears_the_journal_anywhere_leaves_tokens_that_grow() -> None:
    wants = [
        schedule.Client(
            at_s, number, 64001, None, 15.0, 100.0, 0,
            replace=False, hold_s=2.0, leaves="release", beyond_s=0.5,
        )
        for number, at_s in enumerate((10.0, 20.0, 30.0, 100.0))
    ]  # fmt: skip
    for keep in range(0, 1001, 50):
        failure, world = outcome(keep, (*wants[:3], schedule.PowerCut(40.0, keep, 1.0), *wants[3:]))
        assert failure is None
        assert world.oracle.granted == 4


def test_a_stranger_whom_the_kernel_has_forgotten_leaves_nothing_to_the_next_holder():
    """Found by seed 3: between two probes that are two minutes apart."""
    seed = next(seed for seed in range(100) if schedule.traits(seed).probe_s > 100.0)
    comes = [schedule.Stranger(370.0, slot, 0.0) for slot in range(schedule.SLOTS)]
    wants = schedule.Client(
        470.0, 0, 64001, None, 10.0, 0.0, 0, replace=False, hold_s=2.0, leaves="release", beyond_s=0.5
    )
    failure, world = outcome(seed, (*comes, wants))
    assert failure is None
    assert world.oracle.answered


def test_what_a_killed_simulation_leaves_is_removed_by_the_next():
    base = Path(_memory())
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    left = base / f"carlad-simulation-{ended.pid}-x"
    left.mkdir()
    (left / "run").mkdir()
    _memory.cache_clear()
    assert _memory() == base
    assert not left.exists()


@pytest.mark.system
def test_many_hours_pass_without_a_broken_promise():
    done = _simulate("--seeds", "0:1000")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.system
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_fault_in_the_code_is_found(mutation: str):
    for seed in range(_ENOUGH):
        with MUTATIONS[mutation]():
            failure, _world = outcome(seed, schedule.draw(seed))
        if failure is not None:
            return
    pytest.fail(f"{_ENOUGH} simulated hours did not show that {mutation}")
