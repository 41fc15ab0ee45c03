"""Soft actor-critic on one page. Source: Haarnoja et al. 2018, https://arxiv.org/abs/1812.05905."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from gymnasium.spaces import Box
from torch import Tensor, nn
from torch.nn import functional

from carlad.errors import ConfigError
from trainer.config import PolicyConfig, SACConfig
from trainer.distributed import ALONE, Ranks
from trainer.distributions import Squashed
from trainer.encoders import Encoder, linear
from trainer.policy import Observations, Policy, seen_by
from trainer.replay import Minibatch
from trainer.spaces import Action, Boxes


class SoftActorCritic(Policy):
    """A policy and two estimates of the return after an action, with slower copies of both."""

    def __init__(self, boxes: Boxes, action: Action, config: PolicyConfig, alpha: float) -> None:
        """Raises ConfigError for actions that are not continuous and for keys that do not fit."""
        if not isinstance(action, Box) or config.distribution != "squashed":
            raise ConfigError(
                f"cannot learn by sac to act in {action} with policy.distribution = {config.distribution!r}: "
                f'it takes a Box and "squashed"; or set algorithm = "ppo"'
            )
        super().__init__(boxes, action, config)
        seen, size = seen_by(boxes, config.critic, "critic"), action.shape[0]
        self.critics = _Pair(Encoder(seen, config, size), Encoder(seen, config, size))
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(alpha)))

    def actor_parameters(self) -> list[nn.Parameter]:
        """Without the critics'."""
        return [*self.actor_encoder.parameters(), *self.actor.parameters()]

    def sample(self, observations: Observations, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Actions and their log probabilities, with gradients."""
        assert isinstance(self.distribution, Squashed)
        numbers = self._numbers(self._normalised(observations))
        return self.distribution.differentiable_sample(numbers, generator)

    def judged(self, observations: Observations, actions: Tensor, by_targets: bool = False) -> Tensor:
        """Both estimates (2, N) of the return after the actions, which are as the policy samples them."""
        normalised, applied = self._normalised(observations), actions.tanh()
        pair = self.targets if by_targets else self.critics
        one, two = (self._encoded(encoder, normalised, applied) for encoder in (pair.one, pair.two))
        return torch.cat([pair.one_head(one), pair.two_head(two)], -1).T

    @torch.no_grad()
    def move_targets(self, tau: float) -> None:
        """The copies go towards the critics by the share `tau`."""
        for target, critic in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
            target.lerp_(critic, tau)


class _Pair(nn.Module):
    """Two critics, of which the lower estimate counts."""

    def __init__(self, one: Encoder, two: Encoder) -> None:
        super().__init__()
        self.one, self.two = one, two
        self.one_head, self.two_head = linear(one.size, 1, gain=1.0), linear(two.size, 1, gain=1.0)


class SACLosses(NamedTuple):
    """Means over the gradient steps of a round."""

    policy: float
    value: float
    entropy: float
    alpha: float
    q: float


class SAC:
    """Improves `policy` in place, together with the other processes of `ranks`."""

    def __init__(
        self, policy: SoftActorCritic, config: SACConfig, generator: torch.Generator, ranks: Ranks = ALONE
    ) -> None:
        """`generator` is on the policy's device."""
        self.policy, self.config = policy, config
        self._generator, self._ranks = generator, ranks
        groups = list(policy.critics.parameters()), policy.actor_parameters(), [policy.log_alpha]
        self.optimizers = [torch.optim.Adam(group, lr=config.learning_rate) for group in groups]
        self._groups = groups
        parts = len(policy.an_action())
        self._entropy_target = -float(parts) if config.entropy_target is None else config.entropy_target

    def step(self, batch: Minibatch) -> Tensor:
        """One gradient step of critics, actor and alpha; returns the losses in their order."""
        policy, config, alpha = self.policy, self.config, self.policy.log_alpha.exp().detach()
        with torch.no_grad():
            actions, log_probabilities = policy.sample(batch.following, self._generator)
            worth = (
                policy.judged(batch.following, actions, by_targets=True).amin(0) - alpha * log_probabilities
            )
            goals = batch.rewards + config.gamma * worth * ~batch.terminated
        judged = policy.judged(batch.observations, batch.actions)
        value_loss = functional.mse_loss(judged, goals.expand_as(judged)) * len(judged) / 2
        self._descend(0, value_loss)

        actions, log_probabilities = policy.sample(batch.observations, self._generator)
        worth = policy.judged(batch.observations, actions).amin(0)
        policy_loss = (alpha * log_probabilities - worth).mean()
        self._descend(1, policy_loss)

        entropy = -log_probabilities.detach().mean()
        self._descend(2, policy.log_alpha * (entropy - self._entropy_target))
        policy.move_targets(config.tau)
        return torch.stack(
            [policy_loss.detach(), value_loss.detach(), entropy, alpha, judged.detach().mean()]
        )

    def _descend(self, group: int, loss: Tensor) -> None:
        optimizer, parameters = self.optimizers[group], self._groups[group]
        optimizer.zero_grad()
        loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
        self._ranks.average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, self.config.gradient_norm_max)
        optimizer.step()
