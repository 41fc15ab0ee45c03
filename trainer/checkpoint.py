"""Checkpoints: one file with all that a training needs to go on, replaced atomically."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import msgspec
import torch

from carlad.errors import CarladError
from trainer.config import Config, flat

_VERSION = 1
_MAY_DIFFER = ("train.", "servers.")  # sections that do not change what is learned


class CheckpointError(CarladError):
    """A checkpoint that cannot be used: unreadable, or of another configuration."""


class Counters(msgspec.Struct, kw_only=True):
    """How far a training is. `seconds` is time spent training, over all its runs."""

    env_steps: int = 0
    updates: int = 0
    episodes: int = 0
    sim_lost: int = 0
    seconds: float = 0.0


class Checkpoint(msgspec.Struct, kw_only=True):
    """`states` holds the state dicts and generator states of the learner's parts by name."""

    config: Config
    counters: Counters
    states: dict[str, Any]


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file. A crash at any moment leaves the old one or the new one, whole.

    Raises CheckpointError if it cannot be written.
    """
    content = {
        "version": _VERSION,
        "config": msgspec.to_builtins(checkpoint.config),
        "counters": msgspec.to_builtins(checkpoint.counters),
        "states": checkpoint.states,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
    except (OSError, RuntimeError) as error:  # torch says RuntimeError for a full disk
        raise CheckpointError(f"cannot write checkpoint {path}: {error}") from error


def load(path: Path) -> Checkpoint:
    """Reads weights and plain values and executes nothing. Raises CheckpointError for a file that is none."""
    try:
        content = torch.load(path, weights_only=True)
        if content["version"] != _VERSION:
            raise CheckpointError(
                f"cannot use checkpoint {path}: version {content['version']}, not {_VERSION}"
            )
        return Checkpoint(
            config=msgspec.convert(content["config"], Config),
            counters=msgspec.convert(content["counters"], Counters),
            states=content["states"],
        )
    except (
        OSError,
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"cannot read checkpoint {path}: {reason}") from error


def check_fits(checkpoint: Checkpoint, config: Config) -> None:
    """Raises CheckpointError with the keys in which `config` differs from what was trained with."""
    theirs, ours = flat(checkpoint.config), flat(config)
    differing = [
        f"{key} (checkpoint {theirs.get(key)!r}, now {ours.get(key)!r})"
        for key in sorted(theirs.keys() | ours.keys())
        if theirs.get(key) != ours.get(key) and not key.startswith(_MAY_DIFFER)
    ]
    if differing:
        raise CheckpointError(f"cannot resume with another configuration: {', '.join(differing)}")


def _replace(path: Path, content: dict[str, Any]) -> None:
    written = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with written.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # so that the new name survives a power cut too
    finally:
        os.close(directory)
