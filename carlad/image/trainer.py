"""Where a training in a container finds its servers, and what it is started with."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from carlad.errors import ConfigError
from carlad.image import keys
from carlad.image.folders import Folders
from carlad.image.server import daemon_port
from carlad.image.simulator import port_of, truth

HOST = "carla-server"  # compose's and the cluster's name of it
CONFIGS = Path("configs")  # below the working directory, as data and models are
RUNS = Path("data", "runs")


class Servers(msgspec.Struct, frozen=True):
    """Where a training's servers come from: daemons, which `endpoint` names, or one server at `address`.

    `variables`: what the trainer and its clients find in their environment for that.
    """

    variables: dict[str, str]
    endpoint: str = ""
    address: tuple[str, int] | None = None
    is_own: bool = False


def servers(environ: Mapping[str, str], folders: Folders) -> Servers:
    """START_CARLA_SERVER, CARLAD_ENDPOINT, keys, CARLA_HOST and CARLA_PORT, in this order.

    Raises ConfigError.
    """
    if truth(environ, "START_CARLA_SERVER", default=False):
        return _leased(f"ipc://{folders.socket}", {}, is_own=True)
    found = keys.of_client(folders.client, folders.runtime)
    key = {"CARLAD_KEY": str(found[0])} if found is not None else {}
    if environ.get("CARLAD_ENDPOINT"):
        return _leased(environ["CARLAD_ENDPOINT"], {**key, **_given(environ, "CARLAD_KEY")})
    hosts = [host.strip() for host in (environ.get("CARLA_HOST") or HOST).split(",") if host.strip()]
    if found is not None and not truth(environ, "CARLAD_BYPASS", default=False):
        port = daemon_port(environ)
        return _leased(",".join(f"tcp://{found[1]}@{host}:{port}" for host in hosts), key)
    if len(hosts) != 1:
        raise ConfigError(
            f"CARLA_HOST: {len(hosts)} hosts need a carlad on each and its keys in {folders.client}"
        )
    port = port_of(environ)
    return Servers({"CARLA_HOST": hosts[0], "CARLA_PORT": str(port)}, address=(hosts[0], port))


def environment(environ: Mapping[str, str], chosen: Servers) -> dict[str, str]:
    """The trainer's: CARLA_HOST and CARLA_PORT would be a server without a daemon to it."""
    dropped = ("CARLA_HOST", "CARLA_PORT", "CARLAD_ENDPOINT", "CARLAD_KEY")
    return {name: value for name, value in environ.items() if name not in dropped} | chosen.variables


def command(arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """`python -m trainer`, with what the TRAIN_ variables say where `arguments` say nothing."""
    given = list(arguments) or [
        *("train", "--config", config_name(environ.get("TRAIN_CONFIG") or "training")),
        *_run(environ.get("TRAIN_RUN", "")),
        *shlex.split(environ.get("TRAIN_ARGS", "")),
    ]
    return [sys.executable, "-m", "trainer", *given]


def _run(name: str) -> list[str]:
    """A run that has a name goes on whenever it is started again."""
    if not name:
        return []
    if "/" in name or name.startswith("."):
        raise ConfigError(f"TRAIN_RUN: {name!r} is no name of a folder below {RUNS}")
    out = RUNS / name
    goes_on = (out / "checkpoints" / "checkpoint.pt").exists()
    return ["--out", str(out), *(("--resume", str(out)) if goes_on else ())]


def config_name(name: str) -> str:
    """The file of that name in the volume of configurations goes before the packaged one."""
    mounted = CONFIGS / f"{name}.toml"
    return str(mounted) if mounted.is_file() else name


def _leased(endpoint: str, variables: dict[str, str], *, is_own: bool = False) -> Servers:
    return Servers({"CARLAD_ENDPOINT": endpoint, **variables}, endpoint=endpoint, is_own=is_own)


def _given(environ: Mapping[str, str], name: str) -> dict[str, str]:
    return {name: environ[name]} if environ.get(name) else {}
