"""Checkpoints: one file with all that a training needs to go on, replaced atomically."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch

from carlad.errors import CarladError
from trainer.config import MAY_DIFFER, Config, digest, flat

_VERSION = 2
NEWEST, BEST = "checkpoint.pt", "best.pt"


class CheckpointError(CarladError):
    """A checkpoint that cannot be used: unreadable, or of another configuration."""


class Counters(msgspec.Struct, kw_only=True):
    """How far a training is. `seconds` is time spent training, over all its runs."""

    env_steps: int = 0
    updates: int = 0
    episodes: int = 0
    sim_lost: int = 0
    seconds: float = 0.0


class Score(NamedTuple):
    """How well a policy drives: the greater one is the better."""

    stage: int
    """Of the curriculum."""
    success_rate: float
    episodic_return: float


class Checkpoint(msgspec.Struct, kw_only=True):
    """`states` holds the state dicts and generator states of the learner's parts by name."""

    config: Config
    counters: Counters
    states: dict[str, Any]
    score: Score | None = None
    """Of the last episodes, where there were enough of them."""


class Store:
    """A run's checkpoints in a folder of their own: the newest few by their steps, NEWEST, and BEST.

    NEWEST and BEST are second names of files that were whole before they got them.
    """

    def __init__(self, folder: Path, kept: int) -> None:
        self._folder, self._kept = folder, kept
        self._best = load(folder / BEST).score if (folder / BEST).exists() else None

    def save(self, checkpoint: Checkpoint) -> tuple[Path, bool]:
        """Where it was written, and whether it is the best one now. Raises CheckpointError."""
        path = self._folder / f"checkpoint-{checkpoint.counters.env_steps:012}.pt"
        is_best = self._is_best(checkpoint.score)
        save(path, checkpoint)
        try:
            _name_too(path, NEWEST)
            if is_best:
                _name_too(path, BEST)
                self._best = checkpoint.score
            by_age = sorted(self._folder.glob("checkpoint-*.pt"), key=lambda old: old.stat().st_mtime_ns)
            for old in by_age[: -self._kept]:
                old.unlink()
            for left in self._folder.glob("*.tmp"):
                left.unlink()  # of a process that was killed while it wrote
        except OSError as error:
            raise CheckpointError(f"cannot keep checkpoint {path}: {error}") from error
        return path, is_best

    def _is_best(self, score: Score | None) -> bool:
        """A new one counts as better where it is as good, as it has learned for longer."""
        if score is None:
            return not (self._folder / BEST).exists()
        return self._best is None or score >= self._best


def find(path: Path) -> Path:
    """The checkpoint that `path` is, or the newest of the folder or the run that it is.

    Raises CheckpointError where there is none.
    """
    if not path.is_dir():
        return path
    for found in (path / NEWEST, path / "checkpoints" / NEWEST):
        if found.exists():
            return found
    raise CheckpointError(f"cannot find a checkpoint in {path}: there is no {NEWEST}")


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file. A crash at any moment leaves the old one or the new one, whole.

    Raises CheckpointError if it cannot be written.
    """
    content = {
        "version": _VERSION,
        "config": msgspec.to_builtins(checkpoint.config),
        "counters": msgspec.to_builtins(checkpoint.counters),
        "digest": digest(checkpoint.config),
        "score": checkpoint.score and tuple(checkpoint.score),
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
            score=content["score"] and Score(*content["score"]),
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


def check_fits(checkpoint: Checkpoint, config: Config, evaluates: bool = False) -> None:
    """Raises CheckpointError with the keys in which `config` differs from what was trained with.

    Who only evaluates may do so in another environment.
    """
    may_differ = (*MAY_DIFFER, "env.", "curriculum.") if evaluates else MAY_DIFFER
    theirs, ours = flat(checkpoint.config), flat(config)
    differing = [
        f"{key} (checkpoint {theirs.get(key)!r}, now {ours.get(key)!r})"
        for key in sorted(theirs.keys() | ours.keys())
        if theirs.get(key) != ours.get(key) and not key.startswith(may_differ)
    ]
    if differing:
        do = "evaluate" if evaluates else "resume"
        raise CheckpointError(f"cannot {do} with another configuration: {', '.join(differing)}")


def _name_too(path: Path, name: str) -> None:
    """Give the file a second name, in place of what had it."""
    new = path.with_name(f"{name}.{os.getpid()}.tmp")
    new.unlink(missing_ok=True)
    try:
        os.link(path, new)
    except OSError:  # a file system without links
        shutil.copyfile(path, new)
    new.replace(path.with_name(name))


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
