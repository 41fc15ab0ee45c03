from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.config import PolicyConfig
from trainer.policy import GaussianPolicy, RunningNorm


def policy(seed: int = 0) -> GaussianPolicy:
    torch.manual_seed(seed)
    return GaussianPolicy(5, 2, PolicyConfig(hidden=(16,)))


def test_the_norm_starts_as_the_identity() -> None:
    observations = torch.randn(7, 3)
    torch.testing.assert_close(RunningNorm(3)(observations), observations, atol=1e-3, rtol=1e-3)


def test_the_norm_of_several_batches_is_that_of_all_at_once() -> None:
    norm, data = RunningNorm(3), torch.randn(100, 3) * 5 + 2
    for part in data.split([1, 9, 50, 40]):
        norm.update(part)
    torch.testing.assert_close(norm.mean, data.mean(0))
    torch.testing.assert_close(norm.variance, data.var(0, unbiased=False))
    assert norm(data).std() == pytest.approx(1.0, abs=0.05)


def test_a_constant_input_does_not_explode() -> None:
    norm = RunningNorm(1)
    norm.update(torch.full((1000, 1), 3.0))
    assert norm(torch.tensor([[3.1]])).abs().item() <= 10.0


def test_log_probabilities_are_those_of_the_normal_distribution() -> None:
    learner, observations = policy(), torch.randn(6, 5)
    actions, log_probabilities = learner.act(observations, torch.Generator().manual_seed(1))
    distribution = torch.distributions.Normal(learner.best(observations), learner.log_std.exp())
    expected = distribution.log_prob(actions).sum(-1)
    torch.testing.assert_close(log_probabilities, expected.detach())
    again, entropy, values = learner.evaluate(observations, actions.clone())
    torch.testing.assert_close(again, log_probabilities)
    torch.testing.assert_close(entropy, distribution.entropy().sum(-1)[0])
    torch.testing.assert_close(values.detach(), learner.values(observations))


def test_the_same_generator_gives_the_same_actions() -> None:
    learner, observations = policy(), torch.randn(3, 5)
    first, second, third = (
        learner.act(observations, torch.Generator().manual_seed(seed))[0].numpy() for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)


def test_an_untrained_policy_means_to_do_nothing() -> None:
    assert policy().best(torch.randn(100, 5)).abs().max() < 0.1
