"""A lease that was lost and wanted a successor gets one, without asking again."""

from __future__ import annotations

from carlad.broker.effects import Claim, End, Load, Scrub
from carlad.broker.grants import FAULT_PAUSE_S, LOADS_MAX
from carlad.broker.holder import Process
from carlad.messages import Granted, Release, Released, Renew, ReplacementQuery, Withdraw
from tests.broker.slots import status
from tests.broker.table import Fleet, code


def lose(fleet: Fleet, slot: int) -> None:
    fleet.show(slot, state="BACKOFF", lease_id=None, reason="killed by signal 11")


def test_the_successor_has_a_new_token_the_same_map_and_time_to_live_and_is_told_to_who_asks() -> None:
    fleet = Fleet(status(0), status(1, map="Town02"), status(2, map="Town02"), spares=1)
    lost = fleet.granted("a", map="Town02", ttl_s=7.0, replace=True)
    lose(fleet, lost.slot)
    successor = fleet.ask(ReplacementQuery(lease_id=lost.lease_id, token=lost.token))
    assert isinstance(successor, Granted)
    assert successor.token > lost.token
    assert (successor.map, successor.ttl_s) == ("Town02", 7.0)
    assert successor.slot != lost.slot
    assert fleet.told[-3:] == ["lease.lost", "lease.granted", "lease.replaced"]


def test_the_claim_names_the_lost_lease_so_that_the_server_is_made_like_its() -> None:
    fleet = Fleet(status(0), status(1))
    lost = fleet.granted("a", replace=True)
    fleet.claims_work = False
    lose(fleet, lost.slot)
    assert [e.furnished_as for e in fleet.ordered if isinstance(e, Claim)] == [lost.lease_id]


def test_who_makes_the_settings_himself_gets_a_server_as_others_find_it() -> None:
    fleet = Fleet(status(0), status(1))
    lost = fleet.granted("a", replace=True, furnish=False)
    fleet.claims_work = False
    lose(fleet, lost.slot)
    assert [e.furnished_as for e in fleet.ordered if isinstance(e, Claim)] == [None]


def test_who_did_not_ask_for_it_gets_none() -> None:
    fleet = Fleet(status(0), status(1))
    lost = fleet.granted("a")
    lose(fleet, lost.slot)
    refused = fleet.ask(ReplacementQuery(lease_id=lost.lease_id))
    assert code(refused) == "no-such-lease"
    assert "signal 11" in str(refused)


def test_a_lease_that_lives_is_its_own_successor() -> None:
    fleet = Fleet(status(0))
    lease = fleet.granted("a", replace=True)
    assert fleet.ask(ReplacementQuery(lease_id=lease.lease_id)) == lease


def test_without_a_spare_it_comes_as_soon_as_a_server_is_free_before_all_who_wait() -> None:
    fleet = Fleet(status(0))
    lost = fleet.granted("a", replace=True)
    fleet.acquire("b", wait_s=1000.0, priority=9)
    assert fleet.ask(ReplacementQuery(lease_id=lost.lease_id), "q") == lost
    lose(fleet, 0)
    assert fleet.ask(ReplacementQuery(lease_id=lost.lease_id), "q") is None
    assert fleet.table.queued("q").position == 1
    fleet.show(0, state="READY", incarnation=2)
    assert isinstance(fleet.answers["q"], Granted)
    assert "b" not in fleet.answers


def test_the_map_that_the_holder_loaded_itself_is_loaded_on_the_successor() -> None:
    fleet = Fleet(status(0), status(1))
    lost = fleet.granted("a", replace=True)
    fleet.show(lost.slot, map="Town02")
    lose(fleet, lost.slot)
    assert fleet.ordered == [Load(1, "Town02")]


def test_a_chain_of_losses_is_followed_to_its_end() -> None:
    fleet = Fleet(status(0), status(1), status(2))
    first = fleet.granted("a", replace=True)
    for slot in (0, 1):
        lose(fleet, slot)
    last = fleet.ask(ReplacementQuery(lease_id=first.lease_id))
    assert isinstance(last, Granted)
    assert last.slot == 2
    assert "replaces it" in str(fleet.ask(Renew(lease_id=first.lease_id)))


def test_the_second_to_ask_for_a_successor_is_answered_and_the_first_sent_away() -> None:
    fleet = Fleet(status(0))
    lost = fleet.granted("a", replace=True)
    lose(fleet, 0)
    query = ReplacementQuery(lease_id=lost.lease_id)
    assert fleet.ask(query, "first") is None
    assert fleet.ask(query, "second") is None
    assert code(fleet.answers["first"]) == "withdrawn"
    fleet.show(0, state="READY", incarnation=2)
    assert isinstance(fleet.answers["second"], Granted)


