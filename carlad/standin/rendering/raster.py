"""Pictures by OpenGL, without a screen: on a graphics card where there is one, else by Mesa's llvmpipe.

It sees what rays see, faster for all but small images: the same triangles, the same rows of the same tables.
Only what is nearer than `shaders.NEAR_M` is not drawn. A context belongs to the thread that made it.
"""

from __future__ import annotations

import ctypes
import math
from collections import OrderedDict
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering import shaders
from carlad.standin.rendering.daylight import Daylight
from carlad.standin.rendering.geometry import location_of, rotation_of
from carlad.standin.rendering.graphics import Pass, Shape, Table, Target, Town, Words
from carlad.wire.types import Transform

if TYPE_CHECKING:
    from carlad.standin.rendering.pinhole import CameraModel
    from carlad.standin.rendering.scene import Frame
    from carlad.standin.rendering.statics import Static

_TOWNS_MAX = 4  # whose triangles are kept on the card, a few MB each
_HIGH_M = 10.0  # above everything that stands still
_TARGETS_MAX = 8  # images of that many sizes
_SOFTWARE = ("llvmpipe", "softpipe", "swrast")


@lru_cache(maxsize=1)
def raster() -> Raster | None:
    """This process's, made at the first call; None where OpenGL cannot be had."""
    if not _has_device():
        return None
    try:
        context = import_module("moderngl").create_context(standalone=True, backend="egl", require=330)
    except Exception:
        return None
    return Raster(context)


def _has_device() -> bool:
    """Whether EGL knows a device to draw on: making a context without one kills the process."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    if not address:
        return False
    count_pointer = ctypes.POINTER(ctypes.c_int)
    query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, count_pointer)(address)
    count = ctypes.c_int()
    return bool(query(0, None, ctypes.byref(count))) and count.value > 0


@lru_cache(maxsize=1)
def has_graphics_card() -> bool:
    """Asked before a context is made, which takes a third of a second."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dri/renderD128"))


class Raster:
    """Draws frames. `is_hardware`: whether a graphics card does it."""

    def __init__(self, context: Any) -> None:
        self.name: str = context.info["GL_RENDERER"]
        self.is_hardware = not any(name in self.name.lower() for name in _SOFTWARE)
        self._context = context
        self._towns: OrderedDict[int, Town] = OrderedDict()
        self._passes: dict[str, Pass] = {}
        self._targets: OrderedDict[tuple[int, int, bool], Target] = OrderedDict()
        self._shapes: dict[int, Shape] = {}
        self._table = Table(context)

    def hits(
        self, frame: Frame, camera: CameraModel, world_from_camera: Transform
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Of each pixel the distance along the camera's axis, inf for the sky, and the surface's row."""
        target = self._target(camera, with_distance=True)
        self._draw(frame, camera, world_from_camera, target, self._pass(shaders.HITS))
        return target.read(1), target.read(0).astype(np.int64)

    def labels(self, frame: Frame, camera: CameraModel, world_from_camera: Transform, words: Words) -> Words:
        """Of each pixel the word of its surface's row."""
        shading = self._pass(shaders.LABELS)
        self._table.write(words)
        return self._image(frame, camera, world_from_camera, shading)

    def depth(
        self, frame: Frame, camera: CameraModel, world_from_camera: Transform, far_m: float, steps_max: int
    ) -> Words:
        """Of each pixel how many of the `steps_max` steps to `far_m` it is away, low byte in R."""
        shading = self._pass(shaders.DEPTH)
        shading.set(steps_per_m=steps_max / far_m, steps_max=float(steps_max))
        return self._image(frame, camera, world_from_camera, shading)

    def colors(
        self,
        frame: Frame,
        camera: CameraModel,
        world_from_camera: Transform,
        palette: Words,
        light: Daylight,
        haze_max_m: float,
        sky_steps: int,
    ) -> Words:
        """Of each pixel the colour of its surface behind the air before it, or the sky's.

        `palette` has the town's rows only: objects are lit on the card.
        """
        shading = self._pass(shaders.COLORS)
        shading.set(
            horizon=tuple(light.horizon),
            zenith=tuple(light.zenith),
            view_m=light.view_m,
            to_sun=tuple(light.to_sun),
            sun=tuple(light.sun),
            ambient=tuple(light.ambient),
            haze_max_m=haze_max_m,
            sky_steps=float(sky_steps),
        )
        self._table.write(palette)
        return self._image(frame, camera, world_from_camera, shading)

    def _image(self, frame: Frame, camera: CameraModel, world_from_camera: Transform, shading: Pass) -> Words:
        target = self._target(camera, with_distance=False)
        self._draw(frame, camera, world_from_camera, target, shading)
        return target.read(0)

    def _draw(
        self,
        frame: Frame,
        camera: CameraModel,
        world_from_camera: Transform,
        target: Target,
        shading: Pass,
    ) -> None:
        context = self._context
        eye, turn = location_of(world_from_camera), rotation_of(world_from_camera)
        focal = camera.focal_px
        half_width, half_height = camera.width / (2 * focal), camera.height / (2 * focal)
        shading.set(
            eye=tuple(eye),
            scale=(1 / half_width, 1 / half_height),
            near_m=_near_m(frame, float(eye[2]), half_width, half_height),
            sky=frame.sky,
        )
        shading.turn(np.ascontiguousarray(turn.T, np.float32).tobytes())
        target.begin(context)
        town = self._town(frame.static)
        town.draw(shading, town.tiles.seen(eye, turn, half_width, half_height))
        self._draw_objects(frame, shading)
        shading.sky.render(vertices=3)

    def _draw_objects(self, frame: Frame, shading: Pass) -> None:
        """Surfaces that are seen from behind are looked through: sensors sit inside vehicles."""
        self._context.enable(self._context.CULL_FACE)
        for group in frame.groups:
            key = id(group.shape)
            if key not in self._shapes:
                self._shapes[key] = Shape(self._context, group.shape)
            self._shapes[key].draw(shading, frame.objects, group, frame.sky + 1)
        self._context.disable(self._context.CULL_FACE)

    def _pass(self, fragment: str) -> Pass:
        if fragment not in self._passes:
            self._passes[fragment] = Pass(self._context, fragment)
        return self._passes[fragment]

    def _town(self, static: Static) -> Town:
        key = id(static)
        town = self._towns.pop(key, None) or Town(self._context, static)
        self._towns[key] = town
        if len(self._towns) > _TOWNS_MAX:
            self._towns.popitem(last=False)[1].release()
        return town

    def _target(self, camera: CameraModel, with_distance: bool) -> Target:
        key = (camera.width, camera.height, with_distance)
        target = self._targets.pop(key, None) or Target(self._context, *key)
        self._targets[key] = target
        if len(self._targets) > _TARGETS_MAX:
            self._targets.popitem(last=False)[1].release()
        return target


def _near_m(frame: Frame, eye_m: float, half_width: float, half_height: float) -> float:
    """How near to the camera's plane anything in the picture can be.

    Distances are told apart the worse the farther off they are, measured in this: from high above everything
    a road would drown in the ground that lies under it.
    """
    if eye_m - frame.static.heights_m[1] < _HIGH_M:
        return shaders.NEAR_M
    tops = frame.objects.corners[..., 2]
    above_m = eye_m - float(tops.max(initial=frame.static.heights_m[1]))
    return max(shaders.NEAR_M, 0.9 * above_m / math.hypot(1.0, half_width, half_height))
