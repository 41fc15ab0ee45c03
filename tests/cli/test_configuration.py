"""`carlactl config`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from carlad import cli, config

BAD = """\
[fleet]
sise = 2
ports = [2000,
  70000]

[lese]
ttl_s = 3
"""


def test_everything_that_is_wrong_with_a_configuration_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "carlad.toml"
    file.write_text(BAD)
    assert cli.carlactl(["config", "check", str(file)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{file}:2: fleet.sise: no such key; did you mean fleet.size?",
        f"{file}:3: fleet.ports[1]: expected `int` <= 65535",
        f"{file}:6: lese: no such key; did you mean lease?",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[fleet", ": not TOML: "),
        ("[fleet]\nspares = 3", ":2: fleet.spares: 3 of 2 slots"),
        ('[daemon]\nstate_dir = ""\nendpoint = "http://x"', "line 3: daemon.endpoint: "),
    ],
)
def test_what_no_key_alone_is_to_blame_for_is_told_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    file = tmp_path / "carlad.toml"
    file.write_text(text)
    assert cli.carlactl(["config", "check", str(file)]) == 2
    assert says in capsys.readouterr().err


def test_a_configuration_is_shown_with_the_origin_of_every_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "carlad.toml"
    file.write_text("[fleet]\n\nsize = 1\nservers = []\n")
    assert cli.carlactl(["config", "check", str(file)]) == 0
    assert cli.carlactl(["config", "show", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert shown["fleet"]["size"] == {"value": 1, "origin": f"{file}:3"}
    assert shown["fleet"]["servers"]["origin"] == f"{file}:4"
    assert shown["lease"]["ttl_s"] == {"value": 30.0, "origin": "default"}
    assert shown["daemon"]["endpoint"]["origin"] == "environment"
    assert cli.carlactl(["config", "show", str(file)]) == 0
    as_toml = capsys.readouterr().out
    assert config.resolve(config.decode(as_toml), {}) == config.load(file)


def test_a_key_that_follows_from_others_is_not_said_to_be_the_environment_s(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "carlad.toml"
    file.write_text('[daemon]\nstate_dir = "/data/carlad"\n')
    assert cli.carlactl(["config", "show", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["daemon"]
    assert shown["log_dir"] == {"value": "/data/carlad/logs", "origin": "other keys"}
    assert shown["state_dir"]["origin"] == f"{file}:2"
