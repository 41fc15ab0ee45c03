"""The LiDAR's points in three dimensions, with boxes, route and axes, by Open3D."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carlad.telemetry.bundle import LIDAR
from viz import geometry, theme
from viz.geometry import COLOURINGS, PRESETS, Preset
from viz.replay import Replay
from viz.scene import Scene, ViewerError
from viz.source import Source

_FOV_DEG = 60.0
_POINT_PX = 2.0
_GRID_M, _GRID_STEP_M = 40, 10
_LOOK_S = 0.02
_LANES_NEAR_M = 90.0
_NO_SCREEN_HINT = "--snapshot FILE.png draws without one where EGL is there (Debian: libegl1)"
KEYS = "1 to 4 cameras   c colours   space pause the picture   drag turn   wheel zoom   q quit"


class CloudView:
    """One Open3D window, seen or not. Close it."""

    def __init__(self, size: tuple[int, int], is_seen: bool) -> None:
        """Raises ViewerError where it cannot be opened."""
        import open3d

        self._open3d = open3d
        open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel.Error)
        self._size, self._preset, self._how = size, PRESETS["behind"], COLOURINGS[0]
        self._window = open3d.visualization.VisualizerWithKeyCallback()
        with _quiet_wayland():
            is_there = self._window.create_window("carlad viz cloud", *size, visible=is_seen)
        if not is_there:
            raise ViewerError(f"cannot open a window of Open3D: there is no screen; {_NO_SCREEN_HINT}")
        options = self._window.get_render_option()
        options.background_color = np.array(theme.BACKGROUND) / 255.0
        options.point_size = _POINT_PX
        self._cloud = open3d.geometry.PointCloud()
        self._lines, self._lanes = open3d.geometry.LineSet(), open3d.geometry.LineSet()
        self._is_shown = False

    def show(self, scene: Scene) -> None:
        """Draw this scene."""
        vectors = self._open3d.utility.Vector3dVector
        points = scene.arrays.get(LIDAR)
        if points is not None and points.ndim == 2 and points.shape[1] >= 4:
            self._cloud.points = vectors(geometry.cloud(points))
            self._cloud.colors = vectors(geometry.colours(points, self._how))
        if scene.bundle is not None:
            self._set(self._lines, geometry.lines(scene.bundle))
            if scene.bundle.ego is not None and scene.lanes is not None:
                self._set(self._lanes, geometry.lanes(scene.bundle.ego, scene.lanes, _LANES_NEAR_M))
        if not self._is_shown:
            self._show_first()
        for part in (self._cloud, self._lines, self._lanes):
            self._window.update_geometry(part)
        self.turn()

    def turn(self) -> bool:
        """Let the window live on for a moment; False when it was closed."""
        alive = bool(self._window.poll_events())
        self._window.update_renderer()
        return alive

    def look(self, preset: Preset) -> None:
        """Put the camera there."""
        self._preset = preset
        if self._is_shown:
            self._place_camera()

    def colour(self, how: str) -> None:
        """One of COLOURINGS, from the next scene on."""
        self._how = how

    def colour_next(self) -> None:
        self._how = COLOURINGS[(COLOURINGS.index(self._how) + 1) % len(COLOURINGS)]

    def on_key(self, key: str, action: Any) -> None:
        """Have a key do something."""

        def pressed(_window: Any) -> bool:
            action()
            return False

        self._window.register_key_callback(ord(key.upper()), pressed)

    def picture(self) -> NDArray[np.uint8]:
        """What the window shows: uint8 (H, W, 3), RGB."""
        image = np.asarray(self._window.capture_screen_float_buffer(True))
        return (image * 255).astype(np.uint8)

    def close(self) -> None:
        self._window.destroy_window()

    def _show_first(self) -> None:
        """The camera fits what is there when it is first added, so it is placed after that."""
        axes = self._open3d.geometry.TriangleMesh.create_coordinate_frame(2.5)
        grid = self._open3d.geometry.LineSet()
        self._set(grid, _grid())
        for part in (grid, axes, self._lanes, self._lines, self._cloud):
            self._window.add_geometry(part)
        self._is_shown = True
        self._place_camera()

    def _set(self, lines: Any, to: geometry.Lines) -> None:
        utility = self._open3d.utility
        lines.points = utility.Vector3dVector(to.points)
        lines.lines = utility.Vector2iVector(to.pairs)
        lines.colors = utility.Vector3dVector(to.colours)

    def _place_camera(self) -> None:
        width, height = self._size
        focal = height / 2 / math.tan(math.radians(_FOV_DEG) / 2)
        camera = self._open3d.camera.PinholeCameraParameters()
        camera.intrinsic = self._open3d.camera.PinholeCameraIntrinsic(
            width, height, focal, focal, width / 2 - 0.5, height / 2 - 0.5
        )
        camera.extrinsic = camera_from_ego(self._preset)
        control = self._window.get_view_control()
        control.convert_from_pinhole_camera_parameters(camera, True)
        control.set_constant_z_near(0.3)
        control.set_constant_z_far(400.0)


@contextmanager
def _quiet_wayland() -> Iterator[None]:
    """GLFW asks for Wayland first, whose library complains where XDG_RUNTIME_DIR is not set."""
    if "XDG_RUNTIME_DIR" in os.environ:
        yield
        return
    os.environ["XDG_RUNTIME_DIR"] = tempfile.gettempdir()
    try:
        yield
    finally:
        del os.environ["XDG_RUNTIME_DIR"]


def camera_from_ego(preset: Preset) -> NDArray[np.float64]:
    """4 x 4, from the vehicle's frame (x forward, y left, z up) to a camera's (x right, y down, z ahead)."""
    eye = np.array(preset.eye)
    ahead = np.array(preset.target) - eye
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, np.array(preset.up))
    right /= np.linalg.norm(right)
    turn = np.stack([right, np.cross(ahead, right), ahead])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, -turn @ eye
    return matrix


def run_cloud(source: Source | Replay, view: CloudView) -> None:
    """Until the window is closed."""
    is_open = True

    def leave() -> None:
        nonlocal is_open
        is_open = False

    view.on_key("q", leave)
    view.on_key("c", view.colour_next)
    view.on_key(" ", source.toggle if isinstance(source, Replay) else source.freeze)
    for number, preset in enumerate(PRESETS.values(), start=1):
        view.on_key(str(number), lambda preset=preset: view.look(preset))
    while is_open:
        if source.update(_LOOK_S):
            view.show(source.scene())
        is_open &= view.turn()


def first_cloud(source: Source | Replay, wait_s: float) -> Scene:
    """The first scene that has a cloud. Raises ViewerError where none comes."""
    deadline_s = time.monotonic() + wait_s
    while True:
        scene = source.scene()
        if LIDAR in scene.arrays:
            return scene
        if time.monotonic() > deadline_s or (isinstance(source, Replay) and not source.is_playing):
            why = "no telemetry came" if scene.bundle is None else "its environment has no LiDAR"
            raise ViewerError(
                f"cannot show points of {scene.session.session}: {why} (waited {wait_s:g} s); "
                "a LiDAR is among the observations of its configuration, or there is none"
            )
        source.update(_LOOK_S)


def _grid() -> geometry.Lines:
    """The ground every ten metres."""
    steps = np.arange(-_GRID_M, _GRID_M + 1, _GRID_STEP_M, dtype=np.float64)
    ends = [((x, -_GRID_M, 0), (x, _GRID_M, 0)) for x in steps] + [
        ((-_GRID_M, y, 0), (_GRID_M, y, 0)) for y in steps
    ]
    points = np.array(ends, np.float64).reshape(-1, 3)
    pairs = np.arange(len(points), dtype=np.int32).reshape(-1, 2)
    return geometry.Lines(points, pairs, np.tile(np.array(theme.EDGE) / 255.0, (len(pairs), 1)))
