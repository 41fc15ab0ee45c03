"""Distributions over actions, made of the numbers that an actor network gives for each observation.

Acting is NumPy, because it is done for a few observations at a time; learning is PyTorch. `sample` and `best`
give actions as the learner keeps them, in the shape that `log_probability` takes; `to_env` turns them into
what the environment's action space holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar, cast

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn
from torch.nn import functional

from carlad.session.arrays import Array
from trainer.spaces import Action

Kind = Literal["gaussian", "squashed", "beta"]
Numbers = TypeVar("Numbers", Array, Tensor)

_LOG_STD_MIN, _LOG_STD_MAX = -4.0, 1.0
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)  # for means over a normal distribution
_EDGE = 1e-6  # a beta's actions keep this far from 0 and 1, where its density may be 0 or infinite


class Distribution(Protocol):
    """One for each of N observations."""

    inputs: int
    """How many numbers the actor gives for an observation."""

    def sample(self, numbers: Array, rng: np.random.Generator) -> Array:
        """Actions for `numbers`, float32 (N, inputs)."""

    def log_probability(self, numbers: Tensor, actions: Tensor) -> Tensor:
        """Of the actions (N,); differentiable."""

    def entropy(self, numbers: Tensor) -> Tensor:
        """(N,), in nats; differentiable."""

    def best(self, numbers: Tensor) -> Tensor:
        """The actions that stand for the distributions."""

    def to_env(self, actions: Array) -> Array:
        """One element of the action space in each row."""

    def exported(self, actions: Tensor) -> Tensor:
        """As `to_env`, within bounds, for networks that act without this package."""


def distribution(space: Action, kind: Kind, log_std: float) -> Distribution:
    """For a Discrete space always the categorical one."""
    if isinstance(space, Discrete):
        return Categorical(space)
    if kind == "beta":
        return Beta(space)
    return Squashed(space) if kind == "squashed" else Gaussian(space, log_std)


class Gaussian(nn.Module):
    """Independent normal distributions whose deviations do not depend on the observation.

    Actions are sampled unbounded; the environment clips them, so that the log probabilities stay exact.
    """

    def __init__(self, space: Box, log_std: float) -> None:
        super().__init__()
        self.inputs = space.shape[0]
        self.log_std = nn.Parameter(torch.full((self.inputs,), log_std))
        self._bounds = _Bounds(space)

    def sample(self, numbers: Array, rng: np.random.Generator) -> Array:
        std = np.exp(self.log_std.detach().cpu().numpy().clip(_LOG_STD_MIN, _LOG_STD_MAX))
        return cast(Array, numbers + std * rng.standard_normal(numbers.shape, np.float32))

    def log_probability(self, numbers: Tensor, actions: Tensor) -> Tensor:
        log_std = self._log_std()
        return _log_normal((actions - numbers) / log_std.exp(), log_std)

    def entropy(self, numbers: Tensor) -> Tensor:
        return _normal_entropy(self._log_std()).expand(len(numbers))

    def best(self, numbers: Tensor) -> Tensor:
        return numbers

    def to_env(self, actions: Array) -> Array:
        return self._bounds.from_symmetric(actions)

    def exported(self, actions: Tensor) -> Tensor:
        return self._bounds.exported(actions)

    def _log_std(self) -> Tensor:
        return self.log_std.clamp(_LOG_STD_MIN, _LOG_STD_MAX)


class Squashed(nn.Module):
    """Independent normal distributions through tanh; means and deviations depend on the observation.

    Actions are kept as they were before tanh, so that nothing is lost near the bounds.
    Source: Haarnoja et al. 2018, "Soft Actor-Critic", appendix C.
    """

    _nodes: Tensor
    _weights: Tensor

    def __init__(self, space: Box) -> None:
        super().__init__()
        self.inputs = 2 * space.shape[0]
        self._bounds = _Bounds(space)
        self.register_buffer("_nodes", torch.tensor(_NODES, dtype=torch.float32), persistent=False)
        weights = torch.tensor(_WEIGHTS / _WEIGHTS.sum(), dtype=torch.float32)
        self.register_buffer("_weights", weights, persistent=False)

    def sample(self, numbers: Array, rng: np.random.Generator) -> Array:
        mean, log_std = self._split(numbers, np.tanh)
        return mean + np.exp(log_std) * rng.standard_normal(mean.shape, np.float32)

    def differentiable_sample(self, numbers: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Actions for `numbers` and their log probabilities (N,), with gradients of both."""
        mean, log_std = self._split(numbers, torch.tanh)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        actions = mean + log_std.exp() * noise
        return actions, _log_normal(noise, log_std) - _log_slope(actions).sum(-1)

    def log_probability(self, numbers: Tensor, actions: Tensor) -> Tensor:
        mean, log_std = self._split(numbers, torch.tanh)
        noise = (actions - mean) / log_std.exp()
        return _log_normal(noise, log_std) - _log_slope(actions).sum(-1)

    def entropy(self, numbers: Tensor) -> Tensor:
        """The normal distribution's, and the mean of what tanh adds: a Gauss-Hermite sum over 9 nodes."""
        mean, log_std = self._split(numbers, torch.tanh)
        nodes = mean[..., None] + log_std.exp()[..., None] * self._nodes
        added: Tensor = (_log_slope(nodes) * self._weights).sum((-2, -1))
        return _normal_entropy(log_std) + added

    def best(self, numbers: Tensor) -> Tensor:
        return self._split(numbers, torch.tanh)[0]

    def to_env(self, actions: Array) -> Array:
        return self._bounds.from_symmetric(np.tanh(actions))

    def exported(self, actions: Tensor) -> Tensor:
        return self._bounds.exported(torch.tanh(actions))

    def _split(self, numbers: Numbers, tanh: Callable[[Any], Any]) -> tuple[Numbers, Numbers]:
        """Means, and log deviations that stay between their limits smoothly."""
        size = self.inputs // 2
        middle, reach = (_LOG_STD_MAX + _LOG_STD_MIN) / 2, (_LOG_STD_MAX - _LOG_STD_MIN) / 2
        raw = numbers[:, size:] + math.atanh((-0.5 - middle) / reach)
        return numbers[:, :size], middle + reach * tanh(raw)


