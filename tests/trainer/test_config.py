from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from carlad import toml
from carlad.errors import ConfigError
from trainer.composition import keys, merged, overridden
from trainer.config import (
    Config,
    decode,
    digest,
    flat,
    get_training_parameter,
    load,
    load_training_config,
    override,
)


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").touch()
    assert load(str(tmp_path / "empty.toml"), environ={}) == Config()


@pytest.mark.parametrize("name", ["training", "demo", "environment", "docker"])
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
        ({"env": {"reward": {"weight": 1}}}, [], r"did you mean env.reward.weights\?"),
        ({"pop": {}}, [], r"pop: no such key; did you mean ppo\?"),
        (
            {"xyz": 1},
            [],
            "xyz: no such key; known are train, output, record, servers, env, curriculum, policy, algorithm",
        ),
        ({}, ["ppo.lrr=1"], "ppo.lrr: no such key"),
        ({}, ["ppo"], "cannot use override 'ppo': write section.key=value"),
        ({}, ["=1"], "cannot use override '=1': write section.key=value"),
        ({"train": {"seed": 1}}, ["train.seed.x=1"], "train.seed.x=1'?: seed is no section"),
        ({}, ["nosuch=1"], "nosuch: no such key"),
        (
            {"curriculum": {"stages": [{"nam": "a"}]}},
            [],
            r"stages\[0\].nam: .*did you mean .*stages\[0\].name\?",
        ),
        ({"ppo": {"clip": "high"}}, [], "^ppo.clip: expected `float`, got `str`"),
        ({"ppo": {"clip": 2.0}}, [], "^ppo.clip: expected `float` <= 1"),
        ({"train": {"total_steps": -1}}, [], "^train.total_steps: expected `int` >= 0"),
        ({"env": {"delta_s": 0.5}}, [], "^env.delta_s: "),
        ({"env": {"route_max_m": 10.0}}, [], "^env: route_max_m 10 is below route_min_m 60"),
        ({"servers": {"addresses": ["h:1"]}}, [], "servers.addresses: 1 given, but servers.sessions is 2"),
        ({"servers": {"addresses": ["nowhere", "h:1"]}}, [], r"^servers.addresses\[0\]: "),
        ({"ppo": {"batch_steps": 8}}, [], "^ppo.minibatch_steps: 256 is more than ppo.batch_steps, 8"),
        ({"ppo": 3}, [], "^ppo: expected `object`"),
        ({"train": {"seed": -1}}, [], "^train.seed: expected `int` >= 0"),
        ({"ppo": {"entropy_weight": float("nan")}}, [], "^ppo.entropy_weight: nan is not a number"),
        ({}, ["env.observe.camera.x_m=nan"], "env.observe.camera.x_m: nan is not a number"),
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
    with pytest.raises(
        ConfigError, match="packaged are demo, docker, environment, route-state, route-traffic, training"
    ):
        load("trainning")


@pytest.mark.parametrize(
    ("servers", "environ", "addresses"),
    [
        ({}, {"CARLA_HOST": "gpu1", "CARLA_PORT": "2100"}, ("gpu1:2100",)),
        ({"sessions": 4}, {"CARLA_PORT": "2100"}, ("127.0.0.1:2100",)),
        ({}, {"CARLA_HOST": "gpu1"}, ("gpu1:2000",)),
        ({"addresses": ["a:1", "b:2"], "sessions": 2}, {"CARLA_PORT": "2100"}, ("a:1", "b:2")),
        ({"endpoint": "ipc:///run/c.sock"}, {"CARLA_PORT": "2100"}, ()),
        ({}, {"CARLA_HOST": ""}, ()),
    ],
)
def test_carla_host_and_port_name_a_bare_server_where_nothing_else_does(
    servers: dict[str, Any], environ: dict[str, str], addresses: tuple[str, ...]
) -> None:
    config = decode({"servers": servers}, environ=environ)
    assert config.servers.addresses == addresses
    assert config.servers.sessions == len(addresses) or not addresses


@pytest.mark.parametrize("port", ["abc", "0", "70000", "-1"])
def test_a_port_that_is_none_is_named(port: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot use CARLA_PORT='{port}': a port is a number"):
        decode({}, environ={"CARLA_PORT": port})


def test_an_override_of_a_whole_configuration_keeps_the_rest() -> None:
    config = decode({"ppo": {"clip": 0.3}}, ["train.seconds_max=5"])
    changed = override(config, ["ppo.gamma=0.5"])
    assert {key for key in flat(config) if flat(config)[key] != flat(changed)[key]} == {"ppo.gamma"}


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)


def test_later_files_win_and_keep_what_they_do_not_name(tmp_path: Path) -> None:
    write(tmp_path, one="[ppo]\nclip = 0.3\ngamma = 0.5\n", two="[ppo]\nclip = 0.1\n[train]\nseed = 9\n")
    both = [str(tmp_path / "one.toml"), str(tmp_path / "two.toml")]
    config = load(*both, overrides=["ppo.epochs=2"], environ={})
    assert (config.ppo.clip, config.ppo.gamma, config.train.seed, config.ppo.epochs) == (0.1, 0.5, 9, 2)
    assert load(*reversed(both), environ={}).ppo.clip == 0.3


