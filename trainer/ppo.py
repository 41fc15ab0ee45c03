"""Proximal policy optimisation on one page. Source: Schulman et al. 2017, https://arxiv.org/abs/1707.06347."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainer.config import PPOConfig
from trainer.distributed import ALONE, Ranks
from trainer.policy import ActorCritic, Observations


class Batch(NamedTuple):
    """Experience to learn from, N steps; those in which a simulator was lost are left out."""

    observations: Observations
    """By key, more than N: `rows` says which are the steps'."""
    rows: Tensor  # int64 (N,)
    actions: Tensor  # (N, ...), as sampled
    log_probabilities: Tensor  # float32 (N,), of the actions when they were sampled
    advantages: Tensor  # float32 (N,)
    returns: Tensor  # float32 (N,), what the critic is to predict

    def seen(self, keys: Iterable[str], chosen: Tensor | slice = slice(None)) -> dict[str, Tensor]:
        """What was observed in the chosen steps."""
        rows = self.rows[chosen]
        return {key: self.observations[key][rows] for key in keys}


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
    """Improves `policy` in place, one batch at a time, together with the other processes of `ranks`."""

    def __init__(
        self, policy: ActorCritic, config: PPOConfig, generator: torch.Generator, ranks: Ranks = ALONE
    ) -> None:
        """`generator` is on the policy's device."""
        self.policy = policy
        self.config = config
        self.optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate, eps=1e-5)
        self.optimizers = [self.optimizer]
        self._generator, self._ranks = generator, ranks

    def update(self, batch: Batch, progress: float, stop: Callable[[], bool] = lambda: False) -> Losses:
        """Learn from `batch`; the learning rate falls linearly to 0 as `progress` goes from 0 to 1.

        It ends after the minibatch in which `stop` says so, to all processes alike, and counts as an update.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * (1.0 - progress)
        self.policy.learn_return_scale(batch.returns, self._ranks)
        steps = []
        for _ in range(self.config.epochs):
            losses = self._epoch(batch, stop)
            steps += losses
            if stop() or self._ranks.mean(torch.stack(losses)[:, 3].mean()) > self.config.kl_max:
                break
        policy, value, entropy, kl, clip_share = torch.stack(steps).mean(0).tolist()
        return Losses(policy, value, entropy, kl, clip_share, explained_variance(batch))

    def _epoch(self, batch: Batch, stop: Callable[[], bool]) -> list[Tensor]:
        """Once over the batch; returns each minibatch's losses."""
        losses = []
        for chosen in self._minibatches(len(batch.rows)):
            losses.append(self._step(batch, chosen))
            if stop():
                break
        return losses

    def _minibatches(self, size: int) -> Sequence[Tensor]:
        """All of `size` steps in random order, in parts of one size; as many parts as there always are."""
        order = torch.randperm(size, generator=self._generator, device=self._generator.device)
        return order.tensor_split(round(self.config.batch_steps / self.config.minibatch_steps))

    def _step(self, batch: Batch, chosen: Tensor) -> Tensor:
        """One gradient step on the minibatch of indices `chosen`; returns its losses, in their order."""
        advantages, returns = batch.advantages[chosen], batch.returns[chosen]
        log_probabilities, entropies, values = self.policy.evaluate(
            batch.seen(batch.observations, chosen), batch.actions[chosen]
        )
        log_ratio = log_probabilities - batch.log_probabilities[chosen]
        ratio = log_ratio.exp()
        advantages = (advantages - advantages.mean()) / (advantages.std(unbiased=False) + 1e-8)

        clipped = ratio.clamp(1 - self.config.clip, 1 + self.config.clip)
        policy_loss = -torch.min(ratio * advantages, clipped * advantages).mean()
        value_loss = 0.5 * ((values - returns) / self.policy.return_deviation).square().mean()
        entropy = entropies.mean()
        loss = policy_loss + self.config.value_weight * value_loss - self.config.entropy_weight * entropy

        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._ranks.average_gradients(self.policy.parameters())
        nn.utils.clip_grad_norm_(self.policy.parameters(), self.config.gradient_norm_max)
        self.optimizer.step()
        with torch.no_grad():
            kl = (ratio - 1 - log_ratio).mean()
            clip_share = ((ratio - 1).abs() > self.config.clip).float().mean()
            return torch.stack([policy_loss, value_loss, entropy, kl, clip_share])


def explained_variance(batch: Batch) -> float:
    """The critic missed the returns by the advantages."""
    variance = batch.returns.var(unbiased=False)
    return float(1 - batch.advantages.var(unbiased=False) / variance) if variance > 0 else 0.0
