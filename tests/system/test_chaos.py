"""Real processes under a seeded schedule of blows: all promises are kept, and nothing stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.chaos import BLOWS, run, schedule
from tests.system.history import Granted, violations

SEED, SECONDS = 3, 60.0


def test_a_seed_is_a_schedule_in_which_each_blow_comes() -> None:
    blows = schedule(SEED, SECONDS, every_s=1.0)
    assert blows == schedule(SEED, SECONDS, every_s=1.0) != schedule(SEED + 1, SECONDS, every_s=1.0)
    assert {blow.kind for blow in blows} == set(BLOWS)
    assert all(0.0 <= blow.at_s <= SECONDS for blow in blows)


@pytest.mark.system
def test_promises_are_kept_whatever_is_killed(tmp_path: Path) -> None:
    outcome = run(SEED, SECONDS, tmp_path)
    assert violations(outcome.history) == []
    assert sum(isinstance(entry, Granted) for entry in outcome.history.entries) > 10
    assert sum(map(len, outcome.history.commands.values())) > 200
    assert sum(outcome.blows.values()) > 20
