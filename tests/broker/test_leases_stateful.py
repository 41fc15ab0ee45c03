"""Random histories of a fleet and its clients against the lease table, checked after every step.

The machine here plays the broker and a fleet in which everything takes time: claims, loads and ends are
orders under way until a rule carries them out, in any order, and servers die whenever they like.
Hypothesis draws short histories and shrinks what fails; long ones, with rules weighted so that leases
live, are drawn from a seed.
"""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from carlad.broker.effects import Answer, Claim, Effect, End, Load, Scrub, Tell
from carlad.broker.leases import LeaseTable
from carlad.broker.terms import Terms
from carlad.messages import Granted, Refused, Release, Renew, Renewed, ReplyBody, Withdraw
from tests.broker.slots import acquire, status

MAPS = frozenset({"Town01", "Town02"})
TTL_MAX_S = 60.0

Order = Claim | Load | Scrub | End
ttls = st.sampled_from([0.5, 3.0, 10.0, TTL_MAX_S])


class LeaseHistories(RuleBasedStateMachine):
    @initialize(size=st.integers(1, 4), spares=st.integers(0, 1))
    def begin(self, size: int, spares: int) -> None:
        self.now_s = 0.0
        self.slots = {slot: status(slot) for slot in range(size)}
        self.spares = spares
        self.table = LeaseTable(Terms(10.0, TTL_MAX_S, spares), token=41)
        self.orders: list[Order] = []
        self.answers: dict[str, ReplyBody] = {}
        self.requests: dict[str, tuple[float, str | None]] = {}  # id → latest end of waiting, map
        self.arrivals: list[str] = []
        self.loading: dict[int, str] = {}
        self.token = 41
        self.live: dict[str, tuple[int, float]] = {}  # granted lease → slot, expected end
        self.fenced: dict[int, set[int]] = {slot: set() for slot in self.slots}  # incarnations that were held
        self.look()

    # --- performing effects ------------------------------------------------------------------------

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Answer(request_id, body):
                    self.take_answer(request_id, body)
                case Claim():
                    assert effect.token > self.token, "tokens only grow"
                    self.token = effect.token
                    self.orders.append(effect)
                case Load() | Scrub() | End():
                    self.orders.append(effect)
                case Tell(event, _slot, lease_id):
                    self.hear(event, lease_id)

    def take_answer(self, request_id: str, body: ReplyBody) -> None:
        if request_id in self.arrivals:
            if isinstance(body, Granted):
                self.check_grant(request_id, body)
            self.arrivals.remove(request_id)
        if request_id in self.requests and request_id in self.answers:
            assert self.answers[request_id] == body, "a request has one answer"
        self.answers[request_id] = body

    def check_grant(self, request_id: str, granted: Granted) -> None:
        shown = self.slots[granted.slot]
        wanted = self.requests[request_id][1]
        assert shown.lease_id == granted.lease_id
        assert shown.rpc_port == granted.rpc_port
        assert wanted in (None, granted.map)
        assert granted.lease_id not in self.live
        assert all(slot != granted.slot for slot, _ in self.live.values()), "one live lease a server"
        assert shown.incarnation not in self.fenced[granted.slot], "nobody gets a server that was held"
        self.fenced[granted.slot].add(shown.incarnation)
        self.live[granted.lease_id] = (granted.slot, self.now_s + granted.ttl_s)

    def hear(self, event: str, lease_id: str) -> None:
        if event == "lease.granted":
            return
        slot, ends_at_s = self.live.pop(lease_id)
        if event == "lease.expired":
            assert self.now_s >= ends_at_s, "never before its time"
        if event == "lease.lost":
            assert self.slots[slot].lease_id != lease_id

    def look(self) -> None:
        self.perform(
            self.table.slots_changed(self.slots.values(), dict.fromkeys(self.slots, MAPS), self.now_s)
        )

    def show(self, slot: int, **fields: object) -> None:
        self.slots[slot] = msgspec.structs.replace(self.slots[slot], **fields)
        self.look()

    # --- what clients do ---------------------------------------------------------------------------

    @rule(
        map=st.sampled_from([None, "Town01", "Town02"] * 3 + ["Town99"]),
        ttl_s=st.sampled_from([None, 0.5, 3.0, 10.0, TTL_MAX_S] * 2 + [0.0, 1e9]),
        wait_s=st.sampled_from([0.0, 2.0, 30.0]),
        at_once=st.booleans(),
    )
    def ask(self, map: str | None, ttl_s: float | None, wait_s: float, at_once: bool) -> None:
        request_id = f"request {len(self.requests)}"
        self.requests[request_id] = (self.now_s + wait_s, map)
        self.arrivals.append(request_id)
        self.perform(self.table.acquire(request_id, acquire(map, ttl_s, wait_s), self.now_s))
        if map == "Town99":
            assert isinstance(self.answers[request_id], Refused)
        while at_once and self.orders:
            self.carry_out(0, 1)

    @precondition(lambda self: self.requests)
    @rule(which=st.integers(0, 1000))
    def ask_again(self, which: int) -> None:
        request_id = list(self.requests)[which % len(self.requests)]
        self.perform(self.table.acquire(request_id, acquire(wait_s=30.0), self.now_s))

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 10), ttl_s=ttls)
    def renew(self, which: int, ttl_s: float) -> None:
        lease_id = list(self.live)[which % len(self.live)]
        self.perform(self.table.renew("renewal", Renew(lease_id=lease_id, ttl_s=ttl_s), self.now_s))
        if isinstance(self.answers["renewal"], Renewed):
            self.live[lease_id] = (self.live[lease_id][0], self.now_s + ttl_s)
        else:
            assert lease_id not in self.live

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 10), is_stale=st.booleans())
    def release(self, which: int, is_stale: bool) -> None:
        lease_id = list(self.live)[which % len(self.live)]
        token = int(lease_id.removeprefix("lease-")) - is_stale
        request_id = f"release {lease_id} {token}"
        self.perform(self.table.release(request_id, Release(lease_id=lease_id, token=token), self.now_s))
        if is_stale:
            assert isinstance(self.answers[request_id], Refused)
        else:
            assert lease_id not in self.live

    @precondition(lambda self: self.arrivals)
    @rule(which=st.integers(0, 10))
    def withdraw(self, which: int) -> None:
        request_id = self.arrivals[which % len(self.arrivals)]
        self.perform(self.table.withdraw("withdrawal", Withdraw(request_id=request_id), self.now_s))
        assert request_id not in self.arrivals

    # --- what the fleet and the clock do -----------------------------------------------------------

    @precondition(lambda self: self.orders)
    @rule(which=st.integers(0, 10), luck=st.integers(0, 7))
    def carry_out(self, which: int, luck: int) -> None:
        order = self.orders.pop(which % len(self.orders))
        shown = self.slots[order.slot]
        match order:
            case Claim(slot, lease_id, token):
                if luck == 0:
                    self.perform(self.table.not_claimed(slot, token, self.now_s, "disk full"))
                elif shown.state == "READY":
                    self.show(slot, state="LEASED", lease_id=lease_id)
                    if luck == 1:
                        self.server_dies(slot)
                    self.perform(self.table.claimed(slot, token, self.now_s))
                else:
                    self.perform(self.table.not_claimed(slot, token, self.now_s))
            case Load(slot, map):
                began = shown.state == "READY"
                if began:
                    self.loading[slot] = map
                    self.show(slot, state="STARTING")
                self.perform(self.table.load_began(slot, began, self.now_s))
            case Scrub(slot, lease_id, _reason):
                assert lease_id not in self.live, "who holds a server keeps it"
                if shown.lease_id == lease_id:
                    self.fenced[slot].discard(shown.incarnation)
                    self.show(slot, state="SCRUBBING", lease_id=None)
            case End(slot, lease_id, _reason):
                assert lease_id not in self.live, "who holds a server keeps it"
                if shown.lease_id == lease_id:
                    self.fenced[slot].add(shown.incarnation)
                    self.show(slot, state="STOPPING", lease_id=None)

    @rule(slot=st.integers(0, 11))
    def server_dies(self, slot: int) -> None:
        if slot >= len(self.slots):
            return
        self.loading.pop(slot, None)
        self.show(slot, state="BACKOFF", lease_id=None, reason="crashed")

    @rule()
    def servers_are_ready(self) -> None:
        for slot, shown in self.slots.items():
            if slot in self.loading:
                self.slots[slot] = msgspec.structs.replace(shown, state="READY", map=self.loading.pop(slot))
            elif shown.state == "SCRUBBING":
                self.slots[slot] = msgspec.structs.replace(shown, state="READY")
            elif shown.state in ("BACKOFF", "STOPPING"):
                self.slots[slot] = status(slot, incarnation=shown.incarnation + 1)
        self.look()

    @rule(seconds=st.sampled_from([0.1, 0.1, 0.5, 2.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.perform(self.table.time_passed(self.now_s))

    # --- what always holds -------------------------------------------------------------------------

    @invariant()
    def what_the_table_says_is_what_was_granted(self) -> None:
        said = {lease.lease_id: lease.slot for lease in self.table.leases(self.now_s)}
        assert said == {lease_id: slot for lease_id, (slot, _) in self.live.items()}

    @invariant()
    def no_lease_outlives_its_time(self) -> None:
        assert all(ends_at_s > self.now_s for _, ends_at_s in self.live.values())

    @invariant()
    def every_request_is_answered_or_waits(self) -> None:
        assert self.table.waiting >= len(self.arrivals)
        deadline_s = self.table.next_deadline_s()
        assert deadline_s is None or deadline_s > self.now_s

    @invariant()
    def who_waits_is_served_in_the_order_of_arrival(self) -> None:
        waiting = [r for r in self.arrivals if self.table.queued(r).position]
        positions = [self.table.queued(r).position for r in waiting]
        assert positions == sorted(positions)
        promised = {order.slot for order in self.orders if isinstance(order, Claim | Load)}
        free = [s for s in self.slots.values() if s.state == "READY" and s.slot not in promised]
        assert not waiting or len(free) <= self.spares


LeaseHistories.TestCase.settings = settings(
    max_examples=50,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLeaseHistories = LeaseHistories.TestCase


@pytest.mark.parametrize("seed", range(16))
def test_long_history(seed: int) -> None:
    chance = Random(seed)
    history = LeaseHistories()
    history.begin(chance.randint(1, 4), chance.choice([0, 0, 1]))
    for _ in range(1000):
        _one_step(history, chance)
        history.what_the_table_says_is_what_was_granted()
        history.no_lease_outlives_its_time()
        history.every_request_is_answered_or_waits()
        history.who_waits_is_served_in_the_order_of_arrival()


def _one_step(history: LeaseHistories, chance: Random) -> None:
    which, roll = chance.randrange(11), chance.random()
    if roll < 0.20:
        map, ttl_s = chance.choice([None, "Town01", "Town02"]), chance.choice([None, 0.5, 3.0, 10.0])
        history.ask(map, ttl_s, chance.choice([0.0, 2.0, 30.0]), chance.random() < 0.2)
    elif roll < 0.22 and history.requests:
        history.ask_again(chance.randrange(1000))
    elif roll < 0.28 and history.live:
        history.renew(which, chance.choice([0.5, 3.0, 10.0]))
    elif roll < 0.33 and history.live:
        history.release(which, chance.random() < 0.2)
    elif roll < 0.35 and history.arrivals:
        history.withdraw(which)
    elif roll < 0.65 and history.orders:
        history.carry_out(which, chance.randrange(30))
    elif roll < 0.70:
        history.server_dies(chance.randrange(4))
    elif roll < 0.80:
        history.servers_are_ready()
    else:
        history.time_passes(chance.choice([0.1, 0.1, 0.1, 0.5, 2.0]))
