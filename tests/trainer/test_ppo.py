from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box

from trainer.acting import Acting
from trainer.config import PolicyConfig, PPOConfig
from trainer.policy import ActorCritic
from trainer.ppo import PPO, Batch


def learner(**config: float) -> PPO:
    """Its batches are of 512 steps."""
    torch.manual_seed(0)
    boxes, actions = {"state": Box(-1, 1, (2,))}, Box(-1, 1, (1,))
    policy = ActorCritic(boxes, actions, PolicyConfig(hidden=(16,)))
    return PPO(policy, PPOConfig(batch_steps=512, **config), torch.Generator().manual_seed(0))  # type: ignore[arg-type]


def experience(ppo: PPO, seed: int = 0) -> Batch:
    """One-step episodes in which an action is the better the nearer it is to the observation's first part."""
    generator = torch.Generator().manual_seed(seed)
    observations = torch.rand(512, 2, generator=generator) * 2 - 1
    acting = Acting(ppo.policy, np.random.default_rng(seed))
    actions = torch.from_numpy(acting.act({"state": observations}))
    log_probabilities = ppo.policy.judged({"state": observations}, actions)[0].clone()
    rewards = -((actions[:, 0] - observations[:, 0]) ** 2)
    advantages = rewards - ppo.policy.values({"state": observations}).clone()
    return Batch({"state": observations}, torch.arange(512), actions, log_probabilities, advantages, rewards)


def mean_error(ppo: PPO) -> float:
    observations = torch.rand(500, 2, generator=torch.Generator().manual_seed(9)) * 2 - 1
    return float((ppo.policy.best({"state": observations})[:, 0] - observations[:, 0]).abs().mean())


def test_it_learns_to_act_on_what_it_observes() -> None:
    ppo = learner(learning_rate=5e-3)
    before = mean_error(ppo)
    for seed in range(40):
        ppo.update(experience(ppo, seed), progress=0.0)
    assert before > 0.4
    assert mean_error(ppo) < 0.15


def test_a_learning_rate_of_zero_changes_nothing() -> None:
    ppo = learner(learning_rate=0.0)
    before = [parameter.clone() for parameter in ppo.policy.parameters()]
    losses = ppo.update(experience(ppo), progress=0.0)
    assert losses.kl < 1e-5
    assert losses.clip_share == 0.0
    for old, new in zip(before, ppo.policy.parameters(), strict=True):
        torch.testing.assert_close(old, new.detach(), atol=0.0, rtol=0.0)


def test_the_learning_rate_falls_to_zero_with_the_progress() -> None:
    ppo = learner(learning_rate=1e-3)
    for progress, expected in ((0.0, 1e-3), (0.75, 2.5e-4), (1.0, 0.0)):
        ppo.update(experience(ppo), progress)
        np.testing.assert_allclose(ppo.optimizer.param_groups[0]["lr"], expected)


def test_an_update_that_strays_too_far_ends_early() -> None:
    ppo = learner(learning_rate=0.05, kl_max=1e-4, epochs=50, minibatch_steps=512)
    ppo.update(experience(ppo), progress=0.0)
    assert ppo.optimizer.state[next(ppo.policy.actor.parameters())]["step"] < 5


def test_an_update_that_is_stopped_ends_with_its_minibatch() -> None:
    ppo = learner(minibatch_steps=128, epochs=8)
    answers = iter([False, True])
    losses = ppo.update(experience(ppo), progress=0.0, stop=lambda: next(answers, True))
    assert ppo.optimizer.state[next(ppo.policy.actor.parameters())]["step"] == 2
    assert np.isfinite(losses).all()


def test_the_explained_variance_tells_a_good_critic_from_a_new_one() -> None:
    ppo = learner(learning_rate=1e-2)
    batch = experience(ppo)
    explained = []
    for _ in range(30):
        returns = batch.observations["state"][:, 0]
        missed = returns - ppo.policy.values(batch.observations).clone()
        batch = batch._replace(returns=returns, advantages=missed)
        explained.append(ppo.update(batch, progress=0.0).explained_variance)
    assert explained[0] < 0.2
    assert explained[-1] > 0.9
