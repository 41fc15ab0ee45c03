"""Real processes under a seeded schedule of blows: all promises are kept, and nothing stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.chaos import run
from tests.system.history import Granted, Watched, violations
from tests.system.schedule import BLOWS, schedule

SEED, SECONDS, EVERY_S = 3, 300.0, 1.5


def test_a_seed_is_a_schedule_in_which_each_blow_comes() -> None:
    blows = schedule(SEED, SECONDS, every_s=EVERY_S)
    assert blows == schedule(SEED, SECONDS, every_s=EVERY_S) != schedule(SEED + 1, SECONDS, every_s=EVERY_S)
    assert {blow.kind for blow in blows} == set(BLOWS)
    assert all(0.0 <= blow.at_s <= SECONDS for blow in blows)


@pytest.mark.system
def test_promises_are_kept_whatever_is_killed(tmp_path: Path) -> None:
    outcome = run(SEED, SECONDS, tmp_path, EVERY_S)
    assert violations(outcome.history) == []
    tenancies = [entry for entry in outcome.history.entries if isinstance(entry, Granted)]
    assert sum(tenancy.token > 0 for tenancy in tenancies) > 20
    assert sum(tenancy.token == 0 for tenancy in tenancies) > 5  # env hosts
    assert sum(entry.bundles for entry in outcome.history.entries if isinstance(entry, Watched)) > 20
    assert sum(map(len, outcome.history.commands.values())) > 500
    assert sum(outcome.blows.values()) > 100
