"""Servers from a real daemon, and from addresses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from carlad.client import Client
from carlad.errors import NoDaemonError, WaitedInVainError
from tests.session.leaks import wait_until
from trainer.servers import Addresses, Leases

CONFIG = """
[daemon]
endpoint = "{folder}/control.sock"
state_dir = "{folder}/state"
log_dir = "{folder}/logs"
[fleet]
size = 1
ports = [23480, 23499]
"""


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """A daemon with one stand-in server that is ready."""
    config, found = tmp_path / "carlad.toml", f"ipc://{tmp_path}/control.sock"
    config.write_text(CONFIG.format(folder=tmp_path))
    with subprocess.Popen([sys.executable, "-m", "carlad", "--config", str(config)]) as daemon:
        try:
            wait_until(lambda: _states(found) == ["READY"], within_s=30.0)
            yield found
        finally:
            daemon.terminate()
            daemon.wait(30.0)


def _states(endpoint: str) -> list[str]:
    try:
        with Client(endpoint) as client:
            return [slot.state for slot in client.status().slots]
    except NoDaemonError:
        return []


def test_a_leased_server_is_ours_until_it_dies_and_another_comes(endpoint: str) -> None:
    leases = Leases(endpoint, None, wait_s=20.0)
    held = leases.acquire(0)
    assert held.lost() is None
    assert held.server.map
    with pytest.raises(WaitedInVainError):
        Leases(endpoint, None, wait_s=0.1).acquire(1)
    with Client(endpoint) as client:
        (slot,) = client.status().slots
    assert slot.rpc_port == held.server.rpc_port
    assert slot.pid is not None
    os.kill(slot.pid, signal.SIGKILL)
    wait_until(lambda: held.lost() is not None)
    assert "SIGKILL" in str(held.lost())
    held.release()
    again = leases.acquire(0)
    assert again.lost() is None
    again.release()


def test_without_a_daemon_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NoDaemonError, match="none"):
        Leases(f"ipc://{tmp_path}/none.sock", None, wait_s=1.0).acquire(0)


def test_addresses_are_dealt_in_order_with_a_traffic_manager_port_each() -> None:
    addresses = Addresses(["gpu1:2000", "gpu2:2004"])
    first, second = (addresses.acquire(index).server for index in (0, 1))
    assert (first.host, first.rpc_port, second.host, second.rpc_port) == ("gpu1", 2000, "gpu2", 2004)
    assert first.traffic_manager_port != second.traffic_manager_port
