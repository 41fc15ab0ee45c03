"""Running means and variances that bring observations to one scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_CLIP = 10.0  # of what is normalised, in standard deviations


class RunningNorm(nn.Module):
    """Scales vectors by the mean and variance of all that `update` has seen; starts as the identity."""

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, vectors: Tensor) -> None:
        """Take in vectors (N, size). Source: Chan et al. 1979, the parallel variance."""
        added = float(len(vectors))
        total = float(self.count) + added
        delta = vectors.mean(0) - self.mean
        squares = self.variance * float(self.count) + vectors.var(0, unbiased=False) * added
        self.variance.copy_((squares + delta**2 * float(self.count) * added / total) / total)
        self.mean.add_(delta * added / total)
        self.count.fill_(total)

    def forward(self, vectors: Tensor) -> Tensor:
        scaled = (vectors - self.mean) / torch.sqrt(self.variance + 1e-4)
        return scaled.clamp(-_CLIP, _CLIP)
