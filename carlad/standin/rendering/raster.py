"""Pictures by OpenGL, without a screen: on a graphics card where there is one, else by Mesa's llvmpipe.

It sees what rays see, faster for all but small images: the same triangles, the same rows of the same tables.
Only what is nearer than `NEAR_M` is not drawn. A context belongs to the thread that made it.
"""

from __future__ import annotations

import ctypes
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
from carlad.standin.rendering.tiles import Tiles
from carlad.wire.types import Transform

if TYPE_CHECKING:
    from carlad.standin.rendering.cameras import CameraModel
    from carlad.standin.rendering.scene import Frame
    from carlad.standin.rendering.statics import Static

Words = npt.NDArray[np.uint32]  # (H * W,): B, G, R, A in each

_TOWNS_MAX = 4  # whose triangles are kept on the card, a few MB each
_TARGETS_MAX = 8  # images of that many sizes
_VERTEX = np.dtype([("place", "<f4", 3), ("row", "<u4")])
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


def has_graphics_card() -> bool:
    """Asked before a context is made, which takes a third of a second."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dri/renderD128"))


class Raster:
    """Draws frames. `is_hardware`: whether a graphics card does it."""

    def __init__(self, context: Any) -> None:
        self.name: str = context.info["GL_RENDERER"]
        self.is_hardware = not any(name in self.name.lower() for name in _SOFTWARE)
        self._context = context
        self._towns: OrderedDict[int, _Town] = OrderedDict()
        self._passes: dict[str, _Pass] = {}
        self._targets: OrderedDict[tuple[int, int, bool], _Target] = OrderedDict()
        self._moving = context.buffer(reserve=_VERTEX.itemsize, dynamic=True)
        self._table = _Table(context)

    def hits(
        self, frame: Frame, camera: CameraModel, world_from_camera: Transform
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Of each pixel the distance along the camera's axis, inf for the sky, and the surface's row."""
        target = self._target(camera, with_distance=True)
        self._draw(frame, camera, world_from_camera, target, self._pass(shaders.HITS))
        rows = np.frombuffer(target.read(0), np.uint32).astype(np.int64)
        return np.frombuffer(target.read(1), np.float32).copy(), rows

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
        """Of each pixel the colour of its surface behind the air before it, or the sky's."""
        shading = self._pass(shaders.COLORS)
        shading.set(
            horizon=tuple(light.horizon),
            zenith=tuple(light.zenith),
            view_m=light.view_m,
            haze_max_m=haze_max_m,
            sky_steps=float(sky_steps),
        )
        self._table.write(palette)
        return self._image(frame, camera, world_from_camera, shading)

    def _image(
        self, frame: Frame, camera: CameraModel, world_from_camera: Transform, shading: _Pass
    ) -> Words:
        target = self._target(camera, with_distance=False)
        self._draw(frame, camera, world_from_camera, target, shading)
        return np.frombuffer(target.read(0), np.uint32)

    def _draw(
        self,
        frame: Frame,
        camera: CameraModel,
        world_from_camera: Transform,
        target: _Target,
        shading: _Pass,
    ) -> None:
        from carlad.standin.rendering.cameras import focal_px

        context = self._context
        eye, turn = location_of(world_from_camera), rotation_of(world_from_camera)
        focal = focal_px(camera)
        half_width, half_height = camera.width / (2 * focal), camera.height / (2 * focal)
        shading.set(eye=tuple(eye), scale=(1 / half_width, 1 / half_height), sky=frame.sky)
        shading.turn(np.ascontiguousarray(turn.T, np.float32).tobytes())
        target.begin(context)
        town = self._town(frame.static)
        town.draw(shading, town.tiles.seen(eye, turn, half_width, half_height))
        self._draw_moving(frame, shading)
        shading.sky.render(vertices=3)

    def _draw_moving(self, frame: Frame, shading: _Pass) -> None:
        """Surfaces that are seen from behind are looked through: sensors sit inside vehicles."""
        mesh = frame.moving
        if not len(mesh):
            return
        data = _vertices(mesh.corners, np.arange(frame.sky + 1, frame.sky + 1 + len(mesh)))
        self._moving.orphan(data.nbytes)
        self._moving.write(data)
        self._context.enable(self._context.CULL_FACE)
        shading.moving(self._moving).render(vertices=3 * len(mesh))
        self._context.disable(self._context.CULL_FACE)

    def _pass(self, fragment: str) -> _Pass:
        if fragment not in self._passes:
            self._passes[fragment] = _Pass(self._context, fragment)
        return self._passes[fragment]

    def _town(self, static: Static) -> _Town:
        key = id(static)
        town = self._towns.pop(key, None) or _Town(self._context, static)
        self._towns[key] = town
        if len(self._towns) > _TOWNS_MAX:
            self._towns.popitem(last=False)[1].release()
        return town

    def _target(self, camera: CameraModel, with_distance: bool) -> _Target:
        key = (camera.width, camera.height, with_distance)
        target = self._targets.pop(key, None) or _Target(self._context, *key)
        self._targets[key] = target
        if len(self._targets) > _TARGETS_MAX:
            self._targets.popitem(last=False)[1].release()
        return target


