"""What OpenGL draws is what rays see."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from carlad.standin.rendering import cameras
from carlad.standin.rendering.cameras import look, render_depth, render_rgb, render_semantic
from carlad.standin.rendering.labels import render_instance, render_normals
from carlad.standin.rendering.objects import Objects
from carlad.standin.rendering.pinhole import CameraModel
from carlad.standin.rendering.raster import raster
from carlad.standin.rendering.scene import Frame, Scene
from carlad.wire.types import CityObjectLabel as Tag
from carlad.wire.types import TrafficLightState, Transform
from tests.standin.rendering.things import CLEAR_NOON, HIGH, cube, depth_m, pose, several

CAMERA = CameraModel(width=200, height=150, fov_deg=100.0)
Draw = Callable[[Frame, CameraModel, Transform], npt.NDArray[np.uint8]]
DRAWS: dict[str, Draw] = {
    "rgb": lambda frame, camera, eye: render_rgb(frame, camera, eye, CLEAR_NOON),
    "depth": render_depth,
    "semantic": render_semantic,
    "instance": render_instance,
    "normals": render_normals,
}
AT_EDGES = 0.004  # of the pixels may see the one surface or the other


@pytest.fixture(autouse=True)
def _opengl() -> None:
    if raster() is None:
        pytest.skip("no OpenGL: libegl1 and a driver such as Mesa's are missing")


@pytest.fixture
def by_rays(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], object]:
    def draw(act: Callable[[], object]) -> object:
        with monkeypatch.context() as patch:
            patch.setattr(cameras, "raster", lambda: None)
            return act()

    return draw


def _street(scene: Scene) -> tuple[Frame, Transform]:
    """Cars, a walker and a lorry before a camera in a street, at a junction with lit lights."""
    start = scene.town.spawn_points[0]
    x, y, z = start.location.x, start.location.y, start.location.z
    poses = [(x + 6 * k - 9, y + 5 * (k % 3) - 4, z + 0.7, 0.0, 40.0 * k, 0.0) for k in range(6)]
    tags = [Tag.CAR, Tag.PEDESTRIANS, Tag.TRUCK, Tag.MOTORCYCLE, Tag.CAR, Tag.STATIC]
    objects = several(poses, [(2.2, 1.0, 0.8)] * 6, tags)
    lights = [TrafficLightState.RED, TrafficLightState.GREEN] * len(scene.town.lights)
    frame = scene.frame(objects, lights[: len(scene.town.lights)])
    return frame, pose(x, y, z + 1.7, pitch=-4.0, yaw=start.rotation.yaw, roll=3.0)


@pytest.mark.parametrize("name", DRAWS)
def test_each_kind_of_image_is_the_same_by_opengl_and_by_rays(
    scene: Scene, by_rays: Callable[[Callable[[], object]], npt.NDArray[np.uint8]], name: str
) -> None:
    frame, eye = _street(scene)
    drawn = DRAWS[name](frame, CAMERA, eye)
    seen = by_rays(lambda: DRAWS[name](_street(scene)[0], CAMERA, eye))
    if name == "depth":
        apart = np.abs(depth_m(drawn) - depth_m(seen)) > 1e-3 * depth_m(seen)
    else:
        apart = np.abs(drawn.astype(int) - seen).max(axis=2) > 1
    assert len(np.unique(drawn.reshape(-1, 4), axis=0)) > 3
    assert apart.mean() < AT_EDGES


def test_hits_are_the_same_by_opengl_and_by_rays(
    scene: Scene, by_rays: Callable[[Callable[[], object]], cameras.Hits]
) -> None:
    frame, eye = _street(scene)
    drawn = look(frame, CAMERA, eye)
    seen = by_rays(lambda: look(_street(scene)[0], CAMERA, eye))
    assert (frame.tags[drawn.triangle] != frame.tags[seen.triangle]).mean() < AT_EDGES
    assert np.array_equal(np.isinf(drawn.distance), drawn.triangle == frame.sky)


@pytest.mark.parametrize("height_m", [120.0, 400.0, 1000.0, 3000.0])
def test_roads_are_seen_from_high_above(
    scene: Scene, by_rays: Callable[[Callable[[], object]], npt.NDArray[np.uint8]], height_m: float
) -> None:
    eye = pose(150.0, -80.0, height_m, pitch=-90.0)
    camera = CameraModel(width=200, height=200, fov_deg=2.0 * math.degrees(math.atan(60.0 / height_m)))
    above = cube(150.0, -80.0, 60.0, half=2.0, tag=Tag.CAR)  # something in the air below the camera
    drawn = render_semantic(scene.frame(above), camera, eye)
    seen = by_rays(lambda: render_semantic(scene.frame(above), camera, eye))
    roads, things = (drawn[..., 2] == tag for tag in (Tag.ROADS, Tag.CAR))
    assert roads.mean() > 0.05
    assert things.any()
    assert np.mean(drawn != seen) < 4 * AT_EDGES


def test_haze_lies_low(scene: Scene) -> None:
    frame, camera = scene.frame(Objects.none()), CameraModel(width=200, height=200, fov_deg=7.0)
    below, above = (
        render_rgb(frame, camera, pose(150.0, -80.0, z, pitch=-90.0), CLEAR_NOON) for z in (90.0, 1000.0)
    )
    assert above[..., :3].std() > 0.7 * below[..., :3].std()


def test_a_camera_sees_through_the_car_that_carries_it(scene: Scene) -> None:
    frame = scene.frame(cube(0, 0, HIGH, half=2.0))
    assert Tag.STATIC not in render_semantic(frame, CAMERA, pose(0, 0, HIGH))[..., 2]
    assert render_semantic(frame, CAMERA, pose(-5, 0, HIGH))[75, 100, 2] == Tag.STATIC


def test_things_of_the_frame_before_are_gone(scene: Scene) -> None:
    eye = pose(0, 0, HIGH)
    assert Tag.STATIC in render_semantic(scene.frame(cube(9, 0, HIGH)), CAMERA, eye)[..., 2]
    assert Tag.STATIC not in render_semantic(scene.frame(Objects.none()), CAMERA, eye)[..., 2]


def test_hidden_structures_are_not_drawn(scene: Scene) -> None:
    frame, eye = _street(scene)
    buildings = [k for k, one in enumerate(scene.structures) if (one.mesh.tag == Tag.BUILDINGS).any()]
    hidden = scene.frame(Objects.none(), hidden=frozenset(buildings))
    assert Tag.BUILDINGS in render_semantic(frame, CAMERA, eye)[..., 2]
    assert Tag.BUILDINGS not in render_semantic(hidden, CAMERA, eye)[..., 2]


def test_without_opengl_rays_draw() -> None:
    """EGL is told of no driver at all."""
    script = (
        "from carlad.standin import towns\n"
        "from carlad.standin.rendering.cameras import CameraModel, render_semantic\n"
        "from carlad.standin.rendering.objects import Objects\n"
        "from carlad.standin.rendering.raster import raster\n"
        "from carlad.standin.rendering.scene import Scene\n"
        "town = towns.load('Town02')\n"
        "assert raster() is None\n"
        "frame = Scene(town).frame(Objects.none())\n"
        "print(render_semantic(frame, CameraModel(200, 150), town.spawn_points[0]).max())\n"
    )
    environ = {**os.environ, "__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent.json"}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 255
