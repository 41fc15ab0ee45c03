"""Each distribution against numerical integration and against its own samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from trainer.distributions import Categorical, Distribution, Kind, Squashed, distribution

BOX = Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 10.0], np.float32))
ONE = Box(-1.0, 1.0, (1,))
KINDS: tuple[Kind, ...] = ("gaussian", "squashed", "beta")


def made(kind: Kind, box: Box = BOX) -> Distribution:
    torch.manual_seed(0)
    return distribution(box, kind, log_std=-0.5)


def numbers(of: Distribution, rows: int) -> Tensor:
    return torch.randn(rows, of.inputs, generator=torch.Generator().manual_seed(3))


def sampled(of: Distribution, given: Tensor, seed: int = 1) -> Tensor:
    return torch.from_numpy(of.sample(given.numpy(), np.random.default_rng(seed)))


def grid(kind: Kind) -> Tensor:
    """Actions of one dimension, as the learner keeps them, that reach as far as the density does."""
    return torch.linspace(1e-4, 1 - 1e-4, 20_001) if kind == "beta" else torch.linspace(-12, 12, 20_001)


def test_a_differentiable_sample_has_the_log_probabilities_that_the_loss_computes() -> None:
    of = made("squashed")
    assert isinstance(of, Squashed)
    given = numbers(of, 100).requires_grad_()
    actions, log_probabilities = of.differentiable_sample(given, torch.Generator().manual_seed(1))
    torch.testing.assert_close(of.log_probability(given, actions), log_probabilities, atol=1e-4, rtol=1e-4)
    actions.sum().backward()
    assert given.grad is not None
    assert (given.grad != 0).all()


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
    many = given.expand(200_000, -1)
    log_probabilities = of.log_probability(many, sampled(of, many))
    assert of.entropy(given).item() == pytest.approx(-log_probabilities.mean().item(), abs=0.02)


@pytest.mark.parametrize("kind", ["squashed", "beta"])
def test_bounded_actions_stay_within_the_space(kind: Kind) -> None:
    of = made(kind)
    given = 30 * numbers(of, 1000)
    actions = sampled(of, given)
    assert torch.isfinite(of.log_probability(given, actions)).all()
    env = of.to_env(actions.numpy())
    assert (env >= BOX.low - 1e-5).all()
    assert (env <= BOX.high + 1e-5).all()
    assert env.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
def test_the_middle_of_the_space_is_where_an_untrained_actor_aims(kind: Kind) -> None:
    of = made(kind)
    np.testing.assert_allclose(
        of.to_env(of.best(torch.zeros(1, of.inputs)).numpy())[0], [0.0, 5.0], atol=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_generator_gives_the_same_actions(kind: Kind) -> None:
    of = made(kind)
    given = numbers(of, 5)
    first, second, other = sampled(of, given), sampled(of, given), sampled(of, given, seed=2)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_actor(kind: Kind) -> None:
    of = made(kind)
    given = numbers(of, 4).requires_grad_()
    actions = sampled(of, given.detach())
    (of.log_probability(given, actions).sum() + of.entropy(given).sum()).backward()
    assert given.grad is not None
    assert torch.isfinite(given.grad).all()
    assert given.grad.abs().sum() > 0


def test_unbounded_parts_of_a_space_get_actions_as_they_are() -> None:
    of = distribution(Box(-np.inf, np.inf, (2,)), "gaussian", 0.0)
    np.testing.assert_array_equal(of.to_env(np.array([[3.0, -7.0]])), [[3.0, -7.0]])


def test_a_categorical_distribution_is_that_of_torch() -> None:
    of = distribution(Discrete(3, start=5), "gaussian", 0.0)
    assert isinstance(of, Categorical)
    given = numbers(of, 1)
    theirs = torch.distributions.Categorical(logits=given)
    actions = sampled(of, given.expand(50_000, -1))
    torch.testing.assert_close(of.log_probability(given, actions[:1]), theirs.log_prob(actions[:1]))
    torch.testing.assert_close(of.entropy(given), theirs.entropy())
    shares = torch.bincount(actions, minlength=3) / len(actions)
    torch.testing.assert_close(shares, theirs.probs[0], atol=0.01, rtol=0.0)
    assert set(of.to_env(actions.numpy()).tolist()) == {5, 6, 7}
    assert of.best(given).item() == int(given.argmax())
