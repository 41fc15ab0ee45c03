"""A policy's actions in the course of training, for a few observations at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from carlad.session.arrays import Array
from trainer.normalisation import CLIP, RunningNorm
from trainer.policy import Policy

_WARM_UP = 3


class Acting:
    """Samples from the policy as it is at the moment, by `rng`."""

    def __init__(self, policy: Policy, rng: np.random.Generator) -> None:
        self._policy, self._rng = policy, rng
        self._vectors = _Vectors(policy) if _Vectors.can(policy) else None
        self._recordings = _Recordings(policy) if policy.device.type == "cuda" else None

    def act(self, observations: Mapping[str, Tensor]) -> Array:
        """Actions as they are kept, in rows, for observations on the policy's device or the CPU."""
        return self._policy.distribution.sample(self._numbers(observations), self._rng)

    def _numbers(self, observations: Mapping[str, Tensor]) -> Array:
        if self._vectors is not None:
            return self._vectors.numbers(observations)
        if self._recordings is not None:
            return self._recordings.numbers(observations)
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


class _Recording(NamedTuple):
    """The kernels of a policy for some number of observations, and where these and its numbers lie."""

    graph: torch.cuda.CUDAGraph
    inputs: dict[str, Tensor]
    outputs: Tensor


class _Recordings:
    """A policy on a GPU, its kernels recorded once and then started as one: for a few images they take less
    time than PyTorch does to start one after the other.

    One for each power of two of observations. A recording reads the weights where they lie, and so always
    has the newest ones.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._by_size: dict[int, _Recording] = {}

    def numbers(self, observations: Mapping[str, Tensor]) -> Array:
        count = len(next(iter(observations.values())))
        size = 1 << (count - 1).bit_length()
        recording = self._by_size.get(size)
        if recording is None:
            recording = self._by_size[size] = _recorded(self._policy, observations, size)
        for key, part in observations.items():
            recording.inputs[key][:count].copy_(part, non_blocking=True)
        recording.graph.replay()
        found: Array = recording.outputs[:count].cpu().numpy()
        return found


def _recorded(policy: Policy, like: Mapping[str, Tensor], size: int) -> _Recording:
    device = policy.device
    with torch.cuda.device(device):
        inputs = {
            key: torch.zeros(size, *part.shape[1:], dtype=part.dtype).to(device) for key, part in like.items()
        }
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries choose their ways and take their memory the first times
            for _ in range(_WARM_UP):
                policy.numbers(inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # NCCL's thread may use it meanwhile
            outputs = policy.numbers(inputs)
    return _Recording(graph, inputs, outputs)


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
