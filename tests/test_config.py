"""Configuration: strict, with defaults that work, and errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from carlad import config
from carlad.config import Config
from carlad.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
LISTEN = '[remote]\nlisten = ["tcp://*:7000"]\n'


def test_the_commented_example_is_exactly_the_defaults() -> None:
    assert config.decode((ROOT / "carlad.toml").read_text()) == Config()


def test_the_commented_example_names_every_key() -> None:
    text = (ROOT / "carlad.toml").read_text()
    for section in Config.__struct_fields__:
        keys = text.partition(f"[{section}]\n")[2].partition("\n[")[0]
        for key in getattr(Config(), section).__struct_fields__:
            assert f"\n{key} = " in f"\n{keys}", f"{section}.{key}"


def test_an_open_fleet_needs_no_port_to_spare() -> None:
    text = "[fleet]\nsize = 1\nports = [2000, 2003]\n"
    with pytest.raises(ConfigError, match="takes 2"):
        config.decode(text)
    assert config.decode(f"{text}open = true").fleet.open


def test_an_empty_file_is_a_fleet_of_two_stand_ins(tmp_path: Path) -> None:
    (tmp_path / "carlad.toml").touch()
    fleet = config.load(tmp_path / "carlad.toml", {}).fleet
    assert (fleet.size, fleet.backend) == (2, "standin")


def test_there_are_as_many_slots_as_external_servers() -> None:
    text = '[fleet]\nbackend = "external"\nservers = ["a:2000", "b:2000", "c:2000"]'
    assert config.decode(text).fleet.size == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[fleet\n", "not TOML"),
        ("[flet]\nsize = 1", "flet: no such key; did you mean fleet?"),
        ("[fleet]\nsise = 1", "fleet.sise: no such key; did you mean fleet.size?"),
        ("[lease]\nzzz = 1", "lease.zzz: no such key; known are ttl_s, ttl_max_s"),
        ('[fleet]\nsize = "2"', "fleet.size: expected `int`, got `str`"),
        ("[fleet]\nsize = -1", "fleet.size: expected `int` >= 0"),
        ("fleet = 3", "fleet: expected `object`, got `int`"),
        ('[fleet]\nbackend = "podman"', "fleet.backend: invalid enum value 'podman'"),
        ('[fleet]\nresolution = "big"', "fleet.resolution: expected `str` matching regex"),
        (
            '[session.envs]\nlane = { env = "lane:Lane", path = ["mine"] }',
            'session.envs.lane.path: write "mine" out, from / on',
        ),
        ("[fleet]\nports = [2000]", "fleet.ports: expected `array` of length 2"),
        ("[fleet]\nports = [2000, 70000]", "fleet.ports[1]: expected `int` <= 65535"),
        ("[fleet]\nports = [2000, 2010]", "2000 to 2010 holds 2 blocks of 4 ports; fleet.size, 2, takes 3"),
        ("[fleet]\nports = [3000, 2000]", "holds 0 blocks"),
        ("[fleet]\nspares = 3", "fleet.spares: 3 of 2 slots"),
        ('[fleet]\nbackend = "external"', 'fleet.servers: backend "external" needs host:port of each server'),
        ('[resources]\ncpus = "all"', 'resources.cpus: "all" is neither processors'),
        ('[fleet]\nmap = "Town01"\nmaps = ["Town02"]', "fleet.maps: fleet.map is given, too"),
        ('[fleet]\nservers = ["sim1"]', 'fleet.servers: "sim1" is not host:port'),
        ("[lease]\nttl_s = 0", "lease.ttl_s: expected `float` >= 0.01"),
        ("[probe]\nperiod_s = 1e-300", "probe.period_s: expected `float` >= 0.01"),
        ("[logs]\nfile_mib = inf", "logs.file_mib: expected `float` <= 1000000.0"),
        ('[daemon]\nlog_dir = "\\u0000"', "daemon.log_dir: '\\x00' has a line break or another control char"),
        ('[fleet]\nmaps = ["Town01", "a\\nb"]', "fleet.maps: 'a\\nb' has a line break"),
        ("[lease]\nttl_s = 9999", "lease.ttl_s: 9999.0 exceeds lease.ttl_max_s, 3600.0"),
        ('[remote]\nlisten = ["7000"]', "remote.listen: '7000' is not tcp://ADDRESS:PORT"),
        ('[remote]\nlisten = ["tcp://*:65535"]', "a port up to 65534"),
        ("[remote]\nsession_ports = [7100, 7199]", "remote.session_ports: nobody comes in by TCP"),
        (f"{LISTEN}session_ports = [7100, 7102]", "enough for 1 sessions of 2 ports; fleet.size, 2, needs 4"),
        (f"{LISTEN}session_ports = [7199, 7100]", "is enough for 0 sessions"),
        (f"{LISTEN}session_ports = [65520, 65535]", "65535 is above 65534"),
        (f"{LISTEN}session_ports = [2900, 3100]", "2900 to 3100 overlaps fleet.ports, 2000 to 2999"),
        (
            f"{LISTEN}session_ports = [7001, 7100]",
            "overlaps remote.listen, whose tcp://*:7000 takes 7000 and",
        ),
        (f"{LISTEN}session_ports = [7100]", "remote.session_ports: [7100] is not [first, last]"),
        ("[restart]\nbackoff_s = 99", "restart.backoff_s: exceeds restart.backoff_max_s"),
    ],
)
def test_a_bad_key_is_named_with_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        config.decode(text)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("tcp://0.0.0.0:5555", "TCP for others is remote.listen"),
        ("udp://0.0.0.0:5555", "is not ipc://PATH"),
        ("/" + "x" * 100, "101 bytes; a socket's path may have 99"),
    ],
)
def test_an_endpoint_that_cannot_be_bound_is_refused(endpoint: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "carlad.toml"
    file.write_text(f'[daemon]\nendpoint = "{endpoint}"')
    with pytest.raises(ConfigError, match=r"daemon\.endpoint") as error:
        config.load(file, {})
    assert says in str(error.value)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "carlad.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot read configuration .*carlad\.toml"):
        config.load(file, {})


def test_under_systemd_its_directories_are_taken() -> None:
    environ = {"RUNTIME_DIRECTORY": "/run/carlad", "STATE_DIRECTORY": "/s", "LOGS_DIRECTORY": "/l"}
    daemon = config.load(None, {**environ, "XDG_RUNTIME_DIR": "/run/user/0"}).daemon
    assert (daemon.endpoint, daemon.state_dir, daemon.log_dir) == (
        "ipc:///run/carlad/control.sock",
        "/s",
        "/l",
    )


def test_a_user_s_daemon_lives_in_the_user_s_directories() -> None:
    daemon = config.load(None, {"XDG_RUNTIME_DIR": "/run/user/7", "XDG_STATE_HOME": "/home/ann/state"}).daemon
    assert daemon.endpoint == "ipc:///run/user/7/carlad/control.sock"
    assert (daemon.state_dir, daemon.log_dir) == ("/home/ann/state/carlad", "/home/ann/state/carlad/logs")


def test_logs_lie_in_the_state_directory_that_is_given(tmp_path: Path) -> None:
    file = tmp_path / "carlad.toml"
    file.write_text('[daemon]\nstate_dir = "/data/carlad"\n')
    assert config.load(file, {"HOME": "/home/ann"}).daemon.log_dir == "/data/carlad/logs"
    assert config.load(file, {"LOGS_DIRECTORY": "/l"}).daemon.log_dir == "/l"


def test_a_value_that_no_key_can_use_is_one_problem() -> None:
    assert config.problems("[probe]\nperiod_s = nan") == ["probe.period_s: nan is not a number"]
