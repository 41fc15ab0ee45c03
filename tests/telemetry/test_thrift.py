"""How often bundles go out."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from carlad.telemetry.thrift import RATE_MIN_HZ, SHARE_MAX, Clocks, Reading, Thrift
from tests.telemetry.watching import wait_until

ASKED_S = 1 / 30


def settled(cost_s: float, busy: float, waiting: float) -> Thrift:
    """After many bundles that take `cost_s`, to make and to carry, in a process that uses `busy` of a core
    beside them and waits for one for so much of the time."""
    thrift, wall_s, cpu_s = Thrift(), 0.0, 0.0
    for number in range(200):
        pause_s = max(thrift.pause_s, ASKED_S)
        wall_s += pause_s
        cpu_s += pause_s * busy + cost_s
        thrift.spent(cost_s * 0.6, Reading(wall_s, cpu_s, wall_s * waiting, number * cost_s * 0.4))
    return thrift


@pytest.mark.parametrize(("cost_s", "busy"), [(100e-6, 0.5), (200e-6, 0.9), (50e-6, 0.3)])
def test_where_processors_are_scarce_who_watches_takes_no_more_than_the_share(
    cost_s: float, busy: float
) -> None:
    pause_s = settled(cost_s, busy, waiting=0.3).pause_s
    assert cost_s / max(pause_s, ASKED_S) <= SHARE_MAX * busy
    assert pause_s < 1 / RATE_MIN_HZ


def test_where_one_is_free_nobody_is_held_back() -> None:
    assert settled(5e-3, busy=0.9, waiting=0.01).pause_s == 0.0


def test_what_costs_next_to_nothing_is_not_held_back() -> None:
    assert settled(10e-6, busy=0.9, waiting=0.5).pause_s < ASKED_S


@pytest.mark.parametrize("busy", [0.0, 0.01, 0.9])
def test_there_are_always_five_pictures_a_second(busy: float) -> None:
    assert settled(5e-3, busy, waiting=1.0).pause_s <= 1 / RATE_MIN_HZ


def test_the_first_bundle_is_never_waited_for() -> None:
    assert Thrift().pause_s == 0.0


def test_who_has_to_share_a_processor_is_seen_to_wait_for_it() -> None:
    """A child that never rests on the only processor that both may use."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    child = os.fork()
    if child == 0:
        while True:
            pass
    try:
        with closing(Clocks()) as clocks:
            before = clocks.read()

            def has_waited() -> bool:
                sum(range(10_000))
                return clocks.read().waited_s > before.waited_s + 0.05

            wait_until(has_waited)
            now = clocks.read()
            assert now.wall_s > before.wall_s
            assert now.cpu_s > before.cpu_s
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.sched_setaffinity(0, mine)
