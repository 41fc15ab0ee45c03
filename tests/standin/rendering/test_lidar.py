from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from carlad.standin.rendering.lidar import SEMANTIC_POINT, Lidar, LidarModel, SemanticLidar
from carlad.standin.rendering.objects import Objects
from carlad.standin.rendering.scene import Scene
from carlad.wire.types import CityObjectLabel as Tag
from tests.standin.rendering.things import HIGH, cube, pose, several

PLAIN = LidarModel(
    channels=8,
    range_m=60.0,
    points_per_second=32000,
    rotation_frequency_hz=10.0,
    upper_fov_deg=0.0,
    lower_fov_deg=-35.0,
    dropoff_general=0.0,
    dropoff_at_zero=0.0,
)


def _ring() -> Objects:
    """Four walls, 10 m around the origin at the tests' height."""
    poses = [(x, y, HIGH, 0, 0, 0) for x, y in ((11, 0), (-11, 0), (0, 11), (0, -11))]
    extents = [(1, 12, 30), (1, 12, 30), (12, 1, 30), (12, 1, 30)]
    return several(poses, extents, [Tag.WALLS] * 4)


def test_a_turn_sends_every_ray_and_counts_them_by_channel(scene: Scene) -> None:
    scan = Lidar(PLAIN).scan(scene.frame(_ring()), pose(0, 0, HIGH), 0.1)
    assert scan.points_per_channel.tolist() == [400] * 8
    assert scan.points.shape == (3200, 4)
    assert scan.points.dtype == np.float32


def test_points_lie_on_the_walls_in_the_sensor_s_frame(scene: Scene) -> None:
    points = Lidar(PLAIN).scan(scene.frame(_ring()), pose(0, 0, HIGH), 0.1).points
    assert np.abs(points[:, :2]).max(axis=1) == pytest.approx(10.0, abs=1e-3)
    azimuths = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    assert np.histogram(azimuths, bins=8, range=(-180, 180))[0] == pytest.approx(400, abs=24)


def test_channels_come_from_the_top_down(scene: Scene) -> None:
    points = Lidar(PLAIN).scan(scene.frame(_ring()), pose(0, 0, HIGH), 0.1).points.reshape(8, 400, 4)
    elevation = np.degrees(np.arctan2(points[..., 2], np.linalg.norm(points[..., :2], axis=-1)))
    assert elevation == pytest.approx(np.tile(np.linspace(0, -35, 8)[:, None], (1, 400)), abs=0.01)


@pytest.mark.parametrize(("yaw", "expected"), [(0.0, (5.5, 0)), (90.0, (0, -5.5)), (-90.0, (0, 5.5))])
def test_y_points_to_the_right(scene: Scene, yaw: float, expected: tuple[float, float]) -> None:
    """A cube east of the sensor: ahead of one that looks east, left of one that looks south (+y)."""
    scan = Lidar(PLAIN).scan(scene.frame(cube(6, 0, HIGH)), pose(0, 0, HIGH, yaw=yaw), 0.1)
    level = scan.points[np.abs(scan.points[:, 2]) < 0.01]
    nearest = level[np.linalg.norm(level[:, :3], axis=1).argmin()]
    assert nearest[:2] == pytest.approx(expected, abs=0.05)


def test_the_road_lies_a_sensor_s_height_below(scene: Scene) -> None:
    spawn = scene.town.spawn_points[0]
    where = pose(spawn.location.x, spawn.location.y, 2.4, yaw=spawn.rotation.yaw)
    scan = SemanticLidar(PLAIN).scan(scene.frame(Objects.none()), where, 0.1)
    roads = scan.points[scan.points["tag"] == Tag.ROADS]
    assert len(roads) > 100
    assert roads["z"] == pytest.approx(-2.4, abs=0.03)


def test_intensity_falls_with_the_distance(scene: Scene) -> None:
    model = replace(PLAIN, attenuation=0.05)
    points = Lidar(model).scan(scene.frame(_ring()), pose(0, 0, HIGH), 0.1).points
    assert points[:, 3] == pytest.approx(np.exp(-0.05 * np.linalg.norm(points[:, :3], axis=1)), rel=1e-4)


def test_nothing_beyond_the_range_is_seen(scene: Scene) -> None:
    model = replace(PLAIN, range_m=10.5)
    points = Lidar(model).scan(scene.frame(_ring()), pose(0, 0, HIGH), 0.1).points
    assert 0 < len(points) < 3200
    assert np.linalg.norm(points[:, :3], axis=1).max() <= 10.5


@pytest.mark.parametrize("delta_s", [0.05, 0.1])
def test_a_head_that_turns_once_a_tick_stands_where_it_stood(scene: Scene, delta_s: float) -> None:
    """Though a tick's float32 is a little longer than what was asked for."""
    lidar, frame = Lidar(replace(PLAIN, rotation_frequency_hz=1 / delta_s)), scene.frame(_ring())
    tick_s = float(np.float32(delta_s))
    first, second = (lidar.scan(frame, pose(0, 0, HIGH), tick_s) for _ in range(2))
    assert tick_s > delta_s
    assert first.horizontal_angle_rad == second.horizontal_angle_rad == 0.0
    assert first.points.tobytes() == second.points.tobytes()


