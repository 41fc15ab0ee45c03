from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor

from carlad.errors import ConfigError
from trainer.config import EncoderKind, PolicyConfig
from trainer.encoders import Encoder, PointCloud

STATE = Box(-5, 5, (7,), np.float32)
BEV = Box(0, 255, (10, 64, 48), np.uint8)
LIDAR = Box(-100, 100, (32, 4), np.float32)
BOXES = {"state": STATE, "bev": BEV, "lidar": LIDAR}


def seen(rows: int, **boxes: Box) -> dict[str, Tensor]:
    generator = np.random.default_rng(1)
    return {
        key: torch.from_numpy(generator.uniform(0, 255, (rows, *box.shape)).astype(box.dtype))
        for key, box in boxes.items()
    }


def test_all_parts_of_an_observation_are_seen() -> None:
    torch.manual_seed(0)
    encoder = Encoder(BOXES, PolicyConfig(hidden=(32,), features=16))
    observations = seen(5, **BOXES)
    features = encoder(observations)
    assert (features.shape, features.dtype) == ((5, encoder.size), torch.float32)
    for key, part in observations.items():
        changed = observations | {key: part.flip(0)}
        assert not torch.allclose(encoder(changed), features, atol=1e-4), key


@pytest.mark.parametrize("kind", ["nature", "impala"])
def test_an_image_of_bytes_is_the_same_as_one_of_floats_in_the_unit_range(kind: EncoderKind) -> None:
    torch.manual_seed(0)
    encoder = Encoder({"bev": BEV}, PolicyConfig(encoders={"bev": kind}, features=16))
    image = seen(2, bev=BEV)["bev"]
    assert image.dtype == torch.uint8
    torch.testing.assert_close(encoder({"bev": image}), encoder({"bev": image.float() / 255}))


def test_the_order_of_points_does_not_matter() -> None:
    encoder = Encoder({"lidar": LIDAR}, PolicyConfig(features=16))
    points = seen(3, lidar=LIDAR)["lidar"]
    torch.testing.assert_close(encoder({"lidar": points}), encoder({"lidar": points.flip(1)}))


def test_gradients_of_points_are_those_of_looking_at_all_of_them() -> None:
    torch.manual_seed(0)
    part = PointCloud(LIDAR.shape, 16)
    points = torch.randn(70, *LIDAR.shape)
    points[:, 20:] = 0.0  # as where the sensor saw fewer

    def gradients(features: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(features.square().sum(), list(part.parameters())))

    plain = part.last(part.each(points).amax(1)).relu()
    torch.testing.assert_close(part(points), plain)
    torch.testing.assert_close(gradients(part(points)), gradients(plain), atol=1e-4, rtol=1e-4)


def test_no_hidden_layers_leave_the_vector_as_it_is() -> None:
    encoder = Encoder({"state": STATE}, PolicyConfig(hidden=()))
    observation = seen(3, state=STATE)
    assert encoder.size == 7
    assert torch.equal(encoder(observation), observation["state"])


@pytest.mark.parametrize(
    ("box", "kind", "reason"),
    [
        (STATE, "impala", r"policy.encoders.it = 'impala': its shape is \(7,\), not one of 3 dimensions"),
        (BEV, "points", "not one of 2 dimensions"),
        (Box(0, 255, (3, 20, 20), np.uint8), "nature", "of shape"),
        (Box(0, 1, (2, 2, 2, 2)), None, "its shape is"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(box: Box, kind: EncoderKind | None, reason: str) -> None:
    config = PolicyConfig(encoders={} if kind is None else {"it": kind})
    with pytest.raises(ConfigError, match=reason):
        Encoder({"it": box}, config)
