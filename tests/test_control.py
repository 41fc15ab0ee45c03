"""From the configuration to what its units obey."""

from __future__ import annotations

from carlad.broker.terms import Quota, Terms
from carlad.config import decode
from carlad.control import terms


def test_without_limits_a_lease_has_none() -> None:
    assert terms(decode("")) == Terms(ttl_s=30.0, ttl_max_s=3600.0)


def test_the_lease_section_is_what_the_broker_obeys() -> None:
    text = """
        fleet.spares = 1
        [lease]
        ttl_s = 5
        ttl_max_s = 50
        max_s = 500
        idle_max_s = 60
        head_start_s = 10
        quota = 2
        quotas = { ann = 4, eve = 0 }
    """
    quota = Quota(leases_max=2, users={"ann": 4, "eve": 0})
    assert terms(decode(text)) == Terms(5.0, 50.0, 1, 500.0, 60.0, 10.0, quota)
    assert [quota.of(user) for user in ("ann", "bob", "eve")] == [4, 2, 0]
