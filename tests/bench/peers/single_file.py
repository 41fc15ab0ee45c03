"""PPO as CleanRL writes it: one loop over a Gymnasium vector environment, tensors filled step by step.

What it does follows CleanRL's `ppo_continuous_action`, https://docs.cleanrl.dev/rl-algorithms/ppo/: separate
tanh networks, one log standard deviation for each action, advantages normalised in each minibatch, clipped
losses of policy and value, normalised observations, and no difference between truncation and termination.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.wrappers.utils import RunningMeanStd
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Normal

from carlad.session.environment import Server
from tests.bench.peers.contender import POLICY, PPO
from tests.bench.peers.environments import StateRoute
from trainer.drivers import Drive, Driver
from trainer.encoders import linear, mlp

Floats = NDArray[np.float32]
_CLIP = 10.0


def normalised(observations: Floats, scale: RunningMeanStd) -> Tensor:
    """By the mean and variance of those so far."""
    found = (observations - scale.mean) / np.sqrt(scale.var + 1e-8)
    return torch.as_tensor(found.clip(-_CLIP, _CLIP), dtype=torch.float32)


class Agent(nn.Module):
    """Actor and critic, each by a network of its own."""

    def __init__(self, observations: int, actions: int) -> None:
        super().__init__()
        size = POLICY.hidden[-1]
        self.mean, self.value = (
            nn.Sequential(mlp(observations, POLICY.hidden, POLICY.activation), linear(size, outputs, gain))
            for outputs, gain in ((actions, 0.01), (1, 1.0))
        )
        self.log_std = nn.Parameter(torch.full((actions,), POLICY.log_std))

    def distribution(self, observations: Tensor) -> Normal:
        return Normal(self.mean(observations), self.log_std.exp())


class SingleFile:
    """The same networks and hyperparameters as ours."""

    def __init__(self, servers: Sequence[Server], slow: int, seed: int) -> None:
        """The first `slow` environments are slow."""
        makers: list[Any] = [partial(StateRoute, server, i < slow) for i, server in enumerate(servers)]
        self._env = AsyncVectorEnv(makers, context="forkserver", autoreset_mode=AutoresetMode.SAME_STEP)
        torch.manual_seed(seed)
        observation_space, action_space = self._env.single_observation_space, self._env.single_action_space
        assert observation_space.shape is not None
        assert action_space.shape is not None
        (observations,), (actions,) = observation_space.shape, action_space.shape
        self._scale = RunningMeanStd(shape=observation_space.shape)
        self._agent = Agent(observations, actions)
        self._adam = torch.optim.Adam(self._agent.parameters(), lr=PPO.learning_rate, eps=1e-5)
        self._ended = torch.zeros(len(servers))
        first, _ = self._env.reset(seed=seed)
        self._next = self._seen(first)
        steps, shape = PPO.batch_steps // len(servers), (len(servers),)
        self._observations = torch.zeros(steps, *shape, observations)
        self._actions = torch.zeros(steps, *shape, actions)
        self._logs, self._rewards, self._ends, self._values = (torch.zeros(steps, *shape) for _ in range(4))

    def learn(self) -> int:
        for step in range(len(self._rewards)):
            self._step(step)
        advantages = self._advantages()
        returns = (advantages + self._values).flatten()
        size = returns.numel()
        for _ in range(PPO.epochs):
            for chosen in torch.randperm(size).split(PPO.minibatch_steps):
                self._improve(chosen, advantages.flatten(), returns)
        return size

    def driver(self) -> Driver:
        return _Driver(self._agent, self._scale)

    def close(self) -> None:
        self._env.close()

    @torch.no_grad()
    def _step(self, step: int) -> None:
        self._observations[step], self._ends[step] = self._next, self._ended
        distribution = self._agent.distribution(self._next)
        action = distribution.sample()
        self._actions[step], self._logs[step] = action, distribution.log_prob(action).sum(-1)
        self._values[step] = self._agent.value(self._next).squeeze(-1)
        following, reward, terminated, truncated, _ = self._env.step(action.numpy())
        self._rewards[step] = torch.as_tensor(reward, dtype=torch.float32)
        self._next = self._seen(following)
        self._ended = torch.as_tensor(np.logical_or(terminated, truncated), dtype=torch.float32)

    def _seen(self, observations: Floats) -> Tensor:
        self._scale.update(observations)
        return normalised(observations, self._scale)

    @torch.no_grad()
    def _advantages(self) -> Tensor:
        advantages, last = torch.zeros_like(self._rewards), torch.zeros_like(self._ended)
        value, going_on = self._agent.value(self._next).squeeze(-1), 1 - self._ended
        for step in reversed(range(len(advantages))):
            error = self._rewards[step] + PPO.gamma * value * going_on - self._values[step]
            advantages[step] = last = error + PPO.gamma * PPO.gae_lambda * going_on * last
            value, going_on = self._values[step], 1 - self._ends[step]
        return advantages

    def _improve(self, chosen: Tensor, advantages: Tensor, returns: Tensor) -> None:
        observations, actions = self._observations.flatten(0, 1)[chosen], self._actions.flatten(0, 1)[chosen]
        distribution = self._agent.distribution(observations)
        ratio = (distribution.log_prob(actions).sum(-1) - self._logs.flatten()[chosen]).exp()
        advantage = advantages[chosen]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        clipped = ratio.clamp(1 - PPO.clip, 1 + PPO.clip)
        policy_loss = -torch.min(advantage * ratio, advantage * clipped).mean()

        values, before, target = (
            self._agent.value(observations).squeeze(-1),
            self._values.flatten()[chosen],
            returns[chosen],
        )
        near = before + (values - before).clamp(-PPO.clip, PPO.clip)
        value_loss = 0.5 * torch.max((values - target).square(), (near - target).square()).mean()
        entropy = distribution.entropy().sum(-1).mean()

        self._adam.zero_grad()
        (policy_loss + PPO.value_weight * value_loss - PPO.entropy_weight * entropy).backward()
        nn.utils.clip_grad_norm_(self._agent.parameters(), PPO.gradient_norm_max)
        self._adam.step()


class _Driver:
    def __init__(self, agent: Agent, scale: RunningMeanStd) -> None:
        self._agent, self._scale = agent, scale

    def begin(self, seed: int) -> Drive:
        return self._best

    @torch.no_grad()
    def _best(self, observation: Any) -> Any:
        return self._agent.mean(normalised(observation["state"], self._scale)).numpy()
