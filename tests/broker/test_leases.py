"""The lease table on its own: no I/O, no clock but the one that the test moves."""

from __future__ import annotations

import math

import pytest

from carlad.broker.effects import Claim, End, Load, Scrub
from carlad.broker.grants import LOADS_MAX
from carlad.broker.leases import WAITING_MAX
from carlad.messages import Granted, Release, Released, Renew, Renewed, Withdraw
from tests.broker.slots import acquire, status
from tests.broker.table import MAPS, Fleet, code


def test_a_ready_server_is_granted_with_its_ports_and_a_token_above_all_before() -> None:
    fleet = Fleet(status(0))
    granted = fleet.granted("a", ttl_s=12.0)
    ports = (granted.rpc_port, granted.streaming_port, granted.traffic_manager_port)
    shown = fleet.slots[0]
    assert ports == (shown.rpc_port, shown.streaming_port, shown.traffic_manager_port)
    assert (granted.token, granted.lease_id, granted.ttl_s) == (101, "lease-101", 12.0)
    assert fleet.told == ["lease.granted"]


def test_a_request_that_is_sent_again_gets_the_same_answer_and_no_second_server() -> None:
    fleet = Fleet(status(0), status(1))
    assert fleet.granted("a") == fleet.granted("a")
    assert len(fleet.table.leases(0.0)) == 1


def test_a_request_that_is_sent_again_while_it_waits_waits_once() -> None:
    fleet = Fleet(status(0))
    fleet.granted("a")
    for _ in range(3):
        assert fleet.acquire("b", wait_s=10.0) is None
    assert fleet.table.waiting == 1


def test_without_a_free_server_and_time_a_request_waits_in_vain() -> None:
    fleet = Fleet(status(0, "STARTING"))
    answer = fleet.acquire("a")
    assert code(answer) == "waited-in-vain"
    assert "1 STARTING" in str(answer)


def test_a_waiting_request_is_answered_when_its_time_is_up_and_not_before() -> None:
    fleet = Fleet(status(0, "STARTING"))
    fleet.acquire("a", wait_s=10.0)
    assert fleet.table.next_deadline_s() == 10.0
    fleet.at(9.999)
    assert "a" not in fleet.answers
    fleet.at(10.0)
    assert code(fleet.answers["a"]) == "waited-in-vain"


def test_waiting_requests_are_served_in_the_order_of_arrival() -> None:
    fleet = Fleet(status(0, "STARTING"))
    for name in "abc":
        fleet.acquire(name, wait_s=100.0)
    for name in "abc":
        fleet.show(0, state="READY", lease_id=None)
        assert list(fleet.answers)[-1] == name


def test_a_lease_expires_when_its_time_is_up_and_not_before() -> None:
    fleet = Fleet(status(0))
    lease = fleet.granted("a", ttl_s=5.0)
    fleet.at(4.999)
    assert fleet.ordered == []
    fleet.at(5.0)
    assert [(type(e), e.lease_id) for e in fleet.ordered if isinstance(e, End)] == [(End, lease.lease_id)]
    assert fleet.told[-1] == "lease.expired"
    refused = fleet.ask(Renew(lease_id=lease.lease_id))
    assert code(refused) == "no-such-lease"
    assert "expired" in str(refused)


def test_a_renewal_moves_the_end_and_may_change_the_time_to_live() -> None:
    fleet = Fleet(status(0))
    lease = fleet.granted("a", ttl_s=5.0)
    fleet.at(4.0)
    assert isinstance(fleet.ask(Renew(lease_id=lease.lease_id)), Renewed)
    assert fleet.table.next_deadline_s() == 9.0
    fleet.ask(Renew(lease_id=lease.lease_id, ttl_s=20.0))
    assert fleet.table.next_deadline_s() == 24.0


def test_a_renewal_at_the_very_end_comes_too_late() -> None:
    fleet = Fleet(status(0))
    lease = fleet.granted("a", ttl_s=5.0)
    fleet.now_s = 5.0
    assert code(fleet.ask(Renew(lease_id=lease.lease_id))) == "no-such-lease"


def test_a_released_server_is_scrubbed_before_it_can_be_leased_again() -> None:
    fleet = Fleet(status(0))
    lease = fleet.granted("a")
    assert isinstance(fleet.ask(Release(lease_id=lease.lease_id)), Released)
    assert isinstance(fleet.ordered[0], Scrub)
    fleet.acquire("b", wait_s=100.0)
    fleet.show(0, state="SCRUBBING", lease_id=None)
    assert "b" not in fleet.answers
    fleet.show(0, state="READY")
    assert isinstance(fleet.answers["b"], Granted)


def test_a_release_that_is_sent_again_gets_the_same_answer() -> None:
    fleet = Fleet(status(0))
    lease = fleet.granted("a")
    release = Release(lease_id=lease.lease_id)
    assert fleet.ask(release, "r") == fleet.ask(release, "r")
    assert code(fleet.ask(release, "another")) == "no-such-lease"