def test_ticks_share_a_turn(scene: Scene) -> None:
    """Half a turn in two ticks: the second goes on where the first ended."""
    lidar, frame = Lidar(PLAIN), scene.frame(_ring())
    first, second = (lidar.scan(frame, pose(0, 0, HIGH), 0.025) for _ in range(2))
    assert first.points_per_channel.tolist() == [100] * 8
    assert (first.horizontal_angle_rad, second.horizontal_angle_rad) == pytest.approx((math.pi / 2, math.pi))
    assert (first.points[:, 0] < 0.001).all()
    assert (first.points[:, 1] < 0.001).all()
    assert (second.points[:, 0] > -0.001).all()
    assert (second.points[:, 1] < 0.001).all()


def test_a_narrow_head_looks_ahead_only(scene: Scene) -> None:
    model = replace(PLAIN, horizontal_fov_deg=60.0)
    points = Lidar(model).scan(scene.frame(_ring()), pose(0, 0, HIGH), 0.1).points
    assert np.abs(np.degrees(np.arctan2(points[:, 1], points[:, 0]))).max() <= 30.01


def test_some_rays_are_lost_before_and_some_points_after(scene: Scene) -> None:
    """45 % of the rays are never sent; of points with intensity i, a share of 0.6 + 0.4 / 0.8 i is kept."""
    frame, where = scene.frame(_ring()), pose(0, 0, HIGH)
    general = replace(PLAIN, dropoff_general=0.45)
    assert len(Lidar(general).scan(frame, where, 0.1).points) == pytest.approx(0.55 * 3200, rel=0.06)
    dim = replace(PLAIN, attenuation=0.11, dropoff_at_zero=0.4, dropoff_limit=0.8)
    kept = Lidar(dim).scan(frame, where, 0.1).points
    everything = Lidar(PLAIN).scan(frame, where, 0.1).points
    intensity = np.exp(-0.11 * np.linalg.norm(everything[:, :3], axis=1))
    assert len(kept) == pytest.approx((0.6 + 0.5 * intensity).sum(), rel=0.05)


def test_noise_moves_points_along_their_ray(scene: Scene) -> None:
    frame, where = scene.frame(_ring()), pose(0, 0, HIGH)
    exact = Lidar(PLAIN).scan(frame, where, 0.1).points[:, :3]
    noisy = Lidar(replace(PLAIN, noise_m=0.1)).scan(frame, where, 0.1).points[:, :3]
    length, noisy_length = np.linalg.norm(exact, axis=1), np.linalg.norm(noisy, axis=1)
    assert noisy / noisy_length[:, None] == pytest.approx(exact / length[:, None], abs=1e-4)
    assert (noisy_length - length).std() == pytest.approx(0.1, rel=0.1)


def test_the_same_seed_measures_the_same(scene: Scene) -> None:
    def twice(seed: int) -> bytes:
        lidar = Lidar(LidarModel(channels=16, range_m=50.0, noise_m=0.05, seed=seed))
        return b"".join(
            lidar.scan(scene.frame(_ring()), pose(0, 0, HIGH), 0.05).points.tobytes() for _ in range(2)
        )

    assert twice(1) == twice(1)
    assert twice(1) != twice(2)


def test_semantic_points_name_the_actor_and_its_label(scene: Scene) -> None:
    scan = SemanticLidar(PLAIN).scan(scene.frame(cube(6, 0, HIGH, tag=Tag.CAR)), pose(0, 0, HIGH), 0.1)
    assert scan.points.dtype == SEMANTIC_POINT
    assert scan.points.dtype.itemsize == 24
    cars = scan.points[scan.points["tag"] == Tag.CAR]
    assert set(cars["object_id"].tolist()) == {7}
    assert set(scan.points[scan.points["tag"] != Tag.CAR]["object_id"].tolist()) <= {0}
    assert scan.points_per_channel.sum() == len(scan.points)


def test_semantic_points_carry_the_cosine_of_incidence(scene: Scene) -> None:
    points = SemanticLidar(PLAIN).scan(scene.frame(_ring()), pose(0, 0, HIGH), 0.1).points
    distance = np.sqrt(points["x"] ** 2 + points["y"] ** 2 + points["z"] ** 2)
    assert points["cos_inc_angle"] == pytest.approx(10.0 / distance, rel=1e-3)


@pytest.mark.parametrize("kind", [Lidar, SemanticLidar])
@pytest.mark.parametrize("delta_s", [0.0, 1e-6])
def test_a_tick_too_short_for_a_ray_measures_nothing(
    scene: Scene, kind: type[Lidar | SemanticLidar], delta_s: float
) -> None:
    scan = kind(PLAIN).scan(scene.frame(_ring()), pose(0, 0, HIGH), delta_s)
    assert len(scan.points) == 0
    assert scan.points_per_channel.tolist() == [0] * 8


def test_a_model_is_read_from_a_blueprint_s_attributes() -> None:
    values = {"channels": "64", "range": "85.0", "points_per_second": "600000", "noise_stddev": "0.1"}
    model = LidarModel.from_attributes(values)
    assert (model.channels, model.range_m, model.points_per_second, model.noise_m) == (64, 85.0, 600000, 0.1)
    assert LidarModel.from_attributes({}) == LidarModel()


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"range_m": 0.0}, {"horizontal_fov_deg": 0.0}])
def test_an_impossible_lidar_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cannot make a LiDAR"):
        replace(PLAIN, **wrong)
