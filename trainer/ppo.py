"""Proximal policy optimisation on one page. Source: Schulman et al. 2017, https://arxiv.org/abs/1707.06347."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainer.config import PPOConfig
from trainer.policy import GaussianPolicy


class Batch(NamedTuple):
    """Experience to learn from, N steps; those in which a simulator was lost are left out."""

    observations: Tensor  # float32 (N, observation_size)
    actions: Tensor  # float32 (N, action_size), as sampled
    log_probabilities: Tensor  # float32 (N,), of the actions when they were sampled
    advantages: Tensor  # float32 (N,)
    returns: Tensor  # float32 (N,), what the critic is to predict


class Losses(NamedTuple):
    """Means over the minibatches of an update."""

    policy: float
    value: float
    entropy: float
    kl: float
    """Approximate divergence of the new policy from the one that sampled, (r - 1) - log r."""
    clip_share: float
    explained_variance: float
    """1 - Var(return - value) / Var(return) before the update: 1 is a perfect critic, 0 a constant one."""


class PPO:
    """Improves `policy` in place, one batch at a time."""

    def __init__(self, policy: GaussianPolicy, config: PPOConfig, generator: torch.Generator) -> None:
        self.policy = policy
        self.config = config
        self.optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate, eps=1e-5)
        self._generator = generator

    def update(self, batch: Batch, progress: float) -> Losses:
        """Learn from `batch`; the learning rate falls linearly to 0 as `progress` goes from 0 to 1."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * (1.0 - progress)
        explained_variance = self._explained_variance(batch)
        steps = []
        for _ in range(self.config.epochs):
            order = torch.randperm(len(batch.actions), generator=self._generator)
            losses = [self._step(batch, chosen) for chosen in torch.split(order, self.config.minibatch_steps)]
            steps += losses
            if sum(loss[3] for loss in losses) / len(losses) > self.config.kl_max:
                break
        policy, value, entropy, kl, clip_share = torch.tensor(steps).mean(0).tolist()
        return Losses(policy, value, entropy, kl, clip_share, explained_variance)

    def _step(self, batch: Batch, chosen: Tensor) -> tuple[float, float, float, float, float]:
        """One gradient step on the minibatch of indices `chosen`."""
        observations, actions, old_log_probabilities, advantages, returns = (part[chosen] for part in batch)
        log_probabilities, entropy, values = self.policy.evaluate(observations, actions)
        log_ratio = log_probabilities - old_log_probabilities
        ratio = log_ratio.exp()
        advantages = (advantages - advantages.mean()) / (advantages.std(unbiased=False) + 1e-8)

        clipped = ratio.clamp(1 - self.config.clip, 1 + self.config.clip)
        policy_loss = -torch.min(ratio * advantages, clipped * advantages).mean()
        value_loss = 0.5 * (values - returns).square().mean()
        loss = policy_loss + self.config.value_weight * value_loss - self.config.entropy_weight * entropy

        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.policy.parameters(), self.config.gradient_norm_max)
        self.optimizer.step()
        with torch.no_grad():
            kl = (ratio - 1 - log_ratio).mean()
            clip_share = ((ratio - 1).abs() > self.config.clip).float().mean()
        return policy_loss.item(), value_loss.item(), entropy.item(), kl.item(), clip_share.item()

    def _explained_variance(self, batch: Batch) -> float:
        variance = batch.returns.var(unbiased=False)
        residual = (batch.returns - self.policy.values(batch.observations)).var(unbiased=False)
        return float(1 - residual / variance) if variance > 0 else 0.0
