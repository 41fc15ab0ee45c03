"""A trained policy as an ONNX file, which acts without this package and without PyTorch."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from carlad.errors import CarladError
from carlad.session import spaces as described
from carlad.spaces import Space
from trainer.checkpoint import Checkpoint
from trainer.config import override
from trainer.learner import Learner
from trainer.policy import Policy
from trainer.spaces import Boxes

_CHECKED = 64  # random observations, besides the bounds' middles
_DIFFERENCE_MAX = 1e-4  # of actions in [-1, 1]: float32 through a few layers


class ExportError(CarladError):
    """The policy cannot be written, or what was written acts differently."""


def spaces_of(checkpoint: Checkpoint) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
    """The observation and the action space that the checkpoint was trained with."""
    tables = checkpoint.states["spaces"]
    observation, action = (
        described.build(msgspec.convert(tables[name], Space)) for name in ("observation", "action")
    )
    return observation, action


def export(checkpoint: Checkpoint, path: Path) -> float:
    """Write the policy's greedy actions as ONNX; returns the largest difference to PyTorch's that was seen.

    Inputs are the parts of the observation that the actor sees, (N, *shape), by their names; the one output
    is "action", as the environment takes it, (N, size) or (N,). Raises ExportError, and leaves no file then.
    """
    plain = override(checkpoint.config, ["train.compile=false", "train.bf16=false"])
    learner = Learner(plain, *spaces_of(checkpoint))
    learner.restore(checkpoint)
    policy = learner.policy.eval()
    boxes = {key: learner.boxes[key] for key in policy.actor_keys}
    observations = _observations(boxes)
    new = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        _write(_Acting(policy, list(boxes)), observations, new)
        difference = _compare(policy, observations, new)
        if difference > _DIFFERENCE_MAX:
            raise ExportError(
                f"cannot export to {path}: its actions would differ from the policy's by {difference:.2g}, "
                f"more than {_DIFFERENCE_MAX:g}"
            )
        new.replace(path)
    except (OSError, RuntimeError) as error:
        raise ExportError(f"cannot export to {path}: {error}") from error
    finally:
        if path.parent.is_dir():
            new.unlink(missing_ok=True)
    return difference


class _Acting(nn.Module):
    """From the observation's parts, in the order of `keys`, to the environment's action."""

    def __init__(self, policy: Policy, keys: list[str]) -> None:
        super().__init__()
        self._policy, self._keys = policy, keys

    def forward(self, *parts: Tensor) -> Tensor:
        return self._policy.exported(dict(zip(self._keys, parts, strict=True)))


def _observations(boxes: Boxes) -> dict[str, Tensor]:
    """Random elements of the boxes, (N, *shape)."""
    found = {}
    for key, box in boxes.items():
        box.seed(0)
        found[key] = torch.from_numpy(np.stack([box.sample() for _ in range(_CHECKED)]))
    return found


def _write(acting: _Acting, observations: Mapping[str, Tensor], path: Path) -> None:
    batch = torch.export.Dim("N", min=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    exporters = logging.getLogger("torch.onnx")
    before = exporters.level
    exporters.setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own parts, which say what they will change
            torch.onnx.export(
                acting,
                tuple(observations.values()),
                str(path),
                input_names=list(observations),
                output_names=["action"],
                dynamic_shapes=(tuple({0: batch} for _ in observations),),
                external_data=False,
                dynamo=True,
                verbose=False,
            )
    finally:
        exporters.setLevel(before)


def _compare(policy: Policy, observations: Mapping[str, Tensor], path: Path) -> float:
    """What the file gives for the observations, all at once and one alone, against the policy itself."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = policy.exported(dict(observations)).numpy()
    difference = 0.0
    for rows in (slice(None), slice(0, 1)):
        inputs = {key: part[rows].numpy() for key, part in observations.items()}
        (actions,) = session.run(["action"], inputs)
        difference = max(difference, float(np.abs(actions - expected[rows]).max()))
    return difference
