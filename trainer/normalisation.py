"""Running means and variances that bring observations and returns to one scale."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainer.distributed import ALONE, Ranks

CLIP = 10.0  # of what is normalised, in standard deviations
_VARIANCE_MIN = 1e-4


class RunningNorm(nn.Module):
    """Scales vectors by the mean and variance of all that `update` has seen; starts as the identity."""

    mean: Tensor
    variance: Tensor
    count: Tensor
    inverse: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("inverse", 1 / self.deviation, persistent=False)

    @property
    def deviation(self) -> Tensor:
        """(size,), never 0."""
        return torch.sqrt(self.variance + _VARIANCE_MIN)

    @torch.no_grad()
    def update(self, vectors: Tensor, ranks: Ranks = ALONE) -> None:
        """Take in vectors (N, size), of all processes. Source: Chan et al. 1979, the parallel variance."""
        away = vectors.double() - self.mean
        sizes = torch.full_like(away[0], len(away))
        added, first, second = ranks.sum(torch.stack([sizes, away.sum(0), away.square().sum(0)]))
        delta = first / added  # of their mean from the mean so far
        squares = self.variance * self.count + second - added * delta**2
        total = self.count + added
        self.variance.copy_((squares + delta**2 * self.count * added / total) / total)
        self.mean.add_(delta * added / total)
        self.count.copy_(total.max())
        self.inverse.copy_(1 / self.deviation)

    def forward(self, vectors: Tensor) -> Tensor:
        return ((vectors - self.mean) * self.inverse).clamp(-CLIP, CLIP)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self.inverse.copy_(1 / self.deviation)
