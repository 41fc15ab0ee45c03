from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from carlad.errors import ConfigError
from trainer.acting import Acting
from trainer.config import PolicyConfig, SACConfig
from trainer.replay import Minibatch
from trainer.sac import SAC, SACLosses, SoftActorCritic

BOXES, ACTIONS = {"state": Box(-1, 1, (2,))}, Box(-1, 1, (1,))
CONFIG = PolicyConfig(hidden=(32,), distribution="squashed", activation="relu", normalise=False)


def learner(**config: float) -> SAC:
    torch.manual_seed(0)
    policy = SoftActorCritic(BOXES, ACTIONS, CONFIG, alpha=0.1)
    return SAC(policy, SACConfig(**config), torch.Generator().manual_seed(0))  # type: ignore[arg-type]


def one_step_episodes(sac: SAC, seed: int, terminated: bool = True) -> Minibatch:
    """An action is the better the nearer it is to the observation's first part."""
    generator = torch.Generator().manual_seed(seed)
    observations = {"state": torch.rand(256, 2, generator=generator) * 2 - 1}
    actions = torch.from_numpy(Acting(sac.policy, np.random.default_rng(seed)).act(observations))
    rewards = -((actions.tanh()[:, 0] - observations["state"][:, 0]) ** 2)
    ends = torch.full((256,), terminated)
    return Minibatch(observations, actions, rewards, observations, ends)


def mean_error(sac: SAC) -> float:
    observations = torch.rand(500, 2, generator=torch.Generator().manual_seed(9)) * 2 - 1
    best = torch.from_numpy(sac.policy.to_env(sac.policy.best({"state": observations}).numpy()))
    return float((best[:, 0] - observations[:, 0]).abs().mean())


def test_it_learns_to_act_on_what_it_observes() -> None:
    sac = learner(learning_rate=5e-3)
    before = mean_error(sac)
    for seed in range(250):
        losses = SACLosses(*sac.step(one_step_episodes(sac, seed)).tolist())
    assert before > 0.4
    assert mean_error(sac) < 0.15
    assert losses.value < 0.05


def test_the_critics_learn_what_is_still_to_come_after_a_truncation() -> None:
    """A reward of 1 for ever is worth 1 / (1 - gamma), and one that ends the task 1."""
    for terminated, worth in ((False, 2.0), (True, 1.0)):
        sac = learner(learning_rate=5e-3, gamma=0.5, tau=0.2, alpha=1e-6)
        for seed in range(200):
            batch = one_step_episodes(sac, seed, terminated)
            sac.step(batch._replace(rewards=torch.ones(256)))
        with torch.no_grad():
            judged = sac.policy.judged(batch.observations, batch.actions)
        assert judged.mean().item() == pytest.approx(worth, abs=0.2)


def test_alpha_rises_while_there_is_less_entropy_than_there_should_be() -> None:
    for target, direction in ((10.0, 1), (-10.0, -1)):
        sac = learner(entropy_target=target)
        before = sac.policy.log_alpha.item()
        for seed in range(5):
            sac.step(one_step_episodes(sac, seed))
        assert (sac.policy.log_alpha.item() - before) * direction > 0


def test_the_targets_follow_the_critics_slowly() -> None:
    sac = learner(tau=0.25)
    targets = copy.deepcopy(sac.policy.targets)
    sac.step(one_step_episodes(sac, 1))
    for old, target, critic in zip(
        targets.parameters(), sac.policy.targets.parameters(), sac.policy.critics.parameters(), strict=True
    ):
        torch.testing.assert_close(target, old.lerp(critic, 0.25))
        assert not target.requires_grad


@pytest.mark.parametrize(
    ("action", "config"), [(Discrete(3), CONFIG), (ACTIONS, PolicyConfig(distribution="beta"))]
)
def test_actions_that_it_cannot_learn_are_refused(action: Box | Discrete, config: PolicyConfig) -> None:
    with pytest.raises(ConfigError, match=r'cannot learn by sac .* or set algorithm = "ppo"'):
        SoftActorCritic(BOXES, action, config, alpha=0.1)
