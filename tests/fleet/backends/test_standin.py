from __future__ import annotations

import sys

import pytest

from carlad.config import FleetSection
from carlad.errors import ConfigError
from carlad.fleet.backends import standin as backend
from carlad.fleet.backends.account import Account
from carlad.fleet.backends.standin import standin, standin_launcher
from carlad.fleet.ports import Ports

PORTS = Ports(2000)
ME = Account("me", "/home/me")


def test_the_stand_in_gets_carlas_flags_and_the_operators_own():
    config = FleetSection(quality="Epic", resolution="84x64", extra_args=("--seed", "7"))
    started = standin(config, PORTS, ME, {"PATH": "/bin"})
    assert started.argv == (
        sys.executable, "-m", "carlad.standin", "--host", "127.0.0.1",
        "-RenderOffScreen", "-nosound", "-quality-level=Epic", "-ResX=84", "-ResY=64",
        "-carla-rpc-port=2000", "-carla-streaming-port=2001", "--seed", "7",
    )  # fmt: skip
    assert started.environ == {"PATH": "/bin", "HOME": "/home/me"}


@pytest.mark.parametrize(
    ("advertised", "host"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("10.1.2.3", "0.0.0.0"), ("node7", "0.0.0.0")],
)
def test_the_stand_in_is_open_to_others_only_where_others_are_told_to_come(advertised, host):
    argv = standin(FleetSection(advertise_host=advertised), PORTS, ME, {}).argv
    assert argv[argv.index("--host") + 1] == host


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(backend, "_PACKAGES", ("sys", "no_such_package"))
    with pytest.raises(
        ConfigError, match=r'no_such_package not installed; install carlad\[standin\], or .*"binary"'
    ):
        standin_launcher(FleetSection(), {})
