"""What docs/misbehaviour.md says, on real daemons with real stand-ins."""

from __future__ import annotations

import os
import re

import pytest

from tests.bench.misbehaviour import PAGE, promise
from tests.fleet.misbehaviour import CASES, Case, play


@pytest.mark.system
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_misbehaviour_is_seen_for_what_it_is_and_leaves_nothing(case: Case) -> None:
    outcome = play(case)
    assert re.search(case.reason, outcome.reason)
    assert outcome.cause == case.cause
    assert (outcome.lost > 0) == (case.event == "slot.lost")
    if case.squatted:
        assert f"process {os.getpid()} (" in outcome.reason
    if case.lost:
        assert outcome.told == f"its server was lost: {outcome.reason}"
    else:
        assert outcome.told is None
    assert outcome.left == ()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_the_page_says_of_each_what_is_tested(case: Case) -> None:
    assert PAGE.read_text().count(promise(case)) == 1
