"""A container's variables as a configuration that the daemon takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from carlad import config
from carlad.errors import ConfigError
from carlad.image import server
from carlad.image.folders import Folders, folders


@pytest.fixture
def where(tmp_path: Path) -> Folders:
    found = folders(
        {
            "RUNTIME_DIRECTORY": str(tmp_path / "run"),
            "STATE_DIRECTORY": str(tmp_path / "state"),
            "CONFIGURATION_DIRECTORY": str(tmp_path / "etc"),
        }
    )
    for folder in (found.runtime, found.configuration):
        folder.mkdir()
    return found


def written(environ: dict[str, str], where: Folders) -> config.Config:
    """As the daemon reads it."""
    return config.load(server.write(environ, where, where.keys))


def test_without_variables_it_is_one_standin_that_others_can_reach(where: Folders) -> None:
    found = written({"CARLAD_ADVERTISE": "carla-server"}, where)
    assert (found.fleet.backend, found.fleet.size, found.fleet.ports) == ("standin", 1, (2000, 2007))
    assert found.fleet.advertise_host == "carla-server"
    assert found.remote.listen == ("tcp://0.0.0.0:7000",)
    assert found.remote.keys_dir == str(where.keys)
    assert found.daemon.endpoint == f"ipc://{where.socket}"


def test_where_the_image_has_carla_its_servers_are_carlas(where: Folders) -> None:
    fleet = written({"CARLA_ROOT": "/opt/carla", "CARLA_ARGS": "-nullrhi -benchmark"}, where).fleet
    assert (fleet.backend, fleet.carla_root) == ("binary", "/opt/carla")
    assert (fleet.rendering, fleet.extra_args) == ("none", ("-benchmark",))


def test_each_variable_reaches_its_key(where: Folders) -> None:
    environ = {
        "CARLA_PORT": "3000",
        "CARLAD_SERVERS": "3",
        "CARLAD_SPARES": "1",
        "CARLAD_PORT": "7100",
        "CARLAD_DRAIN_S": "25",
        "CARLAD_METRICS": "0.0.0.0:9095",
    }
    found = written(environ, where)
    assert (found.fleet.ports, found.fleet.size, found.fleet.spares) == ((3000, 3015), 3, 1)
    assert (found.remote.listen, found.daemon.drain_s) == (("tcp://0.0.0.0:7100",), 25.0)
    assert found.metrics.listen == "0.0.0.0:9095"


def test_sessions_are_opened_from_elsewhere_where_a_port_is_given(where: Folders) -> None:
    assert written({"CARLAD_SERVERS": "3"}, where).remote.session_ports == ()
    found = written({"CARLAD_SERVERS": "3", "CARLAD_SESSION_PORT": "7100"}, where)
    assert found.remote.session_ports == (7100, 7105)


def test_open_servers_keep_their_ports(where: Folders) -> None:
    fleet = written({"CARLAD_OPEN": "true"}, where).fleet
    assert (fleet.open, fleet.ports) == (True, (2000, 2003))


def test_a_mounted_configuration_goes_before_variables(where: Folders) -> None:
    (where.configuration / "carlad.toml").write_text(
        '[fleet]\nsize = 5\nports = [4000, 4099]\n[lease]\nquotas = { ann = 4, "b c" = 1 }\n'
        '[session.envs]\nmine = { env = "a.b:C", path = ["/x"] }\n'
    )
    found = written({"CARLAD_SERVERS": "2", "CARLAD_ADVERTISE": "node1"}, where)
    assert (found.fleet.size, found.fleet.ports, found.fleet.advertise_host) == (5, (4000, 4099), "node1")
    assert found.lease.quotas == {"ann": 4, "b c": 1}
    assert found.session.environments()["mine"].path == ("/x",)


def test_a_window_without_a_screen_is_refused(where: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="DISPLAY names no screen"):
        written({"CARLA_HEADLESS": "false"}, where)


def test_a_window_is_had_where_there_is_a_screen(where: Folders) -> None:
    assert written({"CARLA_HEADLESS": "false", "DISPLAY": ":0"}, where).fleet.rendering == "window"


def test_a_number_that_is_none_is_refused(where: Folders) -> None:
    with pytest.raises(ConfigError, match="CARLAD_SERVERS: 'two' is no number"):
        written({"CARLAD_SERVERS": "two"}, where)
