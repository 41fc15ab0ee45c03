"""Whether a training could start here: what it imports, where it computes, and a lease with some steps."""

from __future__ import annotations

import importlib
import importlib.util
import os
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from carlad.errors import CarladError
from trainer.config import Config

if TYPE_CHECKING:  # what may be missing is imported where it is tried
    import gymnasium

    from carlad.session.members import Members

_NEEDED = {  # module: the package's name
    "torch": "torch",
    "gymnasium": "gymnasium",
    "numpy": "numpy",
    "tensorboard": "tensorboard",
    "carla": "carla",
}
_WANTED = {"onnxruntime": "carlad[export]", "pygame": "carlad[viz]"}  # module: what brings it
_STEPS = 20
_FIRST_STEP_WITHIN_S = 60.0
_POLL_S = 0.2


class Finding(NamedTuple):
    """`advice` is what to do, where it is not all right; a mere wish is `ok` all the same."""

    what: str
    ok: bool
    found: str
    advice: str = ""


def check(config: Config, logs: Path) -> Iterator[Finding]:
    """One finding after the other; ends early where what follows would only fail for the same reason."""
    imports = [*_imports()]
    yield from imports
    if not all(finding.ok for finding in imports):
        return
    yield _device(config)
    yield from _folders(config)
    yield from _episode(config, logs)


def _imports() -> Iterator[Finding]:
    for module, package in _NEEDED.items():
        yield _import(module, package)
    for module, extra in _WANTED.items():
        there = importlib.util.find_spec(module) is not None
        advice = "" if there else f"only needed for some commands: pip install '{extra}'"
        yield Finding(module, True, metadata.version(module) if there else "not installed", advice)


def _import(module: str, package: str) -> Finding:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if module != "carla":
            return Finding(module, False, str(error), "pip install 'carlad[trainer]'")
        advice = "only needed where environments run on this machine: Python 3.10 to 3.12 has wheels"
        return Finding(module, True, "not installed", advice)
    except Exception as error:  # what a native library's loading raises
        return Finding(module, False, f"{type(error).__name__}: {error}", "pip install 'carlad[trainer]'")
    return Finding(module, True, metadata.version(package))


def _device(config: Config) -> Finding:
    import torch

    from trainer.distributed import joined

    try:
        with joined(config.train.device) as (_, device):
            name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device}"
            began_s = time.perf_counter()
            torch.ones(256, 256, device=device).matmul(torch.ones(256, 256, device=device)).sum().item()
            spent_ms = (time.perf_counter() - began_s) * 1000
    except (CarladError, RuntimeError) as error:
        return Finding("device", False, str(error), "-o train.device=cpu")
    return Finding("device", True, f"{name}, computes (first product of matrices: {spent_ms:.0f} ms)")


def _folders(config: Config) -> Iterator[Finding]:
    for folder in msgspec.structs.astuple(config.output):
        path = Path(folder).absolute()
        nearest = next(one for one in (path, *path.parents) if one.exists())
        if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
            yield Finding(f"output {folder}", True, "can be written")
        else:
            advice = "run it elsewhere, or set the [output] section or --out"
            yield Finding(f"output {folder}", False, f"cannot write {nearest}", advice)


def _episode(config: Config, logs: Path) -> Iterator[Finding]:
    """A session, an episode's beginning, and some steps."""
    from trainer import sessions

    first = config.servers.addresses[:1]
    servers = msgspec.structs.replace(config.servers, sessions=1, addresses=first)
    where = first[0] if first else config.servers.endpoint or "the daemon"
    began_s = time.monotonic()
    vector = sessions.started(msgspec.structs.replace(config, servers=servers), logs)
    try:
        spaces = vector.spaces(servers.wait_s, lambda: False)
        assert spaces is not None  # nobody stops it
        observations, actions = spaces
        yield Finding("server", True, f"by {where}, after {time.monotonic() - began_s:.1f} s")
        yield Finding("observation", True, str(observations))
        yield Finding("action", True, str(actions))
        per_s = _steps_per_s(vector, actions)
        yield Finding("steps", True, f"{_STEPS} steps, {per_s:.0f} a second")
    except CarladError as error:
        yield Finding("server", False, str(error), _advice(config, where))
    finally:
        vector.close()


def _steps_per_s(vector: Members, actions: gymnasium.Space[Any]) -> float:
    """Of random steps, the first episode's beginning not counted. Raises CarladError where there are none."""
    from carlad.session.members import Began, Moved, Phase

    actions.seed(0)
    deadline_s, began_s, steps = time.monotonic() + _FIRST_STEP_WITHIN_S, 0.0, 0
    while steps < _STEPS:
        if time.monotonic() > deadline_s:
            raise CarladError(f"no step within {_FIRST_STEP_WITHIN_S:.0f} s")
        if vector.phases()[0] is Phase.IDLE:
            vector.reset(0, steps)
        for event in vector.events(_POLL_S):
            if isinstance(event, Began):
                began_s = began_s or time.monotonic()
            elif isinstance(event, Moved):
                steps += 1
            if vector.phases()[0] is Phase.READY:
                vector.act(0, actions.sample())
    return steps / (time.monotonic() - began_s)


def _advice(config: Config, where: str) -> str:
    if config.servers.addresses:
        return (
            f"is a CARLA server running at {where}, and does nobody else use it? See CARLA_HOST, CARLA_PORT"
        )
    return "start the daemon (carlad &), see carlactl status; or name a server by CARLA_HOST and CARLA_PORT"
