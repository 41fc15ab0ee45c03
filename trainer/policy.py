"""The actor and the critic: two MLPs over a normalised observation vector."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainer.config import PolicyConfig

_CLIP = 10.0  # of normalised observations, in standard deviations
_LOG_STD_MIN, _LOG_STD_MAX = -4.0, 1.0


class RunningNorm(nn.Module):
    """Scales observations by the mean and variance of all that `update` has seen; starts as the identity."""

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, observations: Tensor) -> None:
        """Take in observations (N, size). Source: Chan et al. 1979, the parallel variance."""
        added = float(len(observations))
        total = float(self.count) + added
        delta = observations.mean(0) - self.mean
        squares = self.variance * float(self.count) + observations.var(0, unbiased=False) * added
        self.variance.copy_((squares + delta**2 * float(self.count) * added / total) / total)
        self.mean.add_(delta * added / total)
        self.count.fill_(total)

    def forward(self, observations: Tensor) -> Tensor:
        scaled = (observations - self.mean) / torch.sqrt(self.variance + 1e-4)
        return scaled.clamp(-_CLIP, _CLIP)


class GaussianPolicy(nn.Module):
    """Independent normal distributions over the actions, and a critic of its own.

    Observations are float32 (N, observation_size), actions (N, action_size). Actions are sampled unbounded;
    who applies them clips them, so that the log probabilities stay exact.
    """

    def __init__(self, observation_size: int, action_size: int, config: PolicyConfig) -> None:
        super().__init__()
        self.norm = RunningNorm(observation_size)
        self.actor = _mlp(observation_size, config.hidden, action_size, last_gain=0.01)
        self.critic = _mlp(observation_size, config.hidden, 1, last_gain=1.0)
        self.log_std = nn.Parameter(torch.full((action_size,), config.log_std))

    @torch.inference_mode()
    def act(self, observations: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sampled actions (N, action_size) and their log probabilities (N,)."""
        mean = self.actor(self.norm(observations))
        noise = torch.randn(mean.shape, generator=generator)
        log_std = self._log_std()
        return mean + log_std.exp() * noise, _log_probability(noise, log_std)

    @torch.inference_mode()
    def best(self, observations: Tensor) -> Tensor:
        """The most probable actions (N, action_size)."""
        mean: Tensor = self.actor(self.norm(observations))
        return mean

    @torch.inference_mode()
    def values(self, observations: Tensor) -> Tensor:
        """The critic's estimates (N,) of the discounted return."""
        value: Tensor = self.critic(self.norm(observations)).squeeze(-1)
        return value

    def evaluate(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log probabilities of the actions (N,), the distribution's entropy (), values (N,); for the loss."""
        normalised = self.norm(observations)
        log_std = self._log_std()
        noise = (actions - self.actor(normalised)) / log_std.exp()
        entropy = (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum()
        return _log_probability(noise, log_std), entropy, self.critic(normalised).squeeze(-1)

    def _log_std(self) -> Tensor:
        return self.log_std.clamp(_LOG_STD_MIN, _LOG_STD_MAX)


def _log_probability(noise: Tensor, log_std: Tensor) -> Tensor:
    """Of mean + std * noise, summed over the actions."""
    return -(0.5 * noise**2 + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)


def _mlp(inputs: int, hidden: Sequence[int], outputs: int, last_gain: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [_linear(inputs, size, math.sqrt(2)), nn.Tanh()]
        inputs = size
    return nn.Sequential(*layers, _linear(inputs, outputs, last_gain))


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
