"""The actor and the critic over normalised observations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from carlad.errors import ConfigError
from carlad.session.arrays import Array
from trainer.config import PolicyConfig
from trainer.distributions import distribution
from trainer.encoders import Encoder, linear
from trainer.normalisation import RunningNorm
from trainer.spaces import Action, Boxes

Observations = Mapping[str, Tensor]


class Policy(nn.Module):
    """A distribution over actions and an estimate of the return for each of N observations.

    Observations are tensors by key, (N, *shape of the key's box). Actor and critic each see the keys that the
    configuration names for them, all where it names none.
    """

    def __init__(self, boxes: Boxes, action: Action, config: PolicyConfig) -> None:
        """Raises ConfigError for keys and spaces that do not fit each other."""
        super().__init__()
        seen = _seen(boxes, config.actor, "actor"), _seen(boxes, config.critic, "critic")
        if config.shared and seen[0].keys() != seen[1].keys():
            raise ConfigError("cannot share one encoder: policy.actor and policy.critic name other keys")
        if unknown := config.encoders.keys() - boxes.keys():
            raise ConfigError(f"policy.encoders: no observation is named {', '.join(sorted(unknown))}")
        self.norms = nn.ModuleDict(
            {
                key: RunningNorm(box.shape[0])
                for key, box in boxes.items()
                if config.normalise and _is_vector(box)
            }
        )
        self.distribution = distribution(action, config.distribution, config.log_std)
        self.actor_encoder = Encoder(seen[0], config)
        self.critic_encoder = self.actor_encoder if config.shared else Encoder(seen[1], config)
        self.actor = linear(self.actor_encoder.size, self.distribution.inputs, gain=0.01)
        self.critic = linear(self.critic_encoder.size, 1, gain=1.0)
        self._shared = config.shared

    @torch.inference_mode()
    def act(self, observations: Observations, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sampled actions and their log probabilities (N,)."""
        return self.distribution.sample(self._numbers(self._normalised(observations)), generator)

    @torch.inference_mode()
    def best(self, observations: Observations) -> Tensor:
        """The actions that it deems best."""
        return self.distribution.best(self._numbers(self._normalised(observations)))

    @torch.inference_mode()
    def values(self, observations: Observations) -> Tensor:
        """The critic's estimates (N,) of the discounted return."""
        features = self.critic_encoder(self._normalised(observations))
        return self._value(features)

    def evaluate(self, observations: Observations, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log probabilities of the actions, entropies and values, each (N,); for a loss."""
        normalised = self._normalised(observations)
        features = self.actor_encoder(normalised)
        numbers = self.actor(features).float()
        values = self._value(features if self._shared else self.critic_encoder(normalised))
        log_probabilities = self.distribution.log_probability(numbers, actions)
        return log_probabilities, self.distribution.entropy(numbers), values

    def an_action(self) -> Tensor:
        """One action as `act` gives them in rows, of no meaning."""
        numbers = torch.zeros(1, self.distribution.inputs)
        return self.distribution.best(numbers.to(self.actor.weight.device))[0].cpu()

    def to_env(self, actions: Tensor) -> Array:
        """The actions as the environment takes them, one in each row."""
        return self.distribution.to_env(actions)

    def learn_scale(self, observations: Observations) -> None:
        """Take observations into the running normalisation."""
        for key, norm in self.norms.items():
            norm.update(observations[key])  # type: ignore[operator]

    def _normalised(self, observations: Observations) -> dict[str, Tensor]:
        found = dict(observations)
        for key, norm in self.norms.items():
            found[key] = norm(found[key])
        return found

    def _numbers(self, normalised: Observations) -> Tensor:
        numbers: Tensor = self.actor(self.actor_encoder(normalised)).float()
        return numbers

    def _value(self, features: Tensor) -> Tensor:
        value: Tensor = self.critic(features).squeeze(-1).float()
        return value


def _seen(boxes: Boxes, keys: tuple[str, ...], which: str) -> Boxes:
    if missing := [key for key in keys if key not in boxes]:
        raise ConfigError(
            f"policy.{which}: the environment shows no {', '.join(missing)}, only {', '.join(boxes)}"
        )
    return {key: boxes[key] for key in keys} if keys else boxes


def _is_vector(box: Box) -> bool:
    return len(box.shape) == 1 and box.dtype in (np.float32, np.float64)
