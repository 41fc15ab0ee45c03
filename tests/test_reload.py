"""What another configuration changes at once, server by server, or not before another daemon."""

from __future__ import annotations

import msgspec
import pytest

from carlad.config import Config, DaemonSection, FleetSection, LeaseSection
from carlad.messages import Changed
from carlad.reload import applies, changes, effective

OLD = Config()


def test_the_same_configuration_changes_nothing() -> None:
    assert changes(OLD, Config()) == ()


def test_changes_are_told_key_by_key_in_toml() -> None:
    new = Config(
        fleet=FleetSection(size=3, ports=(4000, 4999), extra_args=("--a", '"b"')),
        lease=LeaseSection(ttl_s=5.0),
    )
    assert changes(OLD, new) == (
        Changed(key="fleet.size", old="2", new="3", applies="now"),
        Changed(
            key="fleet.ports",
            old="[2000, 2999]",
            new="[4000, 4999]",
            applies="to each server as it becomes free",
        ),
        Changed(
            key="fleet.extra_args",
            old="[]",
            new=r'["--a", "\"b\""]',
            applies="to each server as it becomes free",
        ),
        Changed(key="lease.ttl_s", old="30.0", new="5.0", applies="now"),
    )


@pytest.mark.parametrize(
    ("key", "when"),
    [
        ("probe.timeout_s", "now"),
        ("restart.restarts_max", "now"),
        ("fleet.spares", "now"),
        ("fleet.map", "to each server as it becomes free"),
        ("fleet.open", "after carlactl upgrade"),
        ("daemon.drain_s", "now"),
        ("session.envs", "now"),
        ("daemon.state_dir", "after carlactl upgrade"),
        ("anything.else", "after carlactl upgrade"),
    ],
)
def test_each_key_applies_when_it_can(key: str, when: str) -> None:
    assert applies(key) == when


def test_what_waits_for_another_daemon_stays_as_it_was_and_is_told_again() -> None:
    new = Config(daemon=DaemonSection(log_dir="/elsewhere", drain_s=1.0), lease=LeaseSection(ttl_s=5.0))
    running = effective(OLD, new)
    assert running == msgspec.structs.replace(
        OLD, daemon=DaemonSection(drain_s=1.0), lease=LeaseSection(ttl_s=5.0)
    )
    assert [change.key for change in changes(running, new)] == ["daemon.log_dir"]
