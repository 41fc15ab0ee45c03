"""What operators do, and what they are told."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from carlad.client import Client
from tests.cli.calling import carlactl
from tests.daemon_process import until_status
from tests.gateway.daemons import FakeDaemon, fake_daemon


@pytest.fixture(scope="module")
def operated() -> Iterator[FakeDaemon]:
    """For tests that change it."""
    with fake_daemon(size=2) as running:
        yield running


def test_a_slot_is_drained_and_brought_back(operated: FakeDaemon) -> None:
    assert carlactl(operated.endpoint, "drain", "1") == "slot 1 drains\n"
    assert "draining" in carlactl(operated.endpoint, "status")
    assert json.loads(carlactl(operated.endpoint, "status", "--json"))["slots"][1]["draining"]
    assert carlactl(operated.endpoint, "undrain", "1") == "slot 1 is back\n"


def test_a_slot_is_quarantined_with_a_reason_and_restarted(operated: FakeDaemon) -> None:
    assert carlactl(operated.endpoint, "quarantine", "0", "--why", "Xid 79") == "slot 0 is quarantined\n"
    assert "Xid 79" in carlactl(operated.endpoint, "status")
    assert carlactl(operated.endpoint, "restart", "0") == "slot 0 gets another server\n"
    with Client(operated.endpoint) as client:
        until_status(client, lambda status: status.slots[0].state == "READY")


@pytest.mark.parametrize("command", ["drain", "undrain", "restart", "quarantine"])
def test_a_slot_that_is_not_there_is_refused(operated: FakeDaemon, command: str) -> None:
    assert "slots are 0 to 1" in carlactl(operated.endpoint, command, "7", code=1)


def test_the_fleet_is_scaled(operated: FakeDaemon) -> None:
    assert "3 slots" in carlactl(operated.endpoint, "scale", "3")
    assert len(json.loads(carlactl(operated.endpoint, "status", "--json"))["slots"]) == 3
    assert "2 slots" in carlactl(operated.endpoint, "scale", "2")


def test_a_reload_says_what_it_changes(operated: FakeDaemon) -> None:
    assert carlactl(operated.endpoint, "reload") == "lease.ttl_s = 60.0  (was 30.0; applies now)\n"
    assert json.loads(carlactl(operated.endpoint, "reload", "--json")) == [
        {"key": "lease.ttl_s", "old": "30.0", "new": "60.0", "applies": "now"}
    ]


def test_a_shutdown_is_told(operated: FakeDaemon) -> None:
    with fake_daemon(size=0) as daemon:
        assert "carlad ends now" in carlactl(daemon.endpoint, "shutdown", "--now")
