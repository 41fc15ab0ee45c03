"""The cloud in three dimensions: its geometry, and pictures that Open3D draws."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pygame
import pytest

from carlad.recording import Recorder
from carlad.telemetry import Actor, Bundle, Ego, Frame
from tests.telemetry.watching import bundle_of
from tests.viz.driving import arrays_at, bundle_at, grid_lanes
from tests.viz.test_app import viz
from viz import geometry
from viz.cloud import camera_from_ego
from viz.geometry import PRESETS

EGO = Ego(100.0, 50.0, 90.0, 5.0)  # looks along CARLA's y, to the south


def seen(preset: str, place: tuple[float, float, float]) -> tuple[float, float, float]:
    """Right, down and ahead of a camera, in metres, of a place in the vehicle's frame."""
    right, down, ahead, _ = camera_from_ego(PRESETS[preset]) @ (*place, 1.0)
    return right, down, ahead


@pytest.mark.parametrize("preset", ["behind", "top", "driver"])
def test_what_is_to_the_drivers_right_is_to_the_right_in_the_picture(preset: str) -> None:
    (place,) = geometry.cloud(np.array([[10.0, 4.0, 0.5, 1.0]], np.float32))  # 4 m to the right in CARLA
    right, _, ahead = seen(preset, tuple(place))
    assert right > 3.0
    assert ahead > 0


def test_cameras_look_ahead_and_up_is_up() -> None:
    for preset in ("behind", "driver"):
        assert seen(preset, (30.0, 0.0, 5.0))[1] < seen(preset, (30.0, 0.0, 0.0))[1]
    assert seen("top", (30.0, 0.0, 0.0))[1] < seen("top", (0.0, 0.0, 0.0))[1]
    for matrix in map(camera_from_ego, PRESETS.values()):
        assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1.0)  # turned, not mirrored


def test_places_of_the_world_are_seen_from_the_vehicle() -> None:
    ahead, right = geometry.in_ego_frame(EGO, np.array([(100.0, 60.0), (95.0, 50.0)]))
    assert ahead == pytest.approx((10.0, 0.0))
    assert right == pytest.approx((0.0, -5.0))  # looking south, west is to the right


def test_a_box_lies_where_its_actor_is_and_turns_with_it() -> None:
    beside = Actor(1, "vehicle", 95.0, 50.0, 90.0, 3.0, 1.0)
    lines = geometry.lines(bundle_of(0, ego=EGO, actors=[beside]))
    box = lines.points[8:]
    assert box.mean(axis=0)[:2] == pytest.approx((0.0, -5.0))
    assert np.ptp(box[:, 0]) == pytest.approx(6.0)
    assert np.ptp(box[:, 1]) == pytest.approx(2.0)
    turned = geometry.lines(bundle_of(0, ego=EGO, actors=[Actor(1, "vehicle", 95.0, 50.0, 0.0, 3.0, 1.0)]))
    assert np.ptp(turned.points[8:][:, 1]) == pytest.approx(6.0)
    assert lines.pairs.max() < len(lines.points)
    assert len(lines.pairs) == len(lines.colours)


@pytest.mark.parametrize(
    "bundle",
    [
        bundle_of(0),
        bundle_of(0, ego=EGO),
        bundle_of(0, ego=EGO, actors=[Actor(1, "walker", math.nan, 0, 0, 1, 1)]),
    ],
)
def test_a_scene_with_little_in_it_has_lines_all_the_same(bundle: Bundle) -> None:
    lines = geometry.lines(bundle)
    assert np.isfinite(lines.points).all()
    assert lines.pairs.shape[1] == lines.colours.shape[1] - 1 == 2


@pytest.mark.parametrize("how", geometry.COLOURINGS)
@pytest.mark.parametrize("columns", [4, 5])
def test_points_have_colours_however_they_are_coloured(how: str, columns: int) -> None:
    points = np.full((6, columns), np.nan, np.float32)
    points[:4] = np.arange(4 * columns).reshape(4, columns)
    colours = geometry.colours(points, how)
    assert colours.shape == geometry.cloud(points).shape == (4, 3)
    assert colours.min() >= 0
    assert colours.max() <= 1


def test_a_picture_of_the_cloud_needs_no_screen(tmp_path: Path) -> None:
    file, picture = tmp_path / "drive.mcap", tmp_path / "cloud.png"
    with Recorder(file) as recorder:
        recorder.lanes(grid_lanes())
        recorder.frame(Frame(bundle_at(0), arrays_at(0)))
    done = viz("cloud", str(file), "--snapshot", str(picture), "--colour", "height", "--size", "800x600")
    assert (done.returncode, done.stderr) == (0, "")
    image = pygame.surfarray.pixels3d(pygame.image.load(picture))
    assert image.shape == (800, 600, 3)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 30


def test_a_recording_without_points_is_a_clear_error(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.mcap") as recorder:
        recorder.frame(Frame(bundle_at(0), {}))
    done = viz("cloud", str(tmp_path / "a.mcap"), "--snapshot", "x.png", "--wait", "1")
    assert done.returncode == 1
    assert "its environment has no LiDAR" in done.stderr
    assert "Traceback" not in done.stderr
