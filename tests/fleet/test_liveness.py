"""What silence means."""

from __future__ import annotations

import pytest

from carlad.config import ProbeSection
from carlad.fleet.effort import Work
from carlad.fleet.liveness import REVIVE_MAX_S, Heard, Silence

PROBE = ProbeSection(timeout_s=2.0, failures=3, loop_max_s=30.0, load_max_s=120.0)


def verdict(*probes: tuple[Heard, Work], step_s: float = 2.0) -> tuple[int, str | None]:
    """How many probes it took to judge, and how."""
    silence = Silence(PROBE, 0.0)
    for number, (heard, work) in enumerate(probes, 1):
        if (why := silence.goes_on(heard, work, number * step_s)) is not None:
            return number, why
    return len(probes), None


STILL, COMPUTES, LOADS = ((Heard.NOTHING, work) for work in (Work.NONE, Work.COMPUTES, Work.LOADS))
REFUSES = (Heard.REFUSAL, Work.COMPUTES)


@pytest.mark.parametrize(
    ("probes", "number", "says"),
    [
        ([STILL] * 9, 3, "hung: no answer to 3 probes in a row, 2 s each"),
        ([STILL, STILL, LOADS, STILL, STILL, LOADS], 6, None),
        ([COMPUTES] * 99, 15, "hung in a loop: it computes, loads nothing, and is silent for 30 s"),
        ([LOADS] * 99, 60, "busy without an answer for 120 s"),
        ([COMPUTES] * 10 + [LOADS] + [COMPUTES] * 99, 26, "hung in a loop"),
        ([REFUSES] * 9, 3, "takes no connection: refused 3 times in a row"),
    ],
)
def test_a_silent_server_is_judged_by_what_it_does(probes, number, says):
    took, why = verdict(*probes)
    assert took == number
    assert (why or "").startswith(says or "")
    assert (why is None) is (says is None)


def test_a_hang_is_seen_within_ten_seconds_by_default():
    config = ProbeSection()
    assert config.period_s + config.failures * config.timeout_s + REVIVE_MAX_S <= 10.0