def test_a_file_is_on_top_of_what_it_includes(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path, top='include = ["training", "deep/mine.toml"]\n[ppo]\nepochs = 3\n')
    write(
        tmp_path / "deep",
        mine='include = ["base.toml"]\n[ppo]\nclip = 0.1\n',
        base="[ppo]\nclip = 0.3\nepochs = 1",
    )
    ppo = load(str(tmp_path / "top.toml"), environ={}).ppo
    assert (ppo.clip, ppo.epochs) == (0.1, 3)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (
            {"top": "[train]\n\n[ppo]\nlearning_rat = 1\n"},
            r"top.toml, line 4: ppo.learning_rat: .*learning_rate\?",
        ),
        (
            {"top": 'include = ["low.toml"]', "low": "[pp]\nclip = 1"},
            r"low.toml, line 1: pp: .*did you mean ppo\?",
        ),
        ({"top": 'include = ["top.toml"]'}, "top.toml: it includes itself, by .*top.toml"),
        (
            {"top": 'include = ["low.toml"]', "low": 'include = ["top.toml"]'},
            "it includes itself, by .*low.toml",
        ),
        ({"top": 'include = ["none.toml"]'}, "none.toml: no such file; packaged are"),
        ({"top": 'include = "low"'}, "top.toml: include: expected `array`"),
        ({"top": "[[curriculum.stages]]\nnam = 'a'\n"}, r"top.toml, line 1: curriculum.stages\[0\].nam"),
    ],
)
def test_what_is_wrong_with_files_is_told_with_file_and_line(
    tmp_path: Path, files: dict[str, str], reason: str
) -> None:
    write(tmp_path, **files)
    with pytest.raises(ConfigError, match=reason):
        load(str(tmp_path / "top.toml"), environ={})


def test_a_key_may_go_without_its_section_and_by_its_alias() -> None:
    config = decode({}, ["lr=3e-4", "ppo.clip=0.1", "sessions=3", "hidden=[8]"])
    assert (config.ppo.learning_rate, config.servers.sessions, config.policy.hidden) == (3e-4, 3, (8,))
    assert decode({}, ["ppo.lr=3e-4"]).ppo.learning_rate == 3e-4


class One(msgspec.Struct, frozen=True):
    rate: float = 1.0
    only: int = 1


class Two(msgspec.Struct):
    one: One = One()
    other: One | None = None


def test_a_key_that_several_sections_have_needs_its_section() -> None:
    assert list(keys(Two)) == ["one", "one.rate", "one.only", "other", "other.rate", "other.only"]
    with pytest.raises(ConfigError, match=r"'rate=2': it could be any of one.rate, other.rate"):
        overridden({}, ["rate=2"], Two)
    assert overridden({}, ["rate=2"], Two, "one") == {"one": {"rate": 2}}
    assert overridden({}, ["other.rate=2"], Two) == {"other": {"rate": 2}}


def test_scripts_get_parameters_by_name() -> None:
    config = load_training_config(overrides=["ppo.lr=0.5", "env.observe.truth_actors=2"])
    assert get_training_parameter("learning_rate", config) == 0.5
    assert get_training_parameter("learning_rate", override(config, ["algorithm=sac", "sac.tau=1"])) == 3e-4
    assert get_training_parameter("ppo.clip") == load("training", environ={}).ppo.clip
    assert get_training_parameter("env.observe.truth_actors", config) == 2
    with pytest.raises(
        ConfigError, match=r"cannot get parameter 'ppo.learnin': no such key; did you mean ppo.lea"
    ):
        get_training_parameter("ppo.learnin")


def test_the_resolved_configuration_as_toml_is_the_same_configuration(tmp_path: Path) -> None:
    stages = [{"name": 'a "b"', "env": {"route_max_m": 90.0, "reward": {"weights": {"progress": 1.0}}}}]
    config = decode({"curriculum": {"stages": stages}, "policy": {"hidden": []}}, ["servers.map=Stadt ü"])
    write(tmp_path, again=toml.dumps(msgspec.to_builtins(config)))
    assert load(str(tmp_path / "again.toml"), environ={}) == config


def test_the_digest_is_of_what_decides_the_learning() -> None:
    assert digest(decode({"ppo": {"clip": 0.1}})) != digest(Config())
    assert digest(decode({"train": {"seed": 5}, "servers": {"sessions": 7}})) == digest(Config())


def test_merging_replaces_values_and_keeps_what_is_beside_them() -> None:
    below = {"a": 1, "b": {"c": 2, "d": [1]}}
    assert merged(below, {"b": {"d": [2], "e": 3}, "a": {"x": 1}}) == {
        "a": {"x": 1},
        "b": {"c": 2, "d": [2], "e": 3},
    }
    assert below == {"a": 1, "b": {"c": 2, "d": [1]}}
