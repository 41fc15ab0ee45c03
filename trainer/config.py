"""A training's configuration: strict TOML into frozen structs, and `key=value` overrides."""

from __future__ import annotations

import difflib
import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from carlad import toml
from carlad.errors import ConfigError
from trainer.composition import compose, keys, overridden, resolved
from trainer.curriculum import CurriculumConfig, episode_options
from trainer.env.config import RouteConfig

_PACKAGED = Path(__file__).parent / "configs"
MAY_DIFFER = ("train.", "servers.", "output.", "record.")  # sections that do not change what is learned

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]
EncoderKind = Literal["mlp", "nature", "impala", "points"]
Address = Annotated[str, msgspec.Meta(pattern=r"^[^:\s]+:[0-9]{1,5}$")]


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long, and what is kept. May differ when a training is resumed."""

    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 1
    total_steps: Annotated[int, msgspec.Meta(ge=0)] = 1_000_000  # environment steps of all environments
    episodes_max: Annotated[int, msgspec.Meta(ge=0)] = 0  # of all environments; 0: as many as the steps take
    seconds_max: Annotated[float, msgspec.Meta(gt=0)] = math.inf  # of training, evaluations not counted
    eval_episodes: Annotated[int, msgspec.Meta(ge=0)] = 50  # before and after the training; 0: none
    checkpoint_every_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0  # what a crash of the trainer costs
    picture_every_s: Annotated[float, msgspec.Meta(ge=0)] = 300.0  # an episode from above; 0: none
    checkpoints_kept: Count = 3  # the newest; the best one is kept besides
    torch_threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1  # small networks gain nothing from more
    checkpoint_every_updates: Count = 10  # in lockstep instead, where all environments begin anew then
    device: str = "auto"  # cpu, cuda, cuda:N; auto: a GPU where there is one
    compile: bool = False  # the networks by torch.compile: minutes at the start, worth it for images on a GPU
    bf16: bool = False  # encoders compute in bfloat16, for images on a GPU
    collect: Literal["elastic", "lockstep"] = "elastic"  # lockstep: exactly repeatable, but slow


class OutputConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where outputs go, each run to a folder of its own there; `--out` puts a run's together instead."""

    logs: str = "data/logs"  # what a training says, its figures and its resolved configuration
    sensor_capture: str = "data/sensor_capture"
    tensorboard_logs: str = "data/tensorboard_logs"
    model_checkpoints: str = "models/model_checkpoints"


class RecordConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Recordings of episodes (trainer.recording), in output.sensor_capture."""

    every_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # between two recorded episodes' beginnings; 0: none
    every_steps: Count = 1  # of an episode; its last step is recorded in any case
    # What a viewer would see, for replays; "camera", "lidar" and "bev" are the raw sensors.
    channels: tuple[str, ...] = ("map", "ego", "control", "actors", "lights", "route", "reward", "scores")
    episodes_max: Count = 100
    megabytes_max: Annotated[float, msgspec.Meta(gt=0)] = 2000.0  # looked at before each episode


class ServersConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the environments' servers come from. May differ when a training is resumed."""

    sessions: Annotated[int, msgspec.Meta(ge=1, le=256)] = 2  # environments, each on a server of its own
    env: str = "route"  # RouteEnv's name in the daemon's session.envs
    endpoint: str = ""  # of one daemon or several, by commas; empty: CARLAD_ENDPOINT, else the default socket
    map: str = ""  # leased servers run it; empty: any
    wait_s: Annotated[float, msgspec.Meta(ge=0)] = 60.0  # for a first server, while others hold them all
    addresses: tuple[Address, ...] = ()  # servers without a daemon, one for each session


class PolicyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The networks' shape, what they see, and the first exploration."""

    distribution: Literal["gaussian", "squashed", "beta"] = "gaussian"  # of actions in a Box
    hidden: tuple[Count, ...] = (64, 64)  # after the encoders; actor and critic each, unless shared
    encoders: dict[str, EncoderKind] = {}  # by observation key; else by its dimensions: mlp, points, nature
    activation: Literal["tanh", "relu"] = "tanh"  # of the hidden layers
    features: Count = 256  # that an encoder of images or points gives
    shared: bool = False  # one network for actor and critic, but for their last layers
    actor: tuple[str, ...] = ()  # the observation keys that it sees; empty: all
    critic: tuple[str, ...] = ()
    normalise: bool = True  # vectors, by their running mean and variance
    normalise_returns: bool = False  # what the critic predicts, for rewards of an unknown scale
    log_std: Annotated[float, msgspec.Meta(ge=-4, le=1)] = -0.5  # at the start, of a gaussian over [-1, 1]


class PPOConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """PPO's parameters by the paper's names."""

    learning_rate: Annotated[float, msgspec.Meta(ge=0, le=10)] = 1e-3
    batch_steps: Count = 1024  # environment steps between two updates, of all environments together
    minibatch_steps: Count = 256
    epochs: Count = 8
    gamma: Share = 0.985  # half a value's weight is within 46 steps, 4.6 s: about what being blocked takes
    gae_lambda: Share = 0.95
    clip: Share = 0.2
    entropy_weight: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    value_weight: Annotated[float, msgspec.Meta(ge=0)] = 0.5
    gradient_norm_max: Annotated[float, msgspec.Meta(gt=0)] = 0.5
    kl_max: Annotated[float, msgspec.Meta(gt=0)] = 0.03  # an update's epochs end early beyond it


class SACConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """SAC's parameters by the paper's names."""

    learning_rate: Annotated[float, msgspec.Meta(ge=0, le=10)] = 3e-4
    buffer_steps: Count = 200_000  # the newest steps, from which minibatches are drawn
    learn_after_steps: Count = 2_000
    collect_steps: Count = 64  # environment steps between two rounds of gradient steps
    updates_per_step: Annotated[float, msgspec.Meta(gt=0)] = 0.5  # gradient steps
    minibatch_steps: Count = 256
    gamma: Share = 0.97
    tau: Share = 0.005  # how far the target critics go towards the critics with each gradient step
    alpha: Annotated[float, msgspec.Meta(gt=0)] = 0.1  # the entropy's weight at the start
    entropy_target: float | None = None  # in nats; none: -1 for each part of the action
    gradient_norm_max: Annotated[float, msgspec.Meta(gt=0)] = 10.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole configuration; an empty file is one that works."""

    train: TrainConfig = TrainConfig()
    output: OutputConfig = OutputConfig()
    record: RecordConfig = RecordConfig()
    servers: ServersConfig = ServersConfig()
    env: RouteConfig = RouteConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    policy: PolicyConfig = PolicyConfig()
    algorithm: Literal["ppo", "sac"] = "ppo"
    ppo: PPOConfig = PPOConfig()
    sac: SACConfig = SACConfig()


def load(*names: str, overrides: Sequence[str] = (), environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration in the files `names`, later ones on top, with `key=value` overrides above all.

    A name is a file or a packaged one, such as "training". CARLA_HOST and CARLA_PORT name the server where
    the files name none. Raises ConfigError with file, line and key.
    """
    return decode(compose(names, _PACKAGED, Config), overrides, environ)


def load_training_config(*names: str, overrides: Sequence[str] = ()) -> Config:
    """For scripts: what `python -m trainer train` takes with these --config and -o; "training" for none."""
    return load(*(names or ("training",)), overrides=overrides)


def get_training_parameter(name: str, config: Config | None = None) -> Any:
    """For scripts: the value of a key, such as "ppo.clip" or "learning_rate", of `load_training_config()`.

    Of several sections that have such a key the chosen algorithm's is meant. Raises ConfigError
    for a key that there is not.
    """
    value: Any = config or load_training_config()
    try:
        key = resolved(name, Config, value.algorithm)
        known = list(keys(Config))
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            raise ConfigError(f"no such key{f'; did you mean {near[0]}?' if near else ''}")
    except ConfigError as error:
        raise ConfigError(f"cannot get parameter {name!r}: {error}") from error
    for part in key.split("."):
        value = getattr(value, part)
    return value


def override(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration with `key=value` overrides. Raises ConfigError naming the key."""
    return decode(msgspec.to_builtins(config), overrides)


def decode(
    table: dict[str, Any], overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Config:
    """A parsed table with overrides as a Config. Raises ConfigError naming the key."""
    table = overridden(table, overrides, Config, table.get("algorithm", Config().algorithm))
    config = toml.decode(_with_server(table, environ or {}), Config)
    _check(config)
    return config


def flat(config: Config) -> dict[str, Any]:
    """The configuration as {"section.key": value}, for logs and for comparing."""
    return dict(_flatten(msgspec.to_builtins(config), ""))


def digest(config: Config) -> str:
    """A short hash of all that decides what is learned: equal for configurations of which one can go on with
    the other's checkpoints."""
    deciding = {key: value for key, value in flat(config).items() if not key.startswith(MAY_DIFFER)}
    return hashlib.sha256(msgspec.json.encode(deciding, order="sorted")).hexdigest()[:12]


def _with_server(table: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """With the bare server that CARLA_HOST and CARLA_PORT name, unless the table itself says where."""
    host, port = environ.get("CARLA_HOST"), environ.get("CARLA_PORT")
    servers = table.get("servers", {})
    if not (host or port) or not isinstance(servers, dict) or servers.keys() & {"addresses", "endpoint"}:
        return table
    address = f"{host or '127.0.0.1'}:{port or 2000}"
    if not (port or "2000").isdecimal() or not 0 < int(port or 2000) < 65536:
        raise ConfigError(f"cannot use CARLA_PORT={port!r}: a port is a number from 1 to 65535")
    return {**table, "servers": {**servers, "addresses": [address], "sessions": 1}}


def _check(config: Config) -> None:
    episode_options(config.curriculum.stages, config.env)
    addresses, sessions = config.servers.addresses, config.servers.sessions
    if len(addresses) % sessions:
        raise ConfigError(f"servers.addresses: {len(addresses)} given, but servers.sessions is {sessions}")
    if config.ppo.minibatch_steps > config.ppo.batch_steps:
        raise ConfigError(
            f"ppo.minibatch_steps: {config.ppo.minibatch_steps} is more than "
            f"ppo.batch_steps, {config.ppo.batch_steps}"
        )


def _flatten(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
