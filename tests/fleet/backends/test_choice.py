from __future__ import annotations

import os

import pytest

from carlad.config import FleetSection
from carlad.errors import ConfigError
from carlad.fleet import ports
from carlad.fleet.backends.account import account
from carlad.fleet.backends.choice import advice, for_servers


def test_what_the_service_manager_said_to_the_daemon_is_not_passed_on():
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1", "LISTEN_FDS": "1", "PATH": "/bin"}
    assert for_servers(environ) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("backend", "quality", "warned"),
    [
        ("docker", "Low", False),
        ("docker", "Epic", False),
        ("docker", "High", True),
        ("binary", "Medium", True),
        ("standin", "High", False),
    ],
)
def test_a_quality_that_carla_does_not_know_is_warned_of(tmp_path, backend, quality, warned):
    said = advice(FleetSection(backend=backend, quality=quality, carla_root=str(tmp_path)), {})
    assert any(f'CARLA knows "Low" and "Epic" only and renders "{quality}"' in one for one in said) is warned


@pytest.mark.parametrize(
    ("block", "overlaps"), [((2000, 2999), False), ((32000, 33000), True), ((61000, 61999), False)]
)
def test_ports_that_linux_takes_for_itself_are_warned_of(tmp_path, monkeypatch, block, overlaps):
    told = tmp_path / "ip_local_port_range"
    told.write_text("32768\t60999\n")
    monkeypatch.setattr(ports, "_EPHEMERAL", told)
    sentences = advice(FleetSection(ports=block), {})
    assert bool(sentences) is overlaps
    assert all("overlaps 32768 to 60999" in said and "stay below 32768" in said for said in sentences)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can become another user")
def test_only_root_starts_servers_as_somebody_else():
    with pytest.raises(ConfigError, match="only root can"):
        account("nobody", {})
