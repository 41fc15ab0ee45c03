"""Who is served next: priorities, quotas, nobody in nobody's way, nobody for ever."""

from __future__ import annotations

from itertools import count

import pytest

from carlad.broker.effects import Load
from carlad.broker.terms import Quota
from carlad.messages import PRIORITY_MAX, Granted, Release
from tests.broker.slots import status
from tests.broker.table import Fleet, code


def served(fleet: Fleet, times: int) -> list[str]:
    """Who gets slot 0 each time that it comes free."""
    names = []
    for _ in range(times):
        before = set(fleet.answers)
        fleet.show(0, state="READY", lease_id=None)
        names += [name for name in fleet.answers if name not in before]
    return names


def test_a_higher_priority_is_a_head_start() -> None:
    fleet = Fleet(status(0, "STARTING"), head_start_s=60.0)
    fleet.acquire("low", wait_s=1000.0)
    fleet.at(59.0)
    fleet.acquire("high", wait_s=1000.0, priority=1)
    assert served(fleet, 2) == ["high", "low"]


def test_who_has_waited_for_longer_than_the_head_start_is_not_overtaken() -> None:
    fleet = Fleet(status(0, "STARTING"), head_start_s=60.0)
    fleet.acquire("low", wait_s=1000.0)
    fleet.at(61.0)
    fleet.acquire("high", wait_s=1000.0, priority=1)
    assert served(fleet, 2) == ["low", "high"]


def test_within_a_priority_the_first_to_come_is_the_first_served() -> None:
    fleet = Fleet(status(0, "STARTING"))
    for name, priority in zip("abcdef", [0, 2, 0, 2, 0, 2], strict=True):
        fleet.acquire(name, wait_s=1000.0, priority=priority)
    assert served(fleet, 6) == list("bdface")


def test_under_an_unending_stream_of_the_highest_priority_the_lowest_waits_for_the_bound_and_no_longer() -> (
    None
):
    fleet = Fleet(status(0, "STARTING"), head_start_s=10.0)
    bound_s, names = PRIORITY_MAX * 10.0, count()
    fleet.acquire("low", wait_s=10_000.0)
    while "low" not in fleet.answers:  # two come a second, one server comes free
        for _ in range(2):
            fleet.acquire(f"high {next(names)}", wait_s=10_000.0, priority=PRIORITY_MAX)
        fleet.at(fleet.now_s + 1.0)
        fleet.show(0, state="READY", lease_id=None)
        # Behind those who came within the bound, at one a second, and nobody else.
        assert fleet.now_s <= 2 * bound_s + 2
    assert fleet.now_s > bound_s


def test_a_request_for_a_map_that_a_free_server_has_does_not_wait_behind_one_for_a_busy_map() -> None:
    fleet = Fleet(status(0), status(1, map="Town02"))
    fleet.maps = {0: frozenset({"Town01"}), 1: frozenset({"Town02"})}
    fleet.look()
    held = fleet.granted("holder", map="Town02")
    assert fleet.acquire("first", map="Town02", wait_s=100.0) is None
    assert fleet.granted("second", map="Town01", wait_s=100.0).slot == 0
    fleet.ask(Release(lease_id=held.lease_id))
    fleet.show(1, state="READY", lease_id=None)
    assert isinstance(fleet.answers["first"], Granted)


def test_a_map_is_loaded_before_its_request_has_its_turn_where_no_earlier_one_can_use_the_server() -> None:
    fleet = Fleet(status(0), status(1, map="Town02"), status(2), spares=1)
    fleet.maps = {0: frozenset({"Town01", "Town03"}), 1: frozenset({"Town02"}), 2: frozenset({"Town01"})}
    fleet.look()
    fleet.granted("holder", map="Town02")
    for name, wanted in (("first", "Town02"), ("second", "Town03"), ("third", "Town01")):
        assert fleet.acquire(name, map=wanted, wait_s=100.0) is None
    assert fleet.ordered == [Load(0, "Town03")]  # the third finds the spare alone


def test_a_user_at_the_quota_waits_without_standing_in_anybody_s_way() -> None:
    fleet = Fleet(status(0), status(1), status(2), quota=Quota(leases_max=1))
    first = fleet.granted("a1", user="ann")
    assert fleet.acquire("a2", user="ann", wait_s=100.0) is None
    assert isinstance(fleet.acquire("b", user="bob"), Granted)
    fleet.ask(Release(lease_id=first.lease_id))
    assert isinstance(fleet.answers["a2"], Granted)


def test_who_is_over_the_quota_to_the_end_is_told_so() -> None:
    fleet = Fleet(status(0), status(1), quota=Quota(leases_max=5, users={"ann": 1}))
    fleet.granted("a1", user="ann")
    refused = fleet.acquire("a2", user="ann")
    assert code(refused) == "over-quota"
    assert "ann has all 1 servers" in str(refused)


def test_a_quota_counts_servers_that_are_still_loading() -> None:
    fleet = Fleet(status(0), status(1), quota=Quota(leases_max=1))
    fleet.acquire("a1", user="ann", map="Town02", wait_s=100.0)
    assert code(fleet.acquire("a2", user="ann")) == "over-quota"


@pytest.mark.parametrize("quota", [0, -1])
def test_a_quota_of_none_keeps_a_user_out(quota: int) -> None:
    fleet = Fleet(status(0), quota=Quota(users={"eve": quota}))
    assert code(fleet.acquire("e", user="eve")) == "over-quota"
    assert isinstance(fleet.acquire("a", user="ann"), Granted)


def test_who_waits_is_told_the_position_and_how_long_it_may_take() -> None:
    fleet = Fleet(status(0))
    fleet.granted("a")
    fleet.acquire("b", wait_s=500.0)
    assert fleet.table.queued("b").expected_wait_s is None
    fleet.at(20.0)
    held = fleet.table.leases(20.0)[0].lease_id
    fleet.ask(Release(lease_id=held))
    fleet.show(0, state="READY", lease_id=None)
    for position, name in enumerate("cd", start=1):
        fleet.acquire(name, wait_s=500.0)
        standing = fleet.table.queued(name)
        assert (standing.position, standing.expected_wait_s) == (position, 20.0 * position)
