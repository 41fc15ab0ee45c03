from __future__ import annotations

import os
import sys

import pytest

from carlad.config import FleetSection
from carlad.errors import ConfigError
from carlad.fleet import launch
from carlad.fleet.ports import Ports

PORTS = Ports(2000)


@pytest.fixture
def carla_root(tmp_path):
    script = tmp_path / "CarlaUE4.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    return tmp_path


def test_the_stand_in_gets_carlas_flags_and_the_operators_own():
    config = FleetSection(quality="Epic", resolution="84x64", extra_args=("--seed", "7"))
    started = launch.standin(config, PORTS, {"HOME": "/x"})
    assert started.argv == (
        sys.executable, "-m", "carlad.standin", "--host", "127.0.0.1",
        "-RenderOffScreen", "-nosound", "-quality-level=Epic", "-ResX=84", "-ResY=64",
        "-carla-rpc-port=2000", "-carla-streaming-port=2001", "--seed", "7",
    )  # fmt: skip
    assert started.environ == {"HOME": "/x"}


@pytest.mark.parametrize(
    ("advertised", "host"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("10.1.2.3", "0.0.0.0"), ("node7", "0.0.0.0")],
)
def test_the_stand_in_is_open_to_others_only_where_others_are_told_to_come(advertised, host):
    argv = launch.standin(FleetSection(advertise_host=advertised), PORTS, {}).argv
    assert argv[argv.index("--host") + 1] == host


def test_the_binary_is_started_in_its_own_folder(carla_root):
    started = launch.binary(FleetSection(carla_root=str(carla_root)), PORTS, {})
    assert started.argv[0] == str(carla_root / "CarlaUE4.sh")
    assert "-carla-rpc-port=2000" in started.argv
    assert started.cwd == str(carla_root)


def test_a_home_folder_is_understood_in_carla_root(carla_root, monkeypatch):
    monkeypatch.setenv("HOME", str(carla_root.parent))
    config = FleetSection(carla_root=f"~/{carla_root.name}")
    assert launch.binary(config, PORTS, {}).argv[0] == str(carla_root / "CarlaUE4.sh")


def test_what_the_service_manager_said_to_the_daemon_is_not_passed_on(monkeypatch):
    monkeypatch.setattr(launch, "_STANDIN_PACKAGES", ())  # whether they are here does not matter
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1", "LISTEN_FDS": "1", "PATH": "/bin"}
    start = launch.launcher(FleetSection(), environ)
    assert start(PORTS).environ == {"PATH": "/bin"}


def test_a_missing_package_of_the_stand_in_says_what_to_install(monkeypatch):
    monkeypatch.setattr(launch, "_STANDIN_PACKAGES", ("numpy", "no_such_package"))
    with pytest.raises(
        ConfigError, match=r'no_such_package not installed; install carlad\[standin\], or .*"binary"'
    ):
        launch.launcher(FleetSection(), {})


def test_the_binary_needs_a_root(carla_root):
    with pytest.raises(ConfigError, match=r"fleet\.carla_root"):
        launch.launcher(FleetSection(backend="binary"), {})
    with pytest.raises(ConfigError, match=r"there is no .*nowhere/CarlaUE4\.sh"):
        launch.launcher(FleetSection(backend="binary", carla_root=str(carla_root / "nowhere")), {})


def test_a_script_that_is_not_executable_is_refused(carla_root):
    (carla_root / "CarlaUE4.sh").chmod(0o644)
    with pytest.raises(ConfigError, match=r"is not executable; run chmod \+x"):
        launch.launcher(FleetSection(backend="binary", carla_root=str(carla_root)), {})


def test_the_binary_is_refused_for_root_and_only_for_root(carla_root):
    config = FleetSection(backend="binary", carla_root=str(carla_root))
    if os.geteuid() == 0:
        with pytest.raises(ConfigError, match="refuses to run as root: run carlad as another user"):
            launch.launcher(config, {})
    else:
        assert launch.launcher(config, {})(PORTS).argv[0].endswith("CarlaUE4.sh")


@pytest.mark.parametrize("backend", ["docker", "external"])
def test_a_backend_that_does_not_exist_yet_is_refused(backend):
    with pytest.raises(ConfigError, match=f'"{backend}" is not supported yet'):
        launch.launcher(FleetSection(backend=backend), {})
