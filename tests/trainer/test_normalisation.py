from __future__ import annotations

import pytest
import torch

from trainer.normalisation import RunningNorm


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
