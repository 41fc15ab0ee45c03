"""Leases by command, judged by output and exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from carlad.client import Client
from tests.cli.calling import carlactl
from tests.daemon_process import until_status
from tests.gateway.daemons import FakeDaemon


def test_a_lease_is_taken_renewed_and_released(daemon: FakeDaemon) -> None:
    granted = json.loads(carlactl(daemon.endpoint, "lease", "--json", "--map", "Town01", "--ttl", "60"))
    assert {
        "lease_id",
        "token",
        "host",
        "rpc_port",
        "streaming_port",
        "traffic_manager_port",
        "map",
        "ttl_s",
    } <= set(granted)
    assert (granted["map"], granted["ttl_s"]) == ("Town01", 60.0)
    lease_id, token = granted["lease_id"], str(granted["token"])
    assert "60 s" in carlactl(daemon.endpoint, "renew", lease_id)
    assert "stale" in carlactl(daemon.endpoint, "release", lease_id, "--token", "0", code=1)
    assert lease_id in carlactl(daemon.endpoint, "release", lease_id, "--token", token)
    assert "released" in carlactl(daemon.endpoint, "renew", lease_id, code=1)


def test_without_a_free_server_the_exit_code_is_4(daemon: FakeDaemon) -> None:
    held = [json.loads(carlactl(daemon.endpoint, "lease", "--json", "--wait", "5"))["lease_id"] for _ in "ab"]
    assert "no server is free" in carlactl(daemon.endpoint, "lease", code=4)
    assert "within 0.2 s" in carlactl(daemon.endpoint, "lease", "--wait", "0.2", code=4)
    for lease_id in held:
        carlactl(daemon.endpoint, "release", lease_id)


def test_an_unknown_map_is_refused_and_the_known_ones_named(daemon: FakeDaemon) -> None:
    assert "known are Town01, Town02" in carlactl(daemon.endpoint, "lease", "--map", "Atlantis", code=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_is_interrupted_while_waiting_leaves_the_queue(daemon: FakeDaemon, number: int) -> None:
    with Client(daemon.endpoint) as client:
        held = [client.acquire(wait_s=5.0).lease_id for _ in "ab"]
        with subprocess.Popen(
            [sys.executable, "-m", "carlad.cli", "--endpoint", daemon.endpoint, "lease", "--wait", "60"]
        ) as waiter:
            until_status(client, lambda status: status.waiting == 1)
            waiter.send_signal(number)
        until_status(client, lambda status: status.waiting == 0, 2.0)
        for lease_id in held:
            client.release(lease_id)