def test_the_release_of_a_replaced_lease_releases_its_successor() -> None:
    fleet = Fleet(status(0), status(1))
    lost = fleet.granted("a", replace=True)
    lose(fleet, lost.slot)
    assert isinstance(fleet.ask(Release(lease_id=lost.lease_id, token=lost.token)), Released)
    assert [type(e) for e in fleet.ordered] == [Scrub]
    assert fleet.table.leases(0.0) == ()


def test_the_release_of_a_lost_lease_that_waits_for_a_successor_ends_the_waiting() -> None:
    fleet = Fleet(status(0))
    lost = fleet.granted("a", replace=True)
    lose(fleet, 0)
    assert isinstance(fleet.ask(Release(lease_id=lost.lease_id)), Released)
    assert fleet.told[-1] == "lease.given_up"
    fleet.show(0, state="READY", incarnation=2)
    assert fleet.table.leases(0.0) == ()


def test_a_stale_token_follows_nothing() -> None:
    fleet = Fleet(status(0), status(1))
    lost = fleet.granted("a", replace=True)
    lose(fleet, lost.slot)
    assert code(fleet.ask(ReplacementQuery(lease_id=lost.lease_id, token=1))) == "stale-token"
    assert code(fleet.ask(Release(lease_id=lost.lease_id, token=1))) == "stale-token"


def test_a_holder_who_dies_while_waiting_for_a_successor_gets_none() -> None:
    fleet = Fleet(status(0))
    fleet.granted("a", replace=True, started=99)
    lose(fleet, 0)
    (holder,) = fleet.table.processes()
    fleet.do(fleet.table.holder_died(Process(holder.pid, holder.started + 1), 0.0))
    assert fleet.table.waiting == 1
    fleet.do(fleet.table.holder_died(holder, 0.0))
    assert (fleet.table.waiting, fleet.table.processes()) == (0, frozenset())


def test_the_withdrawal_of_a_lease_s_request_ends_its_successor_too() -> None:
    fleet = Fleet(status(0), status(1))
    lost = fleet.granted("a", replace=True)
    lose(fleet, lost.slot)
    fleet.ask(Withdraw(request_id="a"))
    assert fleet.table.leases(0.0) == ()


def test_a_successor_whose_map_does_not_load_is_given_up_with_the_reason() -> None:
    fleet = Fleet(status(0, map="Town02"))
    lost = fleet.granted("a", replace=True)
    lose(fleet, 0)
    fleet.ask(ReplacementQuery(lease_id=lost.lease_id), "q")
    for incarnation in range(LOADS_MAX):
        fleet.show(0, state="READY", map="Town01", incarnation=incarnation + 2)
        fleet.show(0, state="STARTING")
        fleet.do(fleet.table.load_began(0, True, 0.0))
        fleet.show(0, state="BACKOFF", reason="out of memory")
    assert "out of memory" in str(fleet.answers["q"])
    assert "out of memory" in str(fleet.ask(ReplacementQuery(lease_id=lost.lease_id)))


def test_a_successor_that_cannot_be_put_on_disk_stays_owed_and_is_tried_again() -> None:
    fleet = Fleet(status(0), status(1))
    lost = fleet.granted("a", replace=True)
    fleet.claims_work = False
    lose(fleet, lost.slot)
    (claim,) = [effect for effect in fleet.ordered if isinstance(effect, Claim)]
    fleet.do(fleet.table.not_claimed(claim.slot, claim.token, 0.0, "disk full"))
    assert fleet.ask(ReplacementQuery(lease_id=lost.lease_id), "q") is None
    assert fleet.ordered == [claim]  # not at once, or it would be tried without end
    assert fleet.table.next_deadline_s() == FAULT_PAUSE_S
    fleet.claims_work = True
    fleet.at(FAULT_PAUSE_S)
    successor = fleet.answers["q"]
    assert isinstance(successor, Granted)
    assert successor.token > claim.token


def test_a_successor_lasts_no_longer_than_the_lost_lease_would_have() -> None:
    fleet = Fleet(status(0), status(1), lease_max_s=100.0)
    lost = fleet.granted("a", ttl_s=60.0, replace=True)
    assert lost.ends_in_s == 100.0
    fleet.at(50.0)
    lose(fleet, lost.slot)
    successor = fleet.ask(ReplacementQuery(lease_id=lost.lease_id))
    assert isinstance(successor, Granted)
    assert successor.ends_in_s == 50.0
    fleet.at(99.0)
    fleet.ask(Renew(lease_id=successor.lease_id))
    fleet.at(100.0)
    assert [type(e) for e in fleet.ordered] == [End]
    assert "longest that a lease may, 100 s" in str(fleet.ask(Renew(lease_id=successor.lease_id)))


def test_a_daemon_that_ends_replaces_nothing() -> None:
    fleet = Fleet(status(0), status(1))
    lost = fleet.granted("a", replace=True)
    fleet.do(fleet.table.drain())
    lose(fleet, lost.slot)
    assert fleet.table.leases(0.0) == ()
    assert code(fleet.ask(ReplacementQuery(lease_id=lost.lease_id))) == "no-such-lease"