@pytest.mark.parametrize("verb", [Renew, Release])
def test_a_stale_token_is_refused_and_changes_nothing(verb: type[Renew] | type[Release]) -> None:
    fleet = Fleet(status(0))
    lease = fleet.granted("a")
    assert code(fleet.ask(verb(lease_id=lease.lease_id, token=lease.token - 1))) == "stale-token"
    assert fleet.ordered == []
    assert code(fleet.ask(verb(lease_id=lease.lease_id, token=lease.token), "again")) is None


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, 3600.1, math.nan, math.inf])
def test_a_time_to_live_out_of_bounds_is_refused(ttl_s: float) -> None:
    fleet = Fleet(status(0))
    assert code(fleet.acquire("a", ttl_s=ttl_s)) == "bad-ttl"
    lease = fleet.granted("b")
    assert code(fleet.ask(Renew(lease_id=lease.lease_id, ttl_s=ttl_s))) == "bad-ttl"


@pytest.mark.parametrize("wait_s", [-1.0, 1e9, math.nan, math.inf])
def test_a_wait_out_of_bounds_is_refused(wait_s: float) -> None:
    assert code(Fleet(status(0)).acquire("a", wait_s=wait_s)) == "bad-request"


def test_a_lease_is_lost_with_its_server_and_its_holder_hears_why() -> None:
    fleet = Fleet(status(0))
    lease = fleet.granted("a")
    fleet.show(0, state="BACKOFF", lease_id=None, reason="killed by signal 9")
    assert fleet.told[-1] == "lease.lost"
    assert "killed by signal 9" in str(fleet.ask(Renew(lease_id=lease.lease_id)))


def test_a_server_that_has_the_map_is_preferred() -> None:
    fleet = Fleet(status(0), status(1, map="Town02"))
    assert fleet.granted("a", map="Carla/Maps/Town02").slot == 1


def test_a_map_that_no_server_has_is_refused_and_the_known_ones_named() -> None:
    answer = Fleet(status(0)).acquire("a", map="Town99", wait_s=100.0)
    assert code(answer) == "unknown-map"
    assert "Town01, Town02" in str(answer)


def test_before_a_first_server_said_its_maps_a_request_for_any_waits() -> None:
    fleet = Fleet(status(0, "STARTING", map=None), maps=frozenset())
    assert fleet.acquire("a", map="Town99", wait_s=100.0) is None
    fleet.maps = {0: MAPS}
    fleet.look()
    assert code(fleet.answers["a"]) == "unknown-map"


def test_a_free_server_loads_the_map_and_loading_does_not_count_as_waiting() -> None:
    fleet = Fleet(status(0))
    assert fleet.acquire("a", map="Town02", wait_s=0.0) is None
    assert fleet.ordered == [Load(0, "Town02")]
    assert fleet.table.queued("a").loading == "Town02"
    fleet.show(0, state="STARTING")
    fleet.do(fleet.table.load_began(0, True, fleet.now_s))
    fleet.at(60.0)
    assert "a" not in fleet.answers
    fleet.show(0, state="READY", map="Town02")
    granted = fleet.answers["a"]
    assert isinstance(granted, Granted)
    assert granted.map == "Town02"


def test_a_server_that_loads_a_map_for_one_is_not_given_to_another() -> None:
    fleet = Fleet(status(0), status(1))
    fleet.acquire("a", map="Town02")
    assert fleet.granted("b").slot == 1
    assert code(fleet.acquire("c")) == "waited-in-vain"


def test_a_map_that_servers_fail_to_load_is_given_up() -> None:
    fleet = Fleet(status(0))
    fleet.acquire("a", map="Town02", wait_s=1000.0)
    for attempt in range(LOADS_MAX):
        assert "a" not in fleet.answers
        fleet.show(0, state="STARTING")
        fleet.do(fleet.table.load_began(0, True, fleet.now_s))
        fleet.show(0, state="BACKOFF", reason="crashed on load")
        fleet.show(0, state="READY", incarnation=attempt + 2)
    assert code(fleet.answers["a"]) == "waited-in-vain"
    assert "crashed on load" in str(fleet.answers["a"])


def test_a_request_whose_server_vanished_before_the_claim_takes_its_old_place() -> None:
    fleet = Fleet(status(0))
    effects = fleet.table.acquire("a", acquire(wait_s=50.0), 0.0)
    (claim,) = [e for e in effects if isinstance(e, Claim)]
    fleet.acquire("b", wait_s=50.0)
    fleet.show(0, state="BACKOFF")
    fleet.do(fleet.table.not_claimed(claim.slot, claim.token, 0.0))
    assert fleet.table.queued("a").position == 1
    fleet.show(0, state="READY", incarnation=2)
    assert isinstance(fleet.answers["a"], Granted)
    assert "b" not in fleet.answers


def test_a_server_that_died_right_after_the_claim_is_not_granted() -> None:
    fleet = Fleet(status(0))
    effects = fleet.table.acquire("a", acquire(wait_s=50.0), 0.0)
    (claim,) = [e for e in effects if isinstance(e, Claim)]
    fleet.show(0, state="BACKOFF")
    fleet.do(fleet.table.claimed(claim.slot, claim.token, 0.0))
    assert "a" not in fleet.answers
    assert fleet.table.queued("a").position == 1


