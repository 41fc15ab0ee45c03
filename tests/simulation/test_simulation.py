"""The control plane through simulated hours; what it must find is in mutations.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fleet.processes import REPOSITORY
from tests.simulation import schedule
from tests.simulation.__main__ import outcome, shrunk
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


@pytest.mark.system
def test_many_hours_pass_without_a_broken_promise():
    done = _simulate("--seeds", "0:60")
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
