"""Run by torchrun: two processes that learn together, each on half of the experience, and check it."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box

from trainer.acting import Acting
from trainer.config import PolicyConfig, PPOConfig
from trainer.distributed import Ranks, joined
from trainer.normalisation import RunningNorm
from trainer.policy import ActorCritic
from trainer.ppo import PPO, Batch

N = 64


def main() -> None:
    with joined("cpu") as (ranks, device):
        assert (ranks.size, device.type) == (2, "cpu")
        half = slice(0, N // 2) if ranks.is_first else slice(N // 2, N)
        _gradients(ranks, half)
        _scale(ranks, half)
        _decisions(ranks)
        _weights(ranks)
    print("agreed", flush=True)


def _gradients(ranks: Ranks, half: slice) -> None:
    torch.manual_seed(0)
    layers, data = [torch.nn.Linear(3, 2) for _ in range(2)], torch.randn(N, 3)
    layers[1].load_state_dict(layers[0].state_dict())
    layers[0](data).square().mean().backward()
    layers[1](data[half]).square().mean().backward()
    ranks.average_gradients(layers[1].parameters())
    for whole, shared in zip(layers[0].parameters(), layers[1].parameters(), strict=True):
        torch.testing.assert_close(whole.grad, shared.grad)


def _scale(ranks: Ranks, half: slice) -> None:
    data = torch.randn(N, 3, generator=torch.Generator().manual_seed(1)) * 3 + 5
    whole, shared = RunningNorm(3), RunningNorm(3)
    for part in data.split(N // 2):
        whole.update(part)
    shared.update(data[half], ranks)
    torch.testing.assert_close(shared.state_dict(), whole.state_dict())


def _decisions(ranks: Ranks) -> None:
    assert ranks.any(ranks.is_first)
    assert not ranks.any(False)
    assert ranks.gather(ranks.rank) == [0, 1]


def _weights(ranks: Ranks) -> None:
    """Other experience in each process, of another size; the same weights afterwards."""
    torch.manual_seed(0)
    policy = ActorCritic({"state": Box(-1, 1, (2,))}, Box(-1, 1, (1,)), PolicyConfig(hidden=(8,)))
    generator = torch.Generator().manual_seed(ranks.rank)
    ppo = PPO(policy, PPOConfig(batch_steps=64, minibatch_steps=16), generator, ranks)
    size = 60 + 7 * ranks.rank
    observations = {"state": torch.randn(size, 2, generator=generator)}
    actions = torch.from_numpy(Acting(policy, np.random.default_rng(ranks.rank)).act(observations))
    log_probabilities = policy.judged(observations, actions)[0].clone()
    advantages = torch.randn(size, generator=generator)
    rows = torch.arange(size)
    ppo.update(Batch(observations, rows, actions, log_probabilities, advantages, advantages), 0.0)
    mine = torch.cat([part.detach().flatten() for part in policy.parameters()])
    one, two = ranks.gather(mine)
    assert torch.equal(one, two)


if __name__ == "__main__":
    main()