def test_a_server_that_came_back_with_another_map_before_the_claim_is_not_granted() -> None:
    fleet = Fleet(status(0, map="Town02"))
    (claim,) = fleet.table.acquire("a", acquire(map="Town02", wait_s=50.0), 0.0)
    fleet.show(0, map="Town01", incarnation=2)
    fleet.do([claim])
    assert "a" not in fleet.answers
    assert [type(e) for e in fleet.ordered] == [Scrub]


def test_nothing_is_granted_while_the_journal_cannot_be_written() -> None:
    fleet = Fleet(status(0))
    (claim,) = fleet.table.acquire("a", acquire(), 0.0)
    assert isinstance(claim, Claim)
    fleet.do(fleet.table.not_claimed(claim.slot, claim.token, 0.0, "disk full"))
    assert code(fleet.answers["a"]) == "unavailable"
    assert fleet.granted("b").token == claim.token + 1


def test_a_copy_of_a_request_that_could_not_be_put_on_disk_gets_no_server_when_it_comes_late() -> None:
    """Whoever had that answer has asked anew meanwhile, as another request."""
    fleet = Fleet(status(0))
    (claim,) = fleet.table.acquire("a", acquire(), 0.0)
    assert isinstance(claim, Claim)
    fleet.do(fleet.table.not_claimed(claim.slot, claim.token, 0.0, "disk full"))
    assert code(fleet.answers["a"]) == "unavailable"
    del fleet.answers["a"]
    assert fleet.granted("asked anew").token == claim.token + 1
    assert code(fleet.acquire("a")) == "unavailable"


def test_a_withdrawn_request_leaves_the_queue() -> None:
    fleet = Fleet(status(0, "STARTING"))
    fleet.acquire("a", wait_s=50.0)
    fleet.ask(Withdraw(request_id="a"))
    assert code(fleet.answers["a"]) == "withdrawn"
    assert fleet.table.waiting == 0


def test_a_lease_whose_request_is_withdrawn_is_released() -> None:
    fleet = Fleet(status(0))
    fleet.granted("a")
    fleet.ask(Withdraw(request_id="a"))
    assert [type(e) for e in fleet.ordered] == [Scrub]
    assert fleet.table.leases(0.0) == ()


def test_a_request_that_is_withdrawn_while_its_server_is_claimed_costs_only_that_server() -> None:
    fleet = Fleet(status(0))
    (claim,) = fleet.table.acquire("a", acquire(), 0.0)
    assert isinstance(claim, Claim)
    fleet.ask(Withdraw(request_id="a"))
    fleet.do([claim])
    assert [type(e) for e in fleet.ordered] == [Scrub]
    assert fleet.table.leases(0.0) == ()


def test_a_withdrawal_that_overtakes_its_request_holds() -> None:
    fleet = Fleet(status(0))
    fleet.ask(Withdraw(request_id="a"))
    assert code(fleet.acquire("a")) == "withdrawn"


def test_spares_are_kept_back() -> None:
    fleet = Fleet(status(0), status(1), spares=1)
    fleet.granted("a")
    assert code(fleet.acquire("b")) == "waited-in-vain"


def test_a_spare_is_for_who_lost_a_server_and_for_nobody_else() -> None:
    fleet = Fleet(status(0), status(1), spares=1)
    lost = fleet.granted("a", replace=True)
    fleet.acquire("b", wait_s=100.0)
    fleet.show(lost.slot, state="BACKOFF", lease_id=None)
    assert [lease.slot for lease in fleet.table.leases(0.0)] == [1 - lost.slot]
    assert "b" not in fleet.answers
    fleet.show(lost.slot, state="READY", incarnation=2)
    assert "b" not in fleet.answers


def test_a_server_that_is_held_by_an_unknown_lease_is_ended_once() -> None:
    fleet = Fleet(status(0, "LEASED", lease_id="lease-7"))
    fleet.look()
    assert [e.lease_id for e in fleet.ordered if isinstance(e, End)] == ["lease-7"]
    fleet.table.not_ended("lease-7")
    fleet.look()
    assert len(fleet.ordered) == 2


def test_stopping_tells_holders_and_waiters_and_refuses_newcomers() -> None:
    fleet = Fleet(status(0))
    fleet.granted("a")
    fleet.acquire("b", wait_s=50.0)
    fleet.do(fleet.table.stop(0.0))
    assert code(fleet.answers["b"]) == "stopping"
    assert fleet.told[-1] == "lease.lost"
    assert code(fleet.acquire("c", wait_s=50.0)) == "stopping"


def test_a_full_queue_refuses() -> None:
    fleet = Fleet(status(0, "STARTING"))
    for number in range(WAITING_MAX):
        fleet.acquire(str(number), wait_s=50.0)
    assert code(fleet.acquire("one too many", wait_s=50.0)) == "overloaded"
    fleet.ask(Withdraw(request_id="0"))
    del fleet.answers["one too many"]
    assert code(fleet.acquire("one too many", wait_s=50.0)) == "overloaded"  # a request has one answer
    assert fleet.acquire("asked anew", wait_s=50.0) is None
