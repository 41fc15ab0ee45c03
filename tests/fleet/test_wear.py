from __future__ import annotations

import pytest

from carlad.config import RecycleSection
from carlad.fleet.wear import SLOPE_AFTER_S, Wear

MB = 1 << 20
NO_LIMITS = RecycleSection()


def _used() -> Wear:
    """READY at 100 s; three leases, two map loads, 900 MiB of memory and 2 GiB of the GPU's."""
    wear = Wear(100.0)
    for _ in range(3):
        wear.was_leased()
    for _ in range(2):
        wear.loaded_a_map()
    wear.weighs(200.0, 900 * MB, 2048 * MB)
    return wear


def test_without_limits_nothing_is_worn() -> None:
    assert _used().verdict(NO_LIMITS, 1e9) is None


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (RecycleSection(age_max_s=100.0), "100 s old; recycle.age_max_s is 100"),
        (RecycleSection(leases_max=3), "3 leases served; recycle.leases_max is 3"),
        (RecycleSection(map_loads_max=2), "2 maps loaded; recycle.map_loads_max is 2"),
        (RecycleSection(rss_max_mb=800), "900 MiB of memory; recycle.rss_max_mb is 800"),
        (
            RecycleSection(gpu_memory_max_mb=2000),
            "2048 MiB of GPU memory; recycle.gpu_memory_max_mb is 2000",
        ),
    ],
)
def test_each_limit_that_is_reached_is_named(limits: RecycleSection, why: str) -> None:
    assert _used().verdict(limits, 200.0) == why


@pytest.mark.parametrize(
    "limits",
    [
        RecycleSection(age_max_s=101.0),
        RecycleSection(leases_max=4),
        RecycleSection(map_loads_max=3),
        RecycleSection(rss_max_mb=901),
        RecycleSection(gpu_memory_max_mb=2049),
        RecycleSection(growth_max_mb_per_h=1),
    ],
)
def test_a_limit_that_is_not_reached_is_none(limits: RecycleSection) -> None:
    assert _used().verdict(limits, 200.0) is None


def _growing(mb_per_h: float, seconds: float, period_s: float = 5.0) -> Wear:
    wear = Wear(0.0)
    for k in range(int(seconds / period_s) + 1):
        wiggle = 20 * MB * (k % 2)
        wear.weighs(k * period_s, int(500 * MB + mb_per_h * MB * k * period_s / 3600.0) + wiggle)
    return wear


def test_growth_is_measured_through_the_noise() -> None:
    verdict = _growing(600.0, 1800.0).verdict(RecycleSection(growth_max_mb_per_h=500), 1800.0)
    assert verdict is not None
    assert float(verdict.split()[0]) == pytest.approx(600.0, rel=0.02)


def test_growth_is_not_believed_too_early() -> None:
    limits = RecycleSection(growth_max_mb_per_h=500)
    assert _growing(6000.0, SLOPE_AFTER_S - 10.0).verdict(limits, SLOPE_AFTER_S) is None


def test_a_map_load_begins_the_measurement_anew() -> None:
    wear = _growing(6000.0, 1800.0)
    wear.loaded_a_map()
    wear.weighs(1805.0, 500 * MB)
    assert wear.verdict(RecycleSection(growth_max_mb_per_h=500), 1805.0) is None


def test_frequent_samples_do_not_shorten_what_is_remembered() -> None:
    verdict = _growing(600.0, 1800.0, period_s=0.5).verdict(RecycleSection(growth_max_mb_per_h=500), 1800.0)
    assert verdict is not None
