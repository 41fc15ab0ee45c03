"""What `raster` keeps on the graphics card: programs, triangles, shapes, tables and images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering import shaders
from carlad.standin.rendering.mesh import Mesh
from carlad.standin.rendering.objects import Objects
from carlad.standin.rendering.shapes import PAINT, Group
from carlad.standin.rendering.statics import Static
from carlad.standin.rendering.tiles import Tiles

Words = npt.NDArray[np.uint32]  # (H * W,): B, G, R, A in each

_VERTEX = np.dtype([("place", "<f4", 3), ("row", "<u4")])
_CORNER = np.dtype(
    [("corner", "<f4", 3), ("outward", "<f4", 3), ("own_color", "<f4", 4), ("row", "<u4")]
)  # of a shape in the unit box
_INSTANCE = np.dtype(
    [
        ("at", "<f4", 3),
        ("pitch_yaw_roll", "<f4", 3),
        ("center", "<f4", 3),
        ("extent", "<f4", 3),
        ("paint", "<f4", 3),
        ("first", "<u4"),
    ]
)


class Pass:
    """One way to shade: the programs for the town, for objects, and for the sky behind them."""

    def __init__(self, context: Any, fragment: str) -> None:
        self.town, self.objects, sky = self._programs = [
            context.program(vertex_shader=vertex, fragment_shader=fragment)
            for vertex in (shaders.SURFACE, shaders.OBJECT, shaders.SKY)
        ]
        self.sky = context.vertex_array(sky, [])
        self._uniforms = [{name: program[name] for name in program} for program in self._programs]

    def set(self, **values: Any) -> None:
        """Uniforms; those that this way of shading does not use are left out."""
        for uniforms in self._uniforms:
            for name, value in values.items():
                if name in uniforms:
                    uniforms[name].value = value

    def turn(self, matrix: bytes) -> None:
        for uniforms in self._uniforms:
            if "turn" in uniforms:
                uniforms["turn"].write(matrix)


class Town:
    """A town's still triangles on the card."""

    def __init__(self, context: Any, static: Static) -> None:
        self._context = context
        self._static = static  # kept, so that no other one gets its id
        self.tiles = Tiles.of(static.mesh)
        order = self.tiles.order
        vertices = np.empty((len(order), 3), _VERTEX)
        vertices["place"], vertices["row"] = static.mesh.corners[order], order[:, None]
        self._buffer = context.buffer(vertices)
        self._arrays: dict[int, Any] = {}

    def draw(self, shading: Pass, runs: list[tuple[int, int]]) -> None:
        array = self._arrays.get(id(shading))
        if array is None:
            array = self._arrays[id(shading)] = self._array(shading)
        for first, behind in runs:
            array.render(first=3 * first, vertices=3 * (behind - first))

    def release(self) -> None:
        for array in self._arrays.values():
            array.release()
        self._buffer.release()

    def _array(self, shading: Pass) -> Any:
        content = [(self._buffer, "3f4 1u4", *(_VERTEX.names or ()))]
        return self._context.vertex_array(shading.town, content, skip_errors=True)


class Shape:
    """A shape in the unit box, drawn once for each object that has it."""

    def __init__(self, context: Any, shape: Mesh) -> None:
        self._context = context
        count = len(shape)
        corners = np.zeros((count, 3), _CORNER)
        corners["corner"] = shape.corners
        corners["outward"] = shape.normals[:, None]
        corners["own_color"][..., :3] = shape.color[:, None]
        corners["own_color"][..., 3] = (shape.color == PAINT).all(axis=1)[:, None]
        corners["row"] = np.arange(count)[:, None]
        self._count = 3 * count
        self._corners = context.buffer(corners)
        self._instances = context.buffer(reserve=_INSTANCE.itemsize, dynamic=True)
        self._arrays: dict[int, Any] = {}

    def draw(self, shading: Pass, objects: Objects, group: Group, row: int) -> None:
        """`row`: of the first triangle of all objects."""
        rows = group.rows
        instances = np.empty(len(rows), _INSTANCE)
        instances["at"], instances["pitch_yaw_roll"] = objects.pose[rows, :3], objects.pose[rows, 3:]
        instances["center"], instances["extent"] = objects.center[rows], objects.extent[rows]
        instances["paint"], instances["first"] = objects.color[rows], row + group.first
        self._instances.orphan(instances.nbytes)
        self._instances.write(instances)
        array = self._arrays.get(id(shading))
        if array is None:
            array = self._arrays[id(shading)] = self._array(shading)
        array.render(vertices=self._count, instances=len(rows))

    def _array(self, shading: Pass) -> Any:
        content = [
            (self._corners, "3f4 3f4 4f4 1u4", *(_CORNER.names or ())),
            (self._instances, "3f4 3f4 3f4 3f4 3f4 1u4 /i", *(_INSTANCE.names or ())),
        ]
        return self._context.vertex_array(shading.objects, content, skip_errors=True)


class Target:
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

    def read(self, attachment: int) -> npt.NDArray[Any]:
        """(H * W,) of words or rows, as attachment 1 of distances"""
        dtype = ("u4", "f4")[attachment]
        data = np.empty(self._framebuffer.width * self._framebuffer.height, f"<{dtype}")
        self._framebuffer.read_into(data, components=1, attachment=attachment, dtype=dtype)
        return data

    def release(self) -> None:
        for part in (self._framebuffer, self._depth, *self._textures):
            part.release()


class Table:
    """A word for each row, on the card."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._words: Words | None = None
        self._texture: Any = None

    def write(self, words: Words) -> None:
        """Not again where it is the very array of the last time."""
        if words is self._words:
            return
        self._words = words
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