class _Pass:
    """One way to shade: the programs for surfaces and for the sky behind them."""

    def __init__(self, context: Any, fragment: str) -> None:
        self._context = context
        self.program = context.program(vertex_shader=shaders.SURFACE, fragment_shader=fragment)
        self._sky_program = context.program(vertex_shader=shaders.SKY, fragment_shader=fragment)
        self.sky = context.vertex_array(self._sky_program, [])
        self.towns: dict[int, Any] = {}
        self._moving: Any = None

    def set(self, **values: Any) -> None:
        """Uniforms; those that this way of shading does not use are left out."""
        for program in (self.program, self._sky_program):
            for name, value in values.items():
                if name in program:
                    program[name].value = value

    def turn(self, matrix: bytes) -> None:
        for program in (self.program, self._sky_program):
            if "turn" in program:
                program["turn"].write(matrix)

    def moving(self, buffer: Any) -> Any:
        if self._moving is None:
            self._moving = _vertex_array(self._context, self.program, buffer)
        return self._moving


class _Town:
    """A town's still triangles on the card."""

    def __init__(self, context: Any, static: Static) -> None:
        self._context = context
        self._static = static  # kept, so that no other one gets its id
        self.tiles = Tiles.of(static.mesh)
        order = self.tiles.order
        self._buffer = context.buffer(_vertices(static.mesh.corners[order], order))
        self._arrays: dict[int, Any] = {}

    def draw(self, shading: _Pass, runs: list[tuple[int, int]]) -> None:
        array = self._arrays.get(id(shading))
        if array is None:
            array = self._arrays[id(shading)] = _vertex_array(self._context, shading.program, self._buffer)
        for first, behind in runs:
            array.render(first=3 * first, vertices=3 * (behind - first))

    def release(self) -> None:
        for array in self._arrays.values():
            array.release()
        self._buffer.release()


class _Target:
    """An image on the card, of words or of rows and distances."""

    def __init__(self, context: Any, width: int, height: int, with_distance: bool) -> None:
        size = (width, height)
        self._textures = [context.texture(size, 1, dtype="u4")]
        if with_distance:
            self._textures.append(context.texture(size, 1, dtype="f4"))
        self._depth = context.depth_renderbuffer(size)
        self._framebuffer = context.framebuffer(self._textures, self._depth)

    def begin(self, context: Any) -> None:
        self._framebuffer.use()
        context.enable_only(context.DEPTH_TEST)
        context.depth_func = "<="
        self._framebuffer.clear(depth=1.0)

    def read(self, attachment: int) -> bytearray:
        data = bytearray(4 * self._framebuffer.width * self._framebuffer.height)
        dtype = ("u4", "f4")[attachment]
        self._framebuffer.read_into(data, components=1, attachment=attachment, dtype=dtype)
        return data

    def release(self) -> None:
        for part in (self._framebuffer, self._depth, *self._textures):
            part.release()


class _Table:
    """A word for each row, on the card."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._texture: Any = None

    def write(self, words: Words) -> None:
        height = -(-len(words) // shaders.TABLE_WIDTH)
        if self._texture is None or self._texture.height < height:
            if self._texture is not None:
                self._texture.release()
            self._texture = self._context.texture((shaders.TABLE_WIDTH, height + 1), 1, dtype="u4")
            self._texture.filter = (self._context.NEAREST, self._context.NEAREST)
        padded = np.zeros((height, shaders.TABLE_WIDTH), np.uint32)
        padded.reshape(-1)[: len(words)] = words
        self._texture.write(padded, viewport=(0, 0, shaders.TABLE_WIDTH, height))
        self._texture.use(0)


def _vertices(corners: npt.NDArray[np.float32], rows: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
    """Of triangles (T, 3, 3) and the rows of their surfaces (T,)."""
    vertices = np.empty((len(corners), 3), _VERTEX)
    vertices["place"] = corners
    vertices["row"] = rows[:, None]
    return vertices


def _vertex_array(context: Any, program: Any, buffer: Any) -> Any:
    return context.vertex_array(program, [(buffer, "3f4 1u4", "place", "row")], skip_errors=True)
