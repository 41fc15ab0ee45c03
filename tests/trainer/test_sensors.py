"""What sensors measure, as arrays to observe: pure functions."""

from __future__ import annotations

import numpy as np

from trainer.env.config import CameraConfig, LidarConfig
from trainer.env.sensors import depth_image, lidar_pillars, lidar_points, rgb_image, semantic_image

PIXEL = np.array([[[10, 20, 30, 255]]], np.uint8)  # blue, green, red, alpha


def test_colours_are_in_the_order_of_rgb() -> None:
    assert rgb_image(PIXEL, CameraConfig()).tolist() == [[[30]], [[20]], [[10]]]


def test_the_semantic_tag_is_the_red_channel() -> None:
    assert semantic_image(PIXEL, CameraConfig()).tolist() == [[[30]]]


def test_depth_is_metres_up_to_its_limit() -> None:
    def encoded(metres: float) -> np.ndarray:
        code = round(metres / 1000.0 * (2**24 - 1))
        return np.array([[[code >> 16, (code >> 8) & 255, code & 255, 255]]], np.uint8)

    config = CameraConfig(depth_max_m=51.0)
    assert [depth_image(encoded(m), config).item() for m in (0.0, 10.01, 51.0, 900.0)] == [0, 50, 255, 255]


def test_points_are_padded_and_thinned_out() -> None:
    cloud = np.arange(40, dtype=np.float32).reshape(10, 4)
    padded = lidar_points(cloud, LidarConfig(points=12))
    assert padded.shape == (12, 4)
    np.testing.assert_array_equal(padded[:10], cloud)
    assert not padded[10:].any()
    np.testing.assert_array_equal(lidar_points(cloud, LidarConfig(points=4)), cloud[[0, 3, 6, 9]])


def test_pillars_count_points_and_keep_their_heights() -> None:
    config = LidarConfig(size_px=64, px_per_m=1.0, z_m=2.0)
    ahead = [(10.2, 0.5, -2.0, 1.0), (10.4, 0.4, -1.0, 1.0), (10.6, 0.3, 0.0, 1.0)]
    right = [(-0.5, 20.5, 5.0, 1.0)]
    far = [(100.0, 0.0, 0.0, 1.0)]
    grid = lidar_pillars(np.array([*ahead, *right, *far], np.float32), config)
    assert grid[:, 32 - 11, 32].tolist() == [153, 160, 0]
    assert grid[:, 32, 32 + 20].tolist() == [51, 255, 255]
    assert np.count_nonzero(grid[0]) == 2
