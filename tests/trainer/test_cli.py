"""The commands of `python -m trainer` that need no training."""

from __future__ import annotations

import json
import logging
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import carla
import pytest

from carlad.session.environment import Server
from trainer.__main__ import main
from trainer.check import check
from trainer.config import Config, decode


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    """What a command sets in its process is this one's again afterwards."""
    numbers, log = (signal.SIGINT, signal.SIGTERM), logging.getLogger("carlad")
    before = [signal.getsignal(number) for number in numbers], log.handlers[:], log.level, log.propagate
    yield
    handlers, log.handlers[:], level, log.propagate = before
    log.setLevel(level)
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out + err


def on(server: Server, *more: str) -> Config:
    return decode({}, [f"servers.addresses=['{server.host}:{server.rpc_port}']", "servers.sessions=1", *more])


@pytest.mark.parametrize("command", ["", "train", "evaluate", "export", "check"])
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"] if command else ["--help"])
    text = capsys.readouterr().out
    assert left.value.code == 0
    assert re.search(rf"^examples:\n  python -m trainer {command}", text, re.MULTILINE)
    assert "Exit codes" in text


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["evaluate"], 2, "cannot evaluate: name a checkpoint, or give --policy"),
        (["evaluate", "somewhere", "--policy", "random"], 2, "cannot evaluate: name a checkpoint, or give"),
        (["evaluate", "/nowhere.pt"], 1, "cannot read checkpoint /nowhere.pt: "),
        (["evaluate", "--policy", "random", "--episodes", "-3"], 2, "cannot drive -3 episodes"),
        (["evaluate", "--policy", "random", "--routes", "/no.toml"], 2, "cannot read routes from /no.toml"),
        (["export", "/nowhere.pt"], 1, "cannot read checkpoint /nowhere.pt: "),
        (["check", "--config", "/nowhere.toml"], 2, "cannot read configuration /nowhere.toml: no such file"),
        (["check", "-o", "ppo.clpi=1"], 2, "ppo.clpi: no such key; did you mean ppo.clip?"),
        (["train", "--num-episodes", "-1"], 2, "train.episodes_max: expected `int` >= 0"),
        (["train", "-o", "train.device=cuda:99", "--out", "unused"], 2, "cannot compute on 'cuda:99'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: list[str],
    code: int,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    got, text = said(capsys, *arguments)
    assert (got, text.splitlines()[-1].startswith("trainer: ")) == (code, True)
    assert reason in text
    assert not (tmp_path / "unused").exists()


@pytest.mark.usefixtures("clean")
def test_a_machine_where_a_training_can_start_is_found_fit(server: Server, tmp_path: Path) -> None:
    findings = {finding.what: finding for finding in check(on(server), tmp_path)}
    assert all(finding.ok for finding in findings.values()), findings
    assert {"torch", "device", "output data/logs", "server", "observation", "steps"} <= findings.keys()


@pytest.mark.usefixtures("clean")
def test_what_keeps_a_training_from_starting_comes_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = decode(
        {"servers": {"endpoint": f"ipc://{tmp_path}/nowhere.sock"}},
        ["train.device=cuda:99", f"output.logs={tmp_path}/file/logs"],
    )
    failed = {finding.what: finding for finding in check(config, tmp_path) if not finding.ok}
    assert failed.keys() == {"device", f"output {tmp_path}/file/logs", "server"}
    assert "-o train.device=cpu" in failed["device"].advice
    assert "start the daemon" in failed["server"].advice
    assert "nowhere.sock" in failed["server"].found


def some_way(server: Server, spawn_point: int) -> list[list[float]]:
    """Two points of the map, 40 m apart along a lane."""
    town = carla.Client(server.host, server.rpc_port).get_world().get_map()
    start = town.get_waypoint(town.get_spawn_points()[spawn_point].location)
    places = [start.transform.location, start.next(40.0)[0].transform.location]
    return [[round(place.x, 2), round(place.y, 2)] for place in places]


@pytest.mark.usefixtures("clean")
def test_each_route_of_a_file_is_driven_once_and_the_same_each_time(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    routes = {"here": some_way(server, 3), "there": some_way(server, 40)}
    text = "".join(f'[[route]]\nid = "{name}"\npoints = {points}\n' for name, points in routes.items())
    Path("routes.toml").write_text(text)
    address = f"servers.addresses=['{server.host}:{server.rpc_port}']"
    common = ["evaluate", "--policy", "straight", "--routes", "routes.toml", "-o", address]
    common += ["-o", "servers.sessions=1", "-o", "env.blocked_after_s=1"]
    for name in ("one.json", "two.json"):
        code, text = said(capsys, *common, "--json", name)
        assert code == 0, text
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()
    episodes = json.loads(Path("one.json").read_text())["episodes"]
    assert [episode["route"] for episode in episodes] == list(routes)
