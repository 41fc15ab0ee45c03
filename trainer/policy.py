"""What acts, and what judges it, over normalised observations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from carlad.errors import ConfigError
from carlad.session.arrays import Array
from trainer.config import PolicyConfig
from trainer.distributed import ALONE, Ranks
from trainer.distributions import distribution
from trainer.encoders import Encoder, linear
from trainer.normalisation import RunningNorm
from trainer.spaces import Action, Boxes

Observations = Mapping[str, Tensor]


class Policy(nn.Module):
    """A distribution over actions for each of N observations.

    Observations are tensors by key, (N, *shape of the key's box). The actor sees the keys that the
    configuration names for it, all where it names none.
    """

    def __init__(self, boxes: Boxes, action: Action, config: PolicyConfig) -> None:
        """Raises ConfigError for keys and spaces that do not fit each other."""
        super().__init__()
        if unknown := config.encoders.keys() - boxes.keys():
            raise ConfigError(f"policy.encoders: no observation is named {', '.join(sorted(unknown))}")
        vectors = {key: box for key, box in boxes.items() if config.normalise and _is_vector(box)}
        self.norms = nn.ModuleDict({key: RunningNorm(box.shape[0]) for key, box in vectors.items()})
        self.distribution = distribution(action, config.distribution, config.log_std)
        actor_boxes = seen_by(boxes, config.actor, "actor")
        self.actor_keys = tuple(actor_boxes)
        self.actor_encoder = Encoder(actor_boxes, config)
        self.actor = linear(self.actor_encoder.size, self.distribution.inputs, gain=0.01)
        self.bf16 = False  # whether encoders compute in bfloat16; weights and losses stay float32

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.actor.weight.device

    @torch.inference_mode()
    def numbers(self, observations: Observations) -> Tensor:
        """What the distribution is made of, (N, its inputs)."""
        return self._numbers(self._normalised(observations))

    @torch.inference_mode()
    def best(self, observations: Observations) -> Tensor:
        """The actions that it deems best."""
        return self.distribution.best(self._numbers(self._normalised(observations)))

    def exported(self, observations: Observations) -> Tensor:
        """The best actions as the environment takes them, of the parts that the actor sees; for tracing."""
        seen = {key: self.norms[key](p) if key in self.norms else p for key, p in observations.items()}
        return self.distribution.exported(self.distribution.best(self._numbers(seen)))

    @torch.inference_mode()
    def an_action(self) -> Tensor:
        """One action as it is kept, of no meaning."""
        return self.distribution.best(torch.zeros(1, self.distribution.inputs))[0]

    def to_env(self, actions: Array) -> Array:
        """The actions as the environment takes them, one in each row."""
        return self.distribution.to_env(actions)

    def compile_encoders(self) -> None:
        """Let torch.compile make the encoders faster; takes minutes with the first batches."""
        for module in self.modules():
            if isinstance(module, Encoder):
                module.compile()

    @property
    def has_scale(self) -> bool:
        """Whether the running normalisation has seen anything; where nothing is normalised it is as good."""
        return all(float(norm.get_buffer("count")) > 0 for norm in self.norms.values())

    def learn_scale(self, observations: Observations, ranks: Ranks = ALONE) -> None:
        """Take observations of all processes into the running normalisation."""
        for key, norm in self.norms.items():
            assert isinstance(norm, RunningNorm)
            norm.update(observations[key], ranks)

    def _normalised(self, observations: Observations) -> dict[str, Tensor]:
        found = dict(observations)
        for key, norm in self.norms.items():
            found[key] = norm(found[key])
        return found

    def _numbers(self, normalised: Observations) -> Tensor:
        return self._actor_numbers(self._encoded(self.actor_encoder, normalised))

    def _actor_numbers(self, features: Tensor) -> Tensor:
        numbers: Tensor = self.actor(features)
        return numbers

    def _encoded(self, encoder: Encoder, normalised: Observations, extra: Tensor | None = None) -> Tensor:
        if not self.bf16:
            features: Tensor = encoder(normalised, extra)
            return features
        with torch.autocast(self.device.type, torch.bfloat16):
            features = encoder(normalised, extra)
        return features.float()


class ActorCritic(Policy):
    """A policy and an estimate of the discounted return."""

    def __init__(self, boxes: Boxes, action: Action, config: PolicyConfig) -> None:
        super().__init__(boxes, action, config)
        seen = seen_by(boxes, config.critic, "critic")
        if config.shared and seen.keys() != seen_by(boxes, config.actor, "actor").keys():
            raise ConfigError("cannot share one encoder: policy.actor and policy.critic name other keys")
        self.critic_encoder = self.actor_encoder if config.shared else Encoder(seen, config)
        self.critic = linear(self.critic_encoder.size, 1, gain=1.0)
        self.returns = RunningNorm(1)  # what the critic says is in its terms
        self._scales_returns = config.normalise_returns
        self._shared = config.shared

    @torch.inference_mode()
    def values(self, observations: Observations) -> Tensor:
        """The critic's estimates (N,) of the discounted return."""
        return self._value(self._encoded(self.critic_encoder, self._normalised(observations)))

    @torch.inference_mode()
    def judged(self, observations: Observations, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log probabilities of the actions and values, each (N,)."""
        log_probabilities, _, values = self.evaluate(observations, actions)
        return log_probabilities, values

    def evaluate(self, observations: Observations, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log probabilities of the actions, entropies and values, each (N,); for a loss."""
        normalised = self._normalised(observations)
        features = self._encoded(self.actor_encoder, normalised)
        numbers = self._actor_numbers(features)
        values = self._value(features if self._shared else self._encoded(self.critic_encoder, normalised))
        log_probabilities = self.distribution.log_probability(numbers, actions)
        return log_probabilities, self.distribution.entropy(numbers), values

    @torch.no_grad()
    def learn_return_scale(self, returns: Tensor, ranks: Ranks = ALONE) -> None:
        """Take returns (N,) into the critic's scale, where configured; its estimates stay as they are.

        Source: van Hasselt et al. 2016, "Learning values across many orders of magnitude".
        """
        if not self._scales_returns:
            return
        mean, deviation = self.returns.mean.clone(), self.returns.deviation
        self.returns.update(returns[:, None], ranks)
        self.critic.weight.mul_(deviation / self.returns.deviation)
        self.critic.bias.mul_(deviation).add_(mean - self.returns.mean).div_(self.returns.deviation)

    @property
    def return_deviation(self) -> Tensor:
        """What counts as 1 in the critic's loss, ()."""
        return self.returns.deviation[0] if self._scales_returns else self.returns.variance[0]

    def _value(self, features: Tensor) -> Tensor:
        value: Tensor = self.critic(features).squeeze(-1)
        return value * self.returns.deviation + self.returns.mean if self._scales_returns else value


def seen_by(boxes: Boxes, keys: tuple[str, ...], which: str) -> Boxes:
    """The parts of an observation that `policy.<which>` names; all where it names none."""
    if missing := [key for key in keys if key not in boxes]:
        raise ConfigError(
            f"policy.{which}: the environment shows no {', '.join(missing)}, only {', '.join(boxes)}"
        )
    return {key: boxes[key] for key in keys} if keys else boxes


def _is_vector(box: Box) -> bool:
    return len(box.shape) == 1 and box.dtype in (np.float32, np.float64)