class Beta(nn.Module):
    """Independent beta distributions with one peak, so that actions are bounded and nothing is clipped.

    Actions are kept in (0, 1). Source: Chou et al. 2017, "Improving Stochastic Policy Gradients in Continuous
    Control with Deep Reinforcement Learning using the Beta Distribution".
    """

    def __init__(self, space: Box) -> None:
        super().__init__()
        self.inputs = 2 * space.shape[0]
        self._bounds = _Bounds(space)

    def sample(self, numbers: Array, rng: np.random.Generator) -> Array:
        a, b = self._split(numbers, lambda raw: np.logaddexp(0, raw))
        return rng.beta(a, b).astype(np.float32).clip(_EDGE, 1 - _EDGE)

    def log_probability(self, numbers: Tensor, actions: Tensor) -> Tensor:
        a, b = self._split(numbers, functional.softplus)
        norm = torch.lgamma(a + b) - torch.lgamma(a) - torch.lgamma(b)
        return (norm + (a - 1) * actions.log() + (b - 1) * torch.log1p(-actions)).sum(-1)

    def entropy(self, numbers: Tensor) -> Tensor:
        a, b = self._split(numbers, functional.softplus)
        total = a + b
        shape = (a - 1) * torch.digamma(a) + (b - 1) * torch.digamma(b) - (total - 2) * torch.digamma(total)
        return (torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(total) - shape).sum(-1)

    def best(self, numbers: Tensor) -> Tensor:
        """The means."""
        a, b = self._split(numbers, functional.softplus)
        return a / (a + b)

    def to_env(self, actions: Array) -> Array:
        return self._bounds.from_symmetric(2 * actions - 1)

    def exported(self, actions: Tensor) -> Tensor:
        return self._bounds.exported(2 * actions - 1)

    def _split(self, numbers: Numbers, softplus: Callable[[Any], Any]) -> tuple[Numbers, Numbers]:
        size, both = self.inputs // 2, 1 + softplus(numbers)
        return both[:, :size], both[:, size:]


class Categorical(nn.Module):
    """One of n actions, kept as int64 (N,) from 0."""

    def __init__(self, space: Discrete) -> None:
        super().__init__()
        self.inputs = int(space.n)
        self._start = int(space.start)

    def sample(self, numbers: Array, rng: np.random.Generator) -> Array:
        """The largest after Gumbel's noise. Source: Gumbel 1954; Maddison et al. 2014, "A* Sampling"."""
        return cast(Array, (numbers + rng.gumbel(size=numbers.shape)).argmax(-1))

    def log_probability(self, numbers: Tensor, actions: Tensor) -> Tensor:
        return numbers.log_softmax(-1).gather(-1, actions[..., None]).squeeze(-1)

    def entropy(self, numbers: Tensor) -> Tensor:
        logs = numbers.log_softmax(-1)
        return -(logs.exp() * logs).sum(-1)

    def best(self, numbers: Tensor) -> Tensor:
        return numbers.argmax(-1)

    def to_env(self, actions: Array) -> Array:
        return actions + self._start

    def exported(self, actions: Tensor) -> Tensor:
        return actions + self._start


class _Bounds:
    """From [-1, 1] to those of a Box; parts without two finite bounds stay as they are."""

    def __init__(self, space: Box) -> None:
        finite = np.isfinite(space.low) & np.isfinite(space.high)
        low, high = np.where(finite, space.low, -1), np.where(finite, space.high, 1)
        self._middle = ((high + low) / 2).astype(np.float32)
        self._reach = ((high - low) / 2).astype(np.float32)
        self._is_identity = bool((self._middle == 0).all() and (self._reach == 1).all())

    def from_symmetric(self, actions: Array) -> Array:
        return actions if self._is_identity else self._middle + self._reach * actions

    def exported(self, actions: Tensor) -> Tensor:
        """Clipped, as environments do themselves where a part is outside."""
        middle, reach = torch.from_numpy(self._middle), torch.from_numpy(self._reach)
        return middle + reach * actions.clamp(-1.0, 1.0)


def _log_normal(noise: Tensor, log_std: Tensor) -> Tensor:
    """Log density of mean + std * noise, summed over the actions."""
    return -(0.5 * noise**2 + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)


def _normal_entropy(log_std: Tensor) -> Tensor:
    return (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)


def _log_slope(actions: Tensor) -> Tensor:
    """log of the derivative of tanh, without loss where it is small."""
    return 2 * (math.log(2) - actions - functional.softplus(-2 * actions))
