"""When a holder renews, and when it gives up."""

from __future__ import annotations

import pytest

from carlad.ttl import TimeToLive


def test_two_renewals_may_be_missed() -> None:
    ttl = TimeToLive(30.0, asked_at_s=100.0)
    assert ttl.renew_in_s == 10.0
    assert ttl.retry_in_s(now_s=129.0) > 0


def test_a_renewal_that_failed_is_tried_again_until_the_end_and_not_beyond() -> None:
    ttl = TimeToLive(30.0, asked_at_s=100.0)
    now_s, tries = 110.0, 0
    while (pause_s := ttl.retry_in_s(now_s)) > 0:
        now_s, tries = now_s + pause_s, tries + 1
    assert now_s == pytest.approx(130.0)
    assert tries in (7, 8)


def test_a_renewal_counts_from_when_it_was_asked_for() -> None:
    ttl = TimeToLive(30.0, asked_at_s=100.0)
    ttl.renewed(6.0, asked_at_s=110.0)
    assert ttl.renew_in_s == 2.0
    assert ttl.retry_in_s(now_s=115.9) == pytest.approx(0.1)
    assert ttl.retry_in_s(now_s=116.0) == 0.0
