"""A policy's actions in the course of training, for a few observations at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from carlad.session.arrays import Array
from trainer.normalisation import CLIP, RunningNorm
from trainer.policy import Policy


class Acting:
    """Samples from the policy as it is at the moment, by `rng`."""

    def __init__(self, policy: Policy, rng: np.random.Generator) -> None:
        self._policy, self._rng = policy, rng
        self._vectors = _Vectors(policy) if _Vectors.can(policy) else None

    def act(self, observations: Mapping[str, Tensor]) -> Array:
        """Actions as they are kept, in rows, for observations in the CPU's memory."""
        return self._policy.distribution.sample(self._numbers(observations), self._rng)

    def _numbers(self, observations: Mapping[str, Tensor]) -> Array:
        if self._vectors is not None:
            return self._vectors.numbers(observations)
        return self._policy.numbers(on(self._policy.device, observations)).cpu().numpy()


class _Vectors:
    """An actor of vectors alone, in NumPy: PyTorch takes five times as long to begin as to compute.

    It shares its memory with the policy, and so always has the newest weights.
    """

    @staticmethod
    def can(policy: Policy) -> bool:
        return policy.device.type == "cpu" and not policy.actor_encoder.parts and not policy.bf16

    def __init__(self, policy: Policy) -> None:
        self._keys = [(key, _norm(policy, key)) for key in policy.actor_encoder.vectors]
        self._layers = [_layer(module) for module in policy.actor_encoder.trunk]
        self._last = _layer(policy.actor)

    def numbers(self, observations: Mapping[str, Tensor]) -> Array:
        parts = [self._normalised(observations[key].numpy(), norm) for key, norm in self._keys]
        x = parts[0] if len(parts) == 1 else np.concatenate(parts, -1)
        for layer in (*self._layers, self._last):
            if isinstance(layer, tuple):
                x = x @ layer[0]
                x += layer[1]
            else:
                layer(x)
        return x

    def _normalised(self, vectors: Array, norm: tuple[Array, Array] | None) -> Array:
        if norm is None:
            return vectors.reshape(len(vectors), -1).astype(np.float32)
        x = vectors - norm[0]
        x *= norm[1]
        return np.clip(x, -CLIP, CLIP, out=x)


def _norm(policy: Policy, key: str) -> tuple[Array, Array] | None:
    if key not in policy.norms:
        return None
    norm = policy.norms[key]
    assert isinstance(norm, RunningNorm)
    return norm.mean.numpy(), norm.inverse.numpy()


def _layer(module: nn.Module) -> tuple[Array, Array] | Callable[[Array], object]:
    """Weights and bias, or an activation that works in place."""
    if isinstance(module, nn.Linear):
        return module.weight.detach().numpy().T, module.bias.detach().numpy()
    if isinstance(module, nn.Tanh):
        return lambda x: np.tanh(x, out=x)
    assert isinstance(module, nn.ReLU)
    return lambda x: np.maximum(x, 0, out=x)


def on(device: torch.device, observations: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The observations on the device; from pinned memory the copy goes on in the background."""
    if device.type == "cpu":
        return dict(observations)
    return {key: part.to(device, non_blocking=True) for key, part in observations.items()}
