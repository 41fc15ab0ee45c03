"""Where a training in a container finds its servers, with carlad and without."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from carlad.errors import ConfigError
from carlad.image import keys
from carlad.image.folders import Folders
from carlad.image.trainer import command, environment, servers
from carlad.keys import as_hex, read_pair, read_public


@pytest.fixture
def where(tmp_path: Path) -> Folders:
    found = Folders(tmp_path / "run", tmp_path / "state", tmp_path / "etc")
    found.runtime.mkdir()
    return found


@pytest.fixture
def daemon_key(where: Folders) -> str:
    """Keys are there, as a daemon makes them at its first start."""
    keys.of_daemon(where.keys, where.client, where.runtime)
    return as_hex(read_public(where.keys / "server.key"))


def test_with_a_daemons_keys_servers_are_leased_at_carla_host(where: Folders, daemon_key: str) -> None:
    chosen = servers({}, where)
    assert chosen.endpoint == f"tcp://{daemon_key}@carla-server:7000"
    assert read_pair(Path(chosen.variables["CARLAD_KEY"])).public == read_public(where.client / "trainer.key")
    chosen = servers({"CARLA_HOST": "gpu0, gpu1", "CARLAD_PORT": "7100", "CARLA_PORT": "2000"}, where)
    assert chosen.endpoint == f"tcp://{daemon_key}@gpu0:7100,tcp://{daemon_key}@gpu1:7100"


def test_without_keys_carla_host_and_port_are_a_bare_server(where: Folders) -> None:
    assert servers({}, where).address == ("carla-server", 2000)
    chosen = servers({"CARLA_HOST": "gpu0", "CARLA_PORT": "3000"}, where)
    assert chosen.address == ("gpu0", 3000)
    assert chosen.variables == {"CARLA_HOST": "gpu0", "CARLA_PORT": "3000"}


def test_several_hosts_without_keys_are_refused(where: Folders) -> None:
    with pytest.raises(ConfigError, match="2 hosts need a carlad on each"):
        servers({"CARLA_HOST": "gpu0,gpu1"}, where)


@pytest.mark.usefixtures("daemon_key")
def test_keys_can_be_passed_by(where: Folders) -> None:
    assert servers({"CARLAD_BYPASS": "true", "CARLA_HOST": "gpu0"}, where).address == ("gpu0", 2000)


@pytest.mark.usefixtures("daemon_key")
def test_a_server_in_the_trainings_own_container_goes_first(where: Folders) -> None:
    chosen = servers({"START_CARLA_SERVER": "true", "CARLA_HOST": "gpu0"}, where)
    assert (chosen.is_own, chosen.endpoint, chosen.address) == (True, f"ipc://{where.socket}", None)


def test_an_endpoint_that_is_given_is_taken(where: Folders) -> None:
    chosen = servers({"CARLAD_ENDPOINT": "/run/elsewhere.sock", "CARLA_HOST": "gpu0"}, where)
    assert chosen.endpoint == "/run/elsewhere.sock"


@pytest.mark.usefixtures("daemon_key")
def test_a_trainer_that_leases_is_told_of_no_bare_server(where: Folders) -> None:
    environ = {"CARLA_HOST": "gpu0", "CARLA_PORT": "2000", "HOME": "/home/carla"}
    told = environment(environ, servers(environ, where))
    assert "CARLA_HOST" not in told
    assert "CARLA_PORT" not in told
    assert told["CARLAD_ENDPOINT"].endswith("@gpu0:7000")
    assert told["HOME"] == "/home/carla"


def test_arguments_go_before_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = [sys.executable, "-m", "trainer"]
    assert command([], {}) == [*trainer, "train", "--config", "training"]
    environ = {"TRAIN_CONFIG": "demo", "TRAIN_ARGS": "-o train.total_steps=10"}
    assert command([], environ) == [*trainer, "train", "--config", "demo", "-o", "train.total_steps=10"]
    assert command(["train", "--resume", "x"], environ) == [*trainer, "train", "--resume", "x"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.toml").touch()
    assert command([], {"TRAIN_CONFIG": "demo"})[-1] == "configs/demo.toml"


def test_a_run_with_a_name_goes_on_where_it_was_saved_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = ["--out", "data/runs/first"]
    assert command([], {"TRAIN_RUN": "first"})[-2:] == out
    (tmp_path / "data/runs/first/checkpoints").mkdir(parents=True)
    (tmp_path / "data/runs/first/checkpoints/checkpoint.pt").touch()
    assert command([], {"TRAIN_RUN": "first"})[-4:] == [*out, "--resume", "data/runs/first"]
    for name in ("../first", "/etc", ".", "a/b"):
        with pytest.raises(ConfigError, match="TRAIN_RUN"):
            command([], {"TRAIN_RUN": name})


def test_keys_are_made_once_and_the_clients_folder_has_no_secret_of_the_daemon(where: Folders) -> None:
    first = keys.of_daemon(where.keys, where.client, where.runtime)
    before = read_pair(where.keys / "server.key_secret")
    assert keys.of_daemon(where.keys, where.client, where.runtime) == first == where.keys
    assert read_pair(where.keys / "server.key_secret") == before
    assert sorted(path.name for path in where.client.iterdir()) == [
        "server.key",
        "trainer.key",
        "trainer.key_secret",
    ]
    assert (where.keys / "clients" / "trainer.key").read_text() == (where.client / "trainer.key").read_text()


def test_keys_that_were_half_made_are_made_anew(where: Folders) -> None:
    where.client.mkdir(parents=True)
    (where.client / "trainer.key_secret").touch()
    keys.of_daemon(where.keys, where.client, where.runtime)
    read_pair(where.client / "trainer.key_secret")


def test_a_secret_that_a_group_may_read_is_copied_for_us_alone(where: Folders) -> None:
    """As of a cluster's Secret: carlad refuses such a file, and nobody can change its mode."""
    keys.of_daemon(where.keys, where.client, where.runtime)
    for secret in (*where.keys.glob("*secret"), *where.client.glob("*secret")):
        secret.chmod(0o440)
    taken = keys.of_daemon(where.keys, where.client, where.runtime)
    assert taken == where.runtime / "keys"
    assert read_pair(taken / "server.key_secret").public == read_public(where.keys / "server.key")
    assert (taken / "clients" / "trainer.key").exists()
    found = keys.of_client(where.client, where.runtime)
    assert found is not None
    assert stat.S_IMODE(os.stat(found[0]).st_mode) == 0o600
