"""Each distribution against numerical integration and against its own samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from trainer.distributions import Categorical, Distribution, Kind, distribution

BOX = Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 10.0], np.float32))
ONE = Box(-1.0, 1.0, (1,))
KINDS: tuple[Kind, ...] = ("gaussian", "squashed", "beta")


def made(kind: Kind, box: Box = BOX) -> Distribution:
    torch.manual_seed(0)
    return distribution(box, kind, log_std=-0.5)


def numbers(of: Distribution, rows: int) -> Tensor:
    return torch.randn(rows, of.inputs, generator=torch.Generator().manual_seed(3))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def grid(kind: Kind) -> Tensor:
    """Actions of one dimension, as the learner keeps them, that reach as far as the density does."""
    return torch.linspace(1e-4, 1 - 1e-4, 20_001) if kind == "beta" else torch.linspace(-12, 12, 20_001)


@pytest.mark.parametrize("kind", KINDS)
def test_sampled_log_probabilities_are_those_that_the_loss_computes(kind: Kind) -> None:
    of = made(kind)
    given = numbers(of, 100)
    actions, log_probabilities = of.sample(given, generator())
    torch.testing.assert_close(of.log_probability(given, actions), log_probabilities, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_of_what_the_environment_gets_is_one_in_all(kind: Kind) -> None:
    """The squashed distribution's density is over tanh of what is kept: its slope is put back in."""
    of = made(kind, ONE)
    kept = grid(kind)
    density = of.log_probability(numbers(of, 1).expand(len(kept), -1), kept[:, None]).exp()
    slope = 1 - kept.tanh() ** 2 if kind == "squashed" else torch.ones_like(kept)
    assert float(torch.trapezoid((density * slope).detach(), kept)) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_entropy_is_the_mean_of_minus_log_probability(kind: Kind) -> None:
    of = made(kind)
    given = numbers(of, 1)
    _, log_probabilities = of.sample(given.expand(200_000, -1), generator())
    assert of.entropy(given).item() == pytest.approx(-log_probabilities.mean().item(), abs=0.02)


@pytest.mark.parametrize("kind", ["squashed", "beta"])
def test_bounded_actions_stay_within_the_space(kind: Kind) -> None:
    of = made(kind)
    given = 30 * numbers(of, 1000)
    actions, log_probabilities = of.sample(given, generator())
    assert torch.isfinite(log_probabilities).all()
    env = of.to_env(actions)
    assert (env >= BOX.low - 1e-5).all()
    assert (env <= BOX.high + 1e-5).all()
    assert env.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
def test_the_middle_of_the_space_is_where_an_untrained_actor_aims(kind: Kind) -> None:
    of = made(kind)
    np.testing.assert_allclose(of.to_env(of.best(torch.zeros(1, of.inputs)))[0], [0.0, 5.0], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_generator_gives_the_same_actions(kind: Kind) -> None:
    of = made(kind)
    given = numbers(of, 5)
    first, second = of.sample(given, generator())[0], of.sample(given, generator())[0]
    other = of.sample(given, torch.Generator().manual_seed(2))[0]
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_actor(kind: Kind) -> None:
    of = made(kind)
    given = numbers(of, 4).requires_grad_()
    actions, _ = of.sample(given.detach(), generator())
    (of.log_probability(given, actions).sum() + of.entropy(given).sum()).backward()
    assert given.grad is not None
    assert torch.isfinite(given.grad).all()
    assert given.grad.abs().sum() > 0


def test_unbounded_parts_of_a_space_get_actions_as_they_are() -> None:
    of = distribution(Box(-np.inf, np.inf, (2,)), "gaussian", 0.0)
    np.testing.assert_array_equal(of.to_env(torch.tensor([[3.0, -7.0]])), [[3.0, -7.0]])


def test_a_categorical_distribution_is_that_of_torch() -> None:
    of = distribution(Discrete(3, start=5), "gaussian", 0.0)
    assert isinstance(of, Categorical)
    given = numbers(of, 1)
    theirs = torch.distributions.Categorical(logits=given)
    actions, log_probabilities = of.sample(given.expand(50_000, -1), generator())
    torch.testing.assert_close(log_probabilities, theirs.log_prob(actions))
    torch.testing.assert_close(of.entropy(given), theirs.entropy())
    shares = torch.bincount(actions, minlength=3) / len(actions)
    torch.testing.assert_close(shares, theirs.probs[0], atol=0.01, rtol=0.0)
    assert set(of.to_env(actions).tolist()) == {5, 6, 7}
    assert of.best(given).item() == int(given.argmax())
