from __future__ import annotations

import numpy as np
import pytest

from carlad.standin.rendering.flow import FlowCamera
from carlad.standin.rendering.objects import Objects
from carlad.standin.rendering.pinhole import CameraModel
from carlad.standin.rendering.scene import Scene
from tests.standin.rendering.things import HIGH, cube, pose

CAMERA = CameraModel(width=100, height=50, fov_deg=90.0)
MIDDLE = (25, 50)


def test_the_first_image_shows_no_flow(scene: Scene) -> None:
    assert not FlowCamera(CAMERA).render(scene.frame(cube(10, 0, HIGH)), pose(0, 0, HIGH)).any()


@pytest.mark.parametrize(
    ("moved", "x", "y"),
    [((10, 1, HIGH), 1 / 9.5, 0.0), ((10, 0, HIGH + 1), 0.0, 2 / 9.5), ((10, -1, HIGH), -1 / 9.5, 0.0)],
)
def test_an_object_flows_the_way_it_moves(
    scene: Scene, moved: tuple[float, float, float], x: float, y: float
) -> None:
    """In halves of the image: at 9.5 m a half is 9.5 m wide and, for this picture, 4.75 m high."""
    camera = FlowCamera(CAMERA)
    camera.render(scene.frame(cube(10, 0, HIGH, half=0.5)), pose(0, 0, HIGH))
    flow = camera.render(scene.frame(cube(*moved, half=1.5)), pose(0, 0, HIGH))
    np.testing.assert_allclose(flow[MIDDLE], (x * 9.5 / 8.5, y * 9.5 / 8.5), atol=2e-3)


def test_a_turning_camera_sees_the_sky_flow_the_other_way(scene: Scene) -> None:
    camera = FlowCamera(CAMERA)
    camera.render(scene.frame(Objects.none()), pose(0, 0, HIGH, pitch=30))
    flow = camera.render(scene.frame(Objects.none()), pose(0, 0, HIGH, pitch=30, yaw=1))
    assert (flow[..., 0] < -0.003).all()


def test_what_moves_with_the_camera_does_not_flow(scene: Scene) -> None:
    camera = FlowCamera(CAMERA)
    for x in (0.0, 3.0):
        flow = camera.render(scene.frame(cube(10 + x, 0, HIGH)), pose(x, 0, HIGH))
    assert np.abs(flow[MIDDLE]).max() < 1e-3
