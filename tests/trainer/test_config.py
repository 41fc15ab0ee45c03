from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from carlad.errors import ConfigError
from trainer.config import Config, decode, flat, load, override


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").touch()
    assert load(str(tmp_path / "empty.toml"), environ={}) == Config()


@pytest.mark.parametrize("name", ["training", "demo"])
def test_the_packaged_configurations_are_found_by_name(name: str) -> None:
    assert load(name, environ={}).train.total_steps > 0


def test_overrides_win_and_are_toml() -> None:
    config = decode(
        {"ppo": {"clip": 0.3}},
        [
            "ppo.clip=0.1",
            "ppo.learning_rate=3e-4",
            "policy.hidden=[8]",
            "servers.map=Town02",
            "train.seed = 9",
        ],
    )
    assert (config.ppo.clip, config.ppo.learning_rate, config.policy.hidden) == (0.1, 3e-4, (8,))
    assert (config.servers.map, config.train.seed) == ("Town02", 9)


@pytest.mark.parametrize(
    ("table", "overrides", "reason"),
    [
        ({"ppo": {"learning_rat": 1}}, [], r"ppo.learning_rat: no such key; did you mean ppo.learn"),
        ({"env": {"reward": {"progres": 1}}}, [], r"did you mean env.reward.progress\?"),
        ({"pop": {}}, [], r"pop: no such key; did you mean ppo\?"),
        (
            {"xyz": 1},
            [],
            "xyz: no such key; known are train, servers, env, curriculum, policy, algorithm, ppo, sac",
        ),
        ({}, ["ppo.lr=1"], "ppo.lr: no such key"),
        ({}, ["ppo"], "cannot use override 'ppo': write section.key=value"),
        ({"train": {"seed": 1}}, ["train.seed.x=1"], "train.seed.x=1'?: seed is no section"),
        ({"ppo": {"clip": "high"}}, [], "^ppo.clip: expected `float`, got `str`"),
        ({"ppo": {"clip": 2.0}}, [], "^ppo.clip: expected `float` <= 1"),
        ({"train": {"total_steps": -1}}, [], "^train.total_steps: expected `int` >= 0"),
        ({"env": {"delta_s": 0.5}}, [], "^env.delta_s: "),
        ({"env": {"route_max_m": 10.0}}, [], "^env: route_max_m 10 is below route_min_m 60"),
        ({"servers": {"addresses": ["h:1"]}}, [], "servers.addresses: 1 given, but servers.sessions is 2"),
        ({"servers": {"addresses": ["nowhere", "h:1"]}}, [], r"^servers.addresses\[0\]: "),
        ({"ppo": {"batch_steps": 8}}, [], "^ppo.minibatch_steps: 256 is more than ppo.batch_steps, 8"),
        ({"ppo": 3}, [], "^ppo: expected `object`"),
    ],
)
def test_what_cannot_be_used_is_named(table: dict[str, Any], overrides: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        decode(table, overrides)


@pytest.mark.parametrize("content", ["[train", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError, match=f"cannot (read|use) configuration {path}"):
        load(str(path))


def test_a_name_that_is_nothing_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match="no such file; packaged are demo, training"):
        load("trainning")


def test_carla_host_and_port_name_a_bare_server() -> None:
    config = decode({}, environ={"CARLA_HOST": "gpu1", "CARLA_PORT": "2100"})
    assert (config.servers.addresses, config.servers.sessions) == (("gpu1:2100",), 1)
    given = decode({"servers": {"addresses": ["a:1", "b:2"], "sessions": 2}}, environ={"CARLA_PORT": "2100"})
    assert given.servers.addresses == ("a:1", "b:2")


def test_an_override_of_a_whole_configuration_keeps_the_rest() -> None:
    config = decode({"ppo": {"clip": 0.3}}, ["train.seconds_max=5"])
    changed = override(config, ["ppo.gamma=0.5"])
    assert {key for key in flat(config) if flat(config)[key] != flat(changed)[key]} == {"ppo.gamma"}
