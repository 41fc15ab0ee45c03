"""Networks that turn an observation's parts into one vector of features."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from gymnasium.spaces import Box
from torch import Tensor, nn
from torch.nn import functional

from carlad.errors import ConfigError
from trainer.config import EncoderKind, PolicyConfig

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)

_POINTS_AT_ONCE = 2**14  # of which a layer's features stay near the processor


class Encoder(nn.Module):
    """Each part by a network of its own, vectors as they are; all of them then through one MLP.

    Parts are float32 or uint8 (N, *shape of the part's box); features are float32 (N, size).
    """

    def __init__(self, boxes: Mapping[str, Box], config: PolicyConfig, extra: int = 0) -> None:
        """`extra` numbers come in addition. Raises ConfigError for a part that its encoder cannot take."""
        super().__init__()
        kinds = {key: config.encoders.get(key) or _default(key, box) for key, box in boxes.items()}
        self.vectors = [key for key, kind in kinds.items() if kind == "mlp"]
        self._others = [key for key, kind in kinds.items() if kind != "mlp"]
        self.parts = nn.ModuleList(
            _part(key, boxes[key], kinds[key], config.features) for key in self._others
        )
        size = sum(math.prod(boxes[key].shape) for key in self.vectors) + config.features * len(self.parts)
        size += extra
        self.trunk = mlp(size, config.hidden, config.activation)
        self.size = config.hidden[-1] if config.hidden else size

    def forward(self, observations: Mapping[str, Tensor], extra: Tensor | None = None) -> Tensor:
        """`extra`: (N, extra)."""
        found = [observations[key].flatten(1).float() for key in self.vectors]
        if extra is not None:
            found.append(extra)
        for key, part in zip(self._others, self.parts, strict=True):
            found.append(part(observations[key]))
        features: Tensor = self.trunk(found[0] if len(found) == 1 else torch.cat(found, -1))
        return features


class NatureCNN(nn.Module):
    """Images (N, C, H, W) of 36 pixels at least. Source: Mnih et al. 2015, "Human-level control"."""

    def __init__(self, shape: Sequence[int], features: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = shape[0]
        for out, size, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
            layers += [_orthogonal(nn.Conv2d(channels, out, size, stride), math.sqrt(2)), nn.ReLU()]
            channels = out
        self.convolutions = nn.Sequential(*layers)
        self.last = _orthogonal(nn.Linear(_flat_size(self.convolutions, shape), features), math.sqrt(2))

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.convolutions(_scaled(images)).flatten(1)
        return functional.relu(self.last(found))


class ImpalaCNN(nn.Module):
    """Images (N, C, H, W) of any size. Source: Espeholt et al. 2018, "IMPALA", figure 3, large."""

    def __init__(self, shape: Sequence[int], features: int) -> None:
        super().__init__()
        stages, channels = [], shape[0]
        for out in (16, 32, 32):
            stages.append(_ImpalaStage(channels, out))
            channels = out
        self.stages = nn.Sequential(*stages)
        self.last = _orthogonal(nn.Linear(_flat_size(self.stages, shape), features), math.sqrt(2))

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.stages(_scaled(images))
        return functional.relu(self.last(functional.relu(found).flatten(1)))


class _ImpalaStage(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, padding=1)
        self.residual = nn.ModuleList(nn.Conv2d(out, out, 3, padding=1) for _ in range(4))

    def forward(self, images: Tensor) -> Tensor:
        x = functional.max_pool2d(self.first(images), 3, 2, padding=1)
        for one, two in ((self.residual[0], self.residual[1]), (self.residual[2], self.residual[3])):
            x = x + two(functional.relu(one(functional.relu(x))))
        return x


class PointCloud(nn.Module):
    """Points (N, P, F) in any order: each through the same small MLP, the largest of each feature over all.

    A cloud has thousands of points, and each feature is one point's: gradients are computed through those few
    alone, which is exact. Source: Qi et al. 2017, "PointNet".
    """

    def __init__(self, shape: Sequence[int], features: int) -> None:
        super().__init__()
        self.each = nn.Sequential(
            nn.Linear(shape[1], 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, 128), nn.ReLU()
        )
        self.last = _orthogonal(nn.Linear(128, features), math.sqrt(2))

    def forward(self, points: Tensor) -> Tensor:
        points = points.float()
        largest = self._largest(points) if torch.is_grad_enabled() else self._greatest(points)[0]
        return functional.relu(self.last(functional.relu(largest)))

    def _largest(self, points: Tensor) -> Tensor:
        """(N, 128), for gradients."""
        with torch.no_grad():
            whose = self._greatest(points)[1]
        chosen = points.gather(1, whose[:, :, None].expand(-1, -1, points.shape[2]))
        layer = self.each[-2]
        assert isinstance(layer, nn.Linear)
        found: Tensor = (self.each[:-2](chosen) * layer.weight).sum(-1) + layer.bias
        return found

    def _greatest(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The largest of each feature and the point that has it, both (N, 128)."""
        if torch.compiler.is_compiling():  # which sees to memory itself, and to clouds of any number
            values, whose = self.each[:-1](points).max(1)
            return values, whose
        some = max(1, _POINTS_AT_ONCE // points.shape[1])
        parts = [self.each[:-1](part).max(1) for part in torch.split(points, some)]
        return torch.cat([values for values, _ in parts]), torch.cat([whose for _, whose in parts])


def mlp(inputs: int, hidden: Sequence[int], activation: str) -> nn.Sequential:
    """Layers with the activation after each; empty: the identity."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [linear(inputs, size, math.sqrt(2)), nn.ReLU() if activation == "relu" else nn.Tanh()]
        inputs = size
    return nn.Sequential(*layers)


def linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    """Orthogonal weights, no bias at the start."""
    return _orthogonal(nn.Linear(inputs, outputs), gain)


_PARTS: dict[str, tuple[Callable[[Sequence[int], int], nn.Module], int]] = {
    "nature": (NatureCNN, 3),
    "impala": (ImpalaCNN, 3),
    "points": (PointCloud, 2),
}


def _default(key: str, box: Box) -> EncoderKind:
    """By the number of dimensions: a vector, points, or an image."""
    kinds: dict[int, EncoderKind] = {0: "mlp", 1: "mlp", 2: "points", 3: "nature"}
    if len(box.shape) not in kinds:
        raise ConfigError(f"cannot encode observation {key!r}: its shape is {box.shape}")
    return kinds[len(box.shape)]


def _part(key: str, box: Box, kind: str, features: int) -> nn.Module:
    make, dimensions = _PARTS[kind]
    if len(box.shape) != dimensions:
        raise ConfigError(
            f"cannot encode observation {key!r} by policy.encoders.{key} = {kind!r}: "
            f"its shape is {box.shape}, not one of {dimensions} dimensions"
        )
    try:
        return make(box.shape, features)
    except RuntimeError as error:  # torch's word for an image that is smaller than a kernel
        raise ConfigError(f"cannot encode observation {key!r} of shape {box.shape}: {error}") from error


def _scaled(images: Tensor) -> Tensor:
    """uint8 to [0, 1], in the type that is computed in; on a GPU in the order that its units take."""
    device = images.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    scaled = images.to(dtype) / 255 if images.dtype == torch.uint8 else images
    return scaled.contiguous(memory_format=torch.channels_last) if images.is_cuda else scaled


def _flat_size(network: nn.Module, shape: Sequence[int]) -> int:
    with torch.no_grad():
        return int(network(torch.zeros(1, *shape)).numel())


def _orthogonal(layer: Layer, gain: float) -> Layer:
    nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
