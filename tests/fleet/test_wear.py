from __future__ import annotations

import pytest

from carlad.config import RecycleSection
from carlad.fleet.wear import SETTLED_AFTER_S, SLOPE_AFTER_S, Past, Wear

MB = 1 << 20
NO_LIMITS = RecycleSection()


def _used() -> Wear:
    """READY at 100 s; two map loads, three leases, 900 MiB of memory and 2 GiB of the GPU's."""
    wear = Wear()
    wear.became_ready(100.0)
    for _ in range(2):
        wear.loaded_a_map()
    for _ in range(3):
        wear.was_leased()
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
    wear = Wear()
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


TIGHT = RecycleSection(rss_max_mb=800, gpu_memory_max_mb=2000)


def _unused(rss_mb: float, gpu_mb: float = 0.0) -> Wear:
    """READY at 100 s, and so heavy at once."""
    wear = Wear()
    wear.became_ready(100.0)
    wear.weighs(101.0, int(rss_mb * MB), int(gpu_mb * MB))
    return wear


@pytest.mark.parametrize("now_s", [101.0, 1e6])
@pytest.mark.parametrize(("rss_mb", "gpu_mb"), [(900, 0), (100, 2500)])
def test_what_a_server_has_before_anybody_used_it_is_no_wear(
    now_s: float, rss_mb: float, gpu_mb: float
) -> None:
    assert _unused(rss_mb, gpu_mb).verdict(TIGHT, now_s) is None


def test_after_its_first_lease_any_memory_is_wear() -> None:
    wear = _unused(900)
    wear.was_leased()
    assert wear.verdict(TIGHT, 102.0) == "900 MiB of memory; recycle.rss_max_mb is 800"


def test_a_server_that_grows_while_nobody_uses_it_is_worn() -> None:
    wear = _unused(500)
    wear.weighs(100.0 + SETTLED_AFTER_S, 900 * MB)
    assert wear.verdict(TIGHT, 100.0 + SETTLED_AFTER_S) == "900 MiB of memory; recycle.rss_max_mb is 800"


def test_a_server_that_fills_its_caches_is_not_worn() -> None:
    wear = _unused(500)
    wear.weighs(99.0 + SETTLED_AFTER_S, 900 * MB)
    assert wear.verdict(TIGHT, 1e6) is None


def test_another_map_may_need_more() -> None:
    wear = _unused(500)
    wear.loaded_a_map()
    wear.became_ready(1000.0)
    wear.weighs(1001.0, 900 * MB)
    assert wear.verdict(TIGHT, 1e6) is None


def test_a_limit_that_is_too_tight_is_told_with_what_a_server_needs() -> None:
    assert _unused(700, 1900).too_tight(TIGHT) is None
    assert _unused(900).too_tight(NO_LIMITS) is None
    for wear, says in ((_unused(900), "900 MiB of memory"), (_unused(1, 2500), "2500 MiB of GPU memory")):
        told = wear.too_tight(TIGHT)
        assert told is not None
        assert told.startswith(f"{says} before anybody used it, and recycle.")


def test_whoever_wanted_a_map_gets_it_before_its_load_counts() -> None:
    wear = Wear()
    wear.became_ready(100.0)
    wear.loaded_a_map()
    limits = RecycleSection(map_loads_max=1)
    assert wear.verdict(limits, 200.0) is None
    wear.was_leased()
    assert wear.verdict(limits, 200.0) == "1 maps loaded; recycle.map_loads_max is 1"


def test_age_counts_from_when_it_could_be_leased() -> None:
    wear = Wear()
    assert wear.verdict(RecycleSection(age_max_s=1.0), 500.0) is None
    wear.became_ready(500.0)
    wear.became_ready(600.0)  # after a scrub
    assert wear.verdict(RecycleSection(age_max_s=100.0), 600.0) == "100 s old; recycle.age_max_s is 100"


def test_a_server_that_is_taken_back_is_as_worn_as_it_was() -> None:
    again = Wear(_used().past)
    assert again.past == Past(100.0, leases=3, map_loads=2, map_loads_used=2)
    assert again.verdict(RecycleSection(leases_max=3), 200.0) is not None
    assert again.verdict(RecycleSection(age_max_s=100.0), 200.0) is not None
