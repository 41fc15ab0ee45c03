"""The daemon may be killed at any moment: what was promised holds, what was not leaks nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from carlad.broker.book import ENDS_KEPT
from carlad.broker.effects import Effect, End, Scrub
from carlad.broker.grants import CLAIM_MAX_S
from carlad.messages import (
    Granted,
    Release,
    Released,
    Renew,
    Renewed,
    ReplacementQuery,
    ReplyBody,
    SlotStatus,
    Withdraw,
)
from tests.broker.slots import status
from tests.broker.table import Fleet


def test_a_lease_lives_on_with_its_token_and_its_end() -> None:
    fleet = Fleet(status(0), status(1))
    lease = fleet.granted("a", ttl_s=10.0)
    fleet.at(4.0)
    fleet.ask(Renew(lease_id=lease.lease_id))
    fleet.restart()
    (live,) = fleet.table.leases(4.0)
    assert (live.lease_id, live.token, live.expires_in_s) == (lease.lease_id, lease.token, 10.0)
    assert fleet.granted("b").token > lease.token
    fleet.at(14.0)
    assert [e.lease_id for e in fleet.ordered if isinstance(e, End)] == [lease.lease_id]


def test_a_lease_that_expired_while_no_daemon_was_there_ends_at_once() -> None:
    fleet = Fleet(status(0))
    lease = fleet.granted("a", ttl_s=10.0)
    fleet.ask(Renew(lease_id=lease.lease_id))
    fleet.now_s = 10.0
    fleet.restart()
    assert [e.lease_id for e in fleet.ordered if isinstance(e, End)] == [lease.lease_id]
    assert "expired" in str(fleet.ask(Renew(lease_id=lease.lease_id)))


def test_a_lease_that_was_never_renewed_ends_in_a_restart_no_earlier_and_not_much_later() -> None:
    fleet = Fleet(status(0))
    lease = fleet.granted("a", ttl_s=10.0)
    fleet.restart()
    fleet.at(9.9)
    assert fleet.ordered == []
    fleet.at(10.0 + CLAIM_MAX_S)
    assert [e.lease_id for e in fleet.ordered if isinstance(e, End)] == [lease.lease_id]


def test_a_request_whose_reply_was_lost_in_the_crash_gets_the_same_lease() -> None:
    fleet = Fleet(status(0), status(1))
    lease = fleet.granted("a")
    fleet.restart()
    assert fleet.acquire("a") == lease


def test_a_release_whose_reply_was_lost_in_the_crash_is_answered_as_done() -> None:
    fleet = Fleet(status(0))
    lease = fleet.granted("a")
    fleet.ask(Release(lease_id=lease.lease_id), "r")
    fleet.show(0, state="READY", lease_id=None)
    fleet.restart()
    assert isinstance(fleet.ask(Release(lease_id=lease.lease_id), "r"), Released)
    assert "it was released" in str(fleet.ask(Release(lease_id=lease.lease_id), "another"))


def test_a_lease_whose_server_died_while_no_daemon_was_there_is_lost_and_replaced() -> None:
    fleet = Fleet(status(0), status(1))
    lost = fleet.granted("a", replace=True)
    fleet.slots[lost.slot] = status(lost.slot, "STARTING", incarnation=2, map=None, reason="crashed")
    fleet.restart()
    assert "lease.lost" in fleet.told
    successor = fleet.acquire("a")  # also for who has not heard of the first one yet
    assert isinstance(successor, Granted)
    assert successor.token > lost.token
    assert fleet.ask(ReplacementQuery(lease_id=lost.lease_id)) == successor


def test_a_replacement_that_was_owed_is_owed_after_the_crash() -> None:
    fleet = Fleet(status(0))
    lost = fleet.granted("a", replace=True)
    fleet.show(0, state="BACKOFF", lease_id=None, reason="killed by signal 11")
    fleet.restart()
    assert fleet.ask(ReplacementQuery(lease_id=lost.lease_id), "q") is None
    fleet.show(0, state="READY", incarnation=2)
    assert isinstance(fleet.answers["q"], Granted)


def test_a_server_whose_lease_is_not_in_the_book_is_ended() -> None:
    fleet = Fleet(status(0))
    lease = fleet.granted("a")
    fleet.disk.clear()
    fleet.restart()
    assert [e.lease_id for e in fleet.ordered if isinstance(e, End)] == [lease.lease_id]


def test_the_disk_holds_no_more_than_the_live_and_the_recent() -> None:
    fleet = Fleet(status(0))
    for number in range(ENDS_KEPT + 10):
        fleet.show(0, state="READY", lease_id=None)
        lease = fleet.granted(f"request {number}")
        fleet.ask(Release(lease_id=lease.lease_id), f"release {number}")
    assert len(fleet.disk) == ENDS_KEPT
    fleet.restart()
    assert len(fleet.disk) == ENDS_KEPT


# --- killed between any two writes -----------------------------------------------------------------


WRITES = 20  # that the story below takes


class KilledError(Exception):
    """The daemon is killed here."""


class MortalFleet(Fleet):
    """Is killed at the write number `at`, before it or right after it, and then has nothing in memory."""

    def __init__(self, *slots: SlotStatus, at: int, written: bool) -> None:
        self._left, self._written = at, written
        self.promised: dict[str, ReplyBody] = {}
        super().__init__(*slots)

    def write(self) -> None:
        self._left -= 1
        if self._left == 0 and not self._written:
            raise KilledError
        super().write()
        if self._left == 0:
            raise KilledError

    def do(self, effects: list[Effect]) -> None:
        super().do(effects)
        self.promised.update(self.answers)  # whoever was told is told


def _story(fleet: Fleet) -> list[Callable[[], object]]:
    """What happens; each step may be done again after a crash, as clients send again."""

    def of(name: str) -> str:
        answer = fleet.promised[name]  # type: ignore[attr-defined]
        assert isinstance(answer, Granted)
        return answer.lease_id

    return [
        lambda: fleet.acquire("a", replace=True, ttl_s=100.0),
        lambda: fleet.acquire("b", ttl_s=100.0),
        lambda: fleet.at(50.0),
        lambda: fleet.ask(Renew(lease_id=of("a"), ttl_s=200.0), "renew a"),
        lambda: fleet.ask(Release(lease_id=of("b")), "release b"),
        lambda: fleet.show(1, state="READY", lease_id=None),
        lambda: fleet.show(0, state="BACKOFF", lease_id=None, reason="crashed"),
        lambda: fleet.ask(ReplacementQuery(lease_id=of("a")), "follow a"),
        lambda: fleet.acquire("c", ttl_s=100.0, wait_s=1000.0),
        lambda: fleet.show(0, state="READY", incarnation=2),
        lambda: fleet.ask(Withdraw(request_id="c"), "withdraw c"),
        lambda: fleet.at(149.0),
    ]


@pytest.mark.parametrize("written", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("at", range(1, WRITES + 2))
def test_no_crash_between_two_writes_breaks_a_promise(at: int, written: bool) -> None:
    fleet = MortalFleet(status(0), status(1), at=1000, written=written)
    fleet._left = at
    steps, crashes = _story(fleet), 0
    for step in steps:
        try:
            step()
        except KilledError:
            crashes += 1
            tokens = [int(s.lease_id.removeprefix("lease-")) for s in fleet.slots.values() if s.lease_id]
            fleet.restart()
            assert fleet.table.token >= max(tokens, default=0)
            _check(fleet)
            step()
        _check(fleet)
    assert crashes == (1 if at <= WRITES else 0)
    assert isinstance(fleet.promised["renew a"], Renewed)
    assert isinstance(fleet.promised["release b"], Released)
    successor = fleet.promised["follow a"]
    assert isinstance(successor, Granted)
    (live,) = fleet.table.leases(149.0)
    assert (live.lease_id, fleet.slots[live.slot].lease_id) == (successor.lease_id, live.lease_id)


def _check(fleet: MortalFleet) -> None:
    """Who was granted a lease holds it until it has ended, and nobody else holds anything."""
    live = {lease.lease_id: lease.slot for lease in fleet.table.leases(fleet.now_s)}
    assert len(set(live.values())) == len(live)
    ended = {e.lease_id for e in fleet.ordered if isinstance(e, End | Scrub)}
    for slot in fleet.slots.values():
        assert slot.lease_id is None or slot.lease_id in live or slot.lease_id in ended
    for answer in fleet.promised.values():
        if isinstance(answer, Granted) and fleet.slots[answer.slot].lease_id == answer.lease_id:
            assert answer.lease_id in live or answer.lease_id in ended
        assert not isinstance(answer, Released) or answer.lease_id not in live
