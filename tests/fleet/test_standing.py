"""What is wanted of a slot, and what its failures lead to."""

from __future__ import annotations

import pytest
from msgspec import structs

from carlad.fleet.standing import Standing, Wish
from carlad.runtime import RestartPolicy

POLICY = RestartPolicy(backoff_s=1.0, backoff_max_s=8.0, restarts_max=2, period_s=60.0)


@pytest.fixture
def standing() -> Standing:
    return Standing(POLICY, seed=1)


def test_a_new_slot_is_wanted_and_may_be_leased(standing: Standing) -> None:
    assert (standing.wish, standing.may_be_leased, standing.is_draining) == (Wish.UP, True, False)


@pytest.mark.parametrize("order", ["wants_down", "wants_gone", "quarantine", "outdate"])
def test_what_is_to_go_may_not_be_leased_and_says_why(standing: Standing, order: str) -> None:
    getattr(standing, order)("the disk is full")
    assert not standing.may_be_leased
    assert standing.why == "the disk is full"
    standing.wants_up()
    assert (standing.may_be_leased, standing.why) == (True, "")


def test_failures_beyond_the_limit_quarantine(standing: Standing) -> None:
    assert [standing.failed("a crash") is None for _ in range(3)] == [False, False, True]
    assert (standing.wish, standing.why) == (Wish.QUARANTINED, "failed too often, lastly: a crash")


def test_who_is_wanted_again_has_failed_never(standing: Standing) -> None:
    for _ in range(3):
        standing.failed("a crash")
    standing.wants_up()
    assert standing.failed("a crash") is not None


def test_another_policy_counts_from_now_and_the_same_one_changes_nothing(standing: Standing) -> None:
    standing.failed("a crash")
    standing.failed("a crash")
    standing.use(structs.replace(POLICY))
    assert standing.failed("a crash") is None
    standing.wants_up()
    standing.use(structs.replace(POLICY, restarts_max=1))
    assert standing.failed("a crash") is not None
    assert standing.failed("a crash") is None
