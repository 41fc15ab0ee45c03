from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from carlad.errors import ConfigError
from trainer import spaces
from trainer.acting import Acting
from trainer.config import PolicyConfig
from trainer.policy import ActorCritic

BOXES = {"state": Box(-5, 5, (5,)), "goal": Box(-5, 5, (2,)), "bev": Box(0, 255, (2, 40, 40), np.uint8)}
ACTIONS = Box(-1, 1, (2,))


def policy(action: spaces.Action = ACTIONS, **config: object) -> ActorCritic:
    torch.manual_seed(0)
    return ActorCritic(BOXES, action, PolicyConfig(hidden=(16,), features=8, **config))  # type: ignore[arg-type]


def seen(rows: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        "state": torch.randn(rows, 5, generator=generator),
        "goal": torch.randn(rows, 2, generator=generator),
        "bev": torch.randint(0, 256, (rows, 2, 40, 40), generator=generator, dtype=torch.uint8),
    }


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("action", [ACTIONS, Discrete(4)])
def test_the_loss_sees_what_was_acted_on(action: spaces.Action, shared: bool) -> None:
    learner, observations = policy(action, shared=shared), seen(6)
    actions = torch.from_numpy(Acting(learner, np.random.default_rng(1)).act(observations))
    log_probabilities, entropies, values = learner.evaluate(observations, actions)
    expected = learner.distribution.log_probability(learner.numbers(observations), actions)
    torch.testing.assert_close(log_probabilities.detach(), expected.detach())
    torch.testing.assert_close(values.detach(), learner.values(observations))
    torch.testing.assert_close(learner.judged(observations, actions), (expected.detach(), values.detach()))
    assert entropies.shape == (6,)
    assert (actions[0].shape, actions.dtype) == (learner.an_action().shape, learner.an_action().dtype)
    bounds = (action.low, action.high) if isinstance(action, Box) else (0, 3)  # the environment clips
    assert all(action.contains(one) for one in np.clip(learner.to_env(actions.numpy()), *bounds))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("normalise", [True, False])
def test_a_policy_of_vectors_acts_by_the_newest_weights_and_scales(activation: str, normalise: bool) -> None:
    boxes = {key: BOXES[key] for key in ("state", "goal")}
    config = PolicyConfig(hidden=(16, 8), activation=activation, normalise=normalise)  # type: ignore[arg-type]
    learner, observations = ActorCritic(boxes, ACTIONS, config), seen(7)
    acting = Acting(learner, np.random.default_rng(0))
    assert acting._vectors is not None
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.1)
    for _ in range(3):
        learner.learn_scale({key: 3 * observations[key] + 1 for key in boxes})
        learner.evaluate(observations, torch.zeros(7, 2))[0].sum().backward()
        optimizer.step()
        numbers = torch.from_numpy(acting._numbers(observations))
        torch.testing.assert_close(numbers, learner.numbers(observations), atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("action", [ACTIONS, Discrete(4)])
@pytest.mark.parametrize("bf16", [False, True])
def test_a_policy_on_a_gpu_acts_by_the_newest_weights_and_scales(action: spaces.Action, bf16: bool) -> None:
    learner = policy(action).to("cuda")
    learner.bf16 = bf16
    acting, optimizer = Acting(learner, np.random.default_rng(0)), torch.optim.Adam(learner.parameters())
    for rows in (1, 3, 8, 5, 16):
        observations = seen(rows)
        there = {key: part.to("cuda") for key, part in observations.items()}
        learner.learn_scale({key: 3 * part + 1 for key, part in there.items()})
        features = learner.actor_encoder(learner._normalised(there))
        learner.actor(features).square().sum().backward()
        optimizer.step()
        numbers = torch.from_numpy(acting._numbers(observations))
        torch.testing.assert_close(
            numbers, learner.numbers(there).cpu(), atol=2e-2 if bf16 else 1e-3, rtol=1e-2
        )


def test_the_critics_scale_moves_and_what_it_says_does_not() -> None:
    learner, observations = policy(normalise_returns=True), seen(20)
    before = learner.values(observations)
    learner.learn_return_scale(50 + 9 * torch.randn(100, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(learner.values(observations), before, atol=1e-3, rtol=1e-3)
    assert learner.return_deviation.item() == pytest.approx(9, rel=0.2)
    assert policy().return_deviation == 1


def test_actor_and_critic_see_only_what_they_are_to() -> None:
    learner, observations = policy(actor=("state", "bev"), critic=("state", "goal")), seen(4)
    hidden = observations | {"goal": torch.zeros(4, 2)}
    assert torch.equal(learner.best(hidden), learner.best(observations))
    assert not torch.equal(learner.values(hidden), learner.values(observations))
    blind = observations | {"bev": torch.zeros_like(observations["bev"])}
    assert torch.equal(learner.values(blind), learner.values(observations))
    assert not torch.equal(learner.best(blind), learner.best(observations))


def test_a_shared_encoder_is_there_once() -> None:
    assert sum(part.numel() for part in policy(shared=True).actor_encoder.parameters()) == sum(
        part.numel() for name, part in policy(shared=True).named_parameters() if "encoder" in name
    )


def test_vectors_are_normalised_and_images_are_not() -> None:
    learner, observations = policy(), seen(50)
    assert set(learner.norms) == {"state", "goal"}
    before = learner.values(observations)
    learner.learn_scale({key: 100 + 7 * observations[key] for key in learner.norms})
    moved = observations | {key: 100 + 7 * observations[key] for key in learner.norms}
    torch.testing.assert_close(learner.values(moved), before, atol=0.2, rtol=0.1)
    assert not policy(normalise=False).norms


def test_an_untrained_policy_means_to_do_nothing() -> None:
    assert np.abs(policy().to_env(policy().best(seen(100)).numpy())).max() < 0.1


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"actor": ("speed",)}, "policy.actor: the environment shows no speed, only state, goal, bev"),
        ({"critic": ("x", "state")}, "policy.critic: the environment shows no x"),
        ({"encoders": {"camera": "nature"}}, "policy.encoders: no observation is named camera"),
        ({"shared": True, "critic": ("state",)}, "cannot share one encoder"),
    ],
)
def test_keys_that_do_not_fit_are_refused(config: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        policy(**config)


def test_a_plain_box_is_an_observation_of_one_key() -> None:
    box, array = Box(-1, 1, (3,)), np.zeros(3, np.float32)
    assert spaces.boxes(box) == {spaces.ONLY: box}
    assert spaces.parts(array) == {spaces.ONLY: array}
    assert spaces.boxes(gymnasium.spaces.Dict({"state": box})) == {"state": box}
    assert spaces.parts({"state": array}) == {"state": array}


def test_spaces_that_cannot_be_learned_with_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"observation 'gear'.*is no Box"):
        spaces.boxes(gymnasium.spaces.Dict({"gear": Discrete(5)}))
    for action in (Box(-1, 1, (2, 2)), gymnasium.spaces.MultiBinary(3)):
        with pytest.raises(ConfigError, match="cannot learn to act in"):
            spaces.action(action)
