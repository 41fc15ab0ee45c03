"""How often bundles go out."""

from __future__ import annotations

import pytest

from carlad.telemetry.thrift import RATE_MIN_HZ, SHARE_MAX, Thrift


def settled(cost_s: float, busy: float) -> Thrift:
    """After many bundles that take `cost_s`, in a process that uses `busy` of a core beside them."""
    thrift, now_s, cpu_s = Thrift(), 0.0, 0.0
    for _ in range(200):
        now_s += max(thrift.pause_s, 1 / 30)
        cpu_s += max(thrift.pause_s, 1 / 30) * busy + cost_s
        thrift.spent(cost_s, now_s, cpu_s)
    return thrift


@pytest.mark.parametrize(("cost_s", "busy"), [(100e-6, 0.5), (200e-6, 0.9), (50e-6, 0.3)])
def test_who_watches_takes_no_more_than_the_share(cost_s: float, busy: float) -> None:
    pause_s = settled(cost_s, busy).pause_s
    assert cost_s / max(pause_s, 1 / 30) <= SHARE_MAX * busy
    assert pause_s < 1 / RATE_MIN_HZ


def test_what_costs_next_to_nothing_is_not_held_back() -> None:
    assert settled(10e-6, 0.9).pause_s < 1 / 30


@pytest.mark.parametrize("busy", [0.0, 0.01, 0.9])
def test_there_are_always_ten_pictures_a_second(busy: float) -> None:
    assert settled(5e-3, busy).pause_s <= 1 / RATE_MIN_HZ


def test_the_first_bundle_is_never_waited_for() -> None:
    assert Thrift().pause_s == 0.0
