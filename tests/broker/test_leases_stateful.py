"""Random histories of a fleet and its clients against the lease table, checked after every step.

Hypothesis draws short histories and shrinks what fails; long ones, with steps weighted so that leases live,
are drawn from a seed. A million operations take the marker `nightly`.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.broker.history import TTL_MAX_S, USERS, History

ttls = st.sampled_from([0.5, 3.0, 10.0, TTL_MAX_S])
some = st.integers(0, 1000)


class LeaseHistories(RuleBasedStateMachine):
    @initialize(size=st.integers(1, 4), spares=st.integers(0, 1), quota=st.sampled_from([None, 1, 2]))
    def begin(self, size: int, spares: int, quota: int | None) -> None:
        self.history = History(size, spares, quota)

    @rule(
        map=st.sampled_from([None, "Town01", "Town02"] * 3 + ["Town99"]),
        ttl_s=st.sampled_from([None, 0.5, 3.0, 10.0, TTL_MAX_S] * 2 + [0.0, 1e9]),
        wait_s=st.sampled_from([0.0, 2.0, 30.0]),
        user=st.sampled_from(USERS),
        priority=st.sampled_from([0, 0, 1, 9]),
        replace=st.booleans(),
        at_once=st.booleans(),
    )
    def ask(self, at_once: bool, **terms: object) -> None:
        self.history.ask(terms, at_once=at_once)

    @precondition(lambda self: self.history.requests)
    @rule(which=some)
    def ask_again(self, which: int) -> None:
        self.history.ask_again(which)

    @precondition(lambda self: self.history.live)
    @rule(which=some, ttl_s=ttls)
    def renew(self, which: int, ttl_s: float) -> None:
        self.history.renew(which, ttl_s)

    @precondition(lambda self: self.history.live)
    @rule(which=some, is_stale=st.booleans())
    def release(self, which: int, is_stale: bool) -> None:
        self.history.release(which, is_stale=is_stale)

    @precondition(lambda self: self.history.ranks)
    @rule(which=some)
    def withdraw(self, which: int) -> None:
        self.history.withdraw(which)

    @precondition(lambda self: self.history.disk)
    @rule(which=some)
    def follow(self, which: int) -> None:
        self.history.follow(which)

    @rule(which=some)
    def holder_dies(self, which: int) -> None:
        self.history.holder_dies(which)

    @precondition(lambda self: self.history.orders)
    @rule(which=some, luck=st.integers(0, 7))
    def carry_out(self, which: int, luck: int) -> None:
        self.history.carry_out(which, luck)

    @rule(slot=st.integers(0, 3))
    def server_dies(self, slot: int) -> None:
        self.history.server_dies(slot)

    @rule()
    def servers_are_ready(self) -> None:
        self.history.servers_are_ready()

    @rule(seconds=st.sampled_from([0.1, 0.1, 0.5, 2.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.history.time_passes(seconds)

    @rule(when=st.sampled_from(["before", "after"]))
    def daemon_will_die(self, when: str) -> None:
        self.history.daemon_will_die(when)  # type: ignore[arg-type]


LeaseHistories.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLeaseHistories = LeaseHistories.TestCase


@pytest.mark.parametrize("seed", range(16))
def test_long_history(seed: int) -> None:
    live_through(Random(seed), 1000)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 120))
def test_very_long_history(seed: int) -> None:
    live_through(Random(seed), 50_000)


def live_through(chance: Random, operations: int) -> History:
    """A history of that many operations, in worlds of a few hundred each."""
    lived = 0
    while lived < operations:
        history = History(chance.randint(1, 4), chance.choice([0, 0, 1]), chance.choice([None, None, 1, 2]))
        while history.operations < min(1000, operations):
            one_step(history, chance)
        lived += history.operations
    return history


def one_step(history: History, chance: Random) -> None:
    which, roll = chance.randrange(1000), chance.random()
    if roll < 0.20:
        terms: dict[str, object] = {
            "map": chance.choice([None, "Town01", "Town02"]),
            "ttl_s": chance.choice([None, 0.5, 3.0, 10.0]),
            "wait_s": chance.choice([0.0, 2.0, 30.0]),
            "user": chance.choice(USERS),
            "priority": chance.choice([0, 0, 0, 1, 9]),
            "replace": chance.random() < 0.5,
        }
        history.ask(terms, at_once=chance.random() < 0.2)
    elif roll < 0.22 and history.requests:
        history.ask_again(which)
    elif roll < 0.28 and history.live:
        history.renew(which, chance.choice([0.5, 3.0, 10.0]))
    elif roll < 0.33 and history.live:
        history.release(which, is_stale=chance.random() < 0.2)
    elif roll < 0.35 and history.ranks:
        history.withdraw(which)
    elif roll < 0.37 and history.disk:
        history.follow(which)
    elif roll < 0.38:
        history.holder_dies(which)
    elif roll < 0.66 and history.orders:
        history.carry_out(which, chance.randrange(30))
    elif roll < 0.70:
        history.server_dies(chance.randrange(4))
    elif roll < 0.80:
        history.servers_are_ready()
    elif roll < 0.82:
        history.daemon_will_die(chance.choice(["before", "after"]))
    else:
        history.time_passes(chance.choice([0.1, 0.1, 0.1, 0.5, 2.0]))
