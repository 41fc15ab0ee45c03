"""A town's still part as one soup of triangles that rays can be cast at."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple

from carlad.standin.rendering import signals
from carlad.standin.rendering.daylight import daylight, pack, shade
from carlad.standin.rendering.mesh import Mesh, join
from carlad.standin.rendering.street_lights import TRIANGLES_PER_BULB, bulbs
from carlad.standin.rendering.structures import Structure
from carlad.standin.towns import Town
from carlad.wire.types import WeatherParameters

_INSTANCE_MAX = 0xFFFF  # instance images have 16 bits for a thing


class Static:
    """The triangles of all structures; those of the street lights' bulbs and of the lamps come last.

    owner: int64 (T,), index of the structure to which a triangle belongs
    instances: uint32 (T,), the number of that structure in instance images, counted down from the highest
    bulb_rows: the first row of each street light's bulb
    """

    def __init__(self, mesh: Mesh, owner: npt.NDArray[np.int64], bulb_rows: range) -> None:
        self.mesh = mesh
        self.owner = owner
        self.instances = _INSTANCE_MAX - owner.astype(np.uint32) % _INSTANCE_MAX
        self.bulb_rows = bulb_rows
        self.normals = mesh.normals
        self._building = threading.Lock()
        self._caster: Any = None
        self._palette_of: tuple[object, ...] = ()
        self._palette = np.empty(0, np.uint32)
        self._by_day: tuple[tuple[object, ...], npt.NDArray[np.uint32]] = (), self._palette

    @cached_property
    def heights_m(self) -> tuple[float, float]:
        """z of the lowest and of the highest corner."""
        heights = self.mesh.corners[..., 2]
        return float(heights.min(initial=0.0)), float(heights.max(initial=0.0))

    @property
    def caster(self) -> Any:
        """What rays are cast at; built, and Open3D imported, when it is asked for first."""
        with self._building:
            if self._caster is None:
                self._caster = caster_of(self.mesh)
            return self._caster

    @classmethod
    def of(cls, town: Town, structures: Sequence[Structure]) -> Static:
        lamps, shining = list(signals.lamps(town)), list(bulbs(town))
        count = len(structures)
        heads = np.arange(count - len(lamps), count)
        masts = np.arange(count - len(lamps) - len(shining), count - len(lamps))
        sizes = [len(structure.mesh) for structure in structures]
        owner = np.concatenate(
            (
                np.repeat(np.arange(count), sizes),
                np.repeat(masts, TRIANGLES_PER_BULB),
                np.repeat(heads, signals.TRIANGLES_PER_LIGHT),
            )
        )
        mesh = join([*(structure.mesh for structure in structures), *shining, *lamps])
        first, behind = sum(sizes), sum(sizes) + len(shining) * TRIANGLES_PER_BULB
        return cls(mesh, owner, range(first, behind, TRIANGLES_PER_BULB))

    def without(self, hidden: frozenset[int]) -> Static:
        """The same tables, in which the triangles of hidden structures are mere points that no ray meets."""
        corners = self.mesh.corners.copy()
        corners[np.isin(self.owner, list(hidden))] = 0.0
        return Static(Mesh(corners, self.mesh.tag, self.mesh.color), self.owner, self.bulb_rows)

    def palette(
        self,
        weather: WeatherParameters,
        lights: tuple[int, ...],
        burning: tuple[tuple[int, int, int] | None, ...],
    ) -> npt.NDArray[np.uint32]:
        """uint32 (T + 1,), as in `Frame.palette`, to the sky's row: the same array until one changes."""
        key = (astuple(weather), lights, burning)
        if key != self._palette_of:
            self._palette_of = key
            self._palette = self._lit(weather, lights, burning)
        return self._palette

    def _lit(
        self,
        weather: WeatherParameters,
        lights: tuple[int, ...],
        burning: tuple[tuple[int, int, int] | None, ...],
    ) -> npt.NDArray[np.uint32]:
        if self._by_day[0] != astuple(weather):
            self._by_day = astuple(weather), shade(self.mesh.color, self.normals, daylight(weather))
        words = np.append(self._by_day[1], np.uint32(0))
        lamps = pack(signals.lamp_colors(lights))
        words[len(self.mesh) - len(lamps) : len(self.mesh)] = lamps
        for row, color in zip(self.bulb_rows, burning, strict=False):
            if color is not None:
                words[row : row + TRIANGLES_PER_BULB] = pack(np.array(color))
        return words


def caster_of(mesh: Mesh) -> Any:
    """An Open3D scene of `mesh`; its primitive ids are the mesh's rows."""
    o3d = _open3d()
    scene = o3d.t.geometry.RaycastingScene()
    corners = np.ascontiguousarray(mesh.corners.reshape(-1, 3))
    order = np.arange(len(corners), dtype=np.uint32).reshape(-1, 3)
    scene.add_triangles(o3d.core.Tensor(corners), o3d.core.Tensor(order))
    return scene


def cast(caster: Any, rays: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Distance of the first triangle that each ray (N, 6) meets, in lengths of its direction, and its row."""
    answer = caster.cast_rays(_open3d().core.Tensor(rays))
    return answer["t_hit"].numpy(), answer["primitive_ids"].numpy().astype(np.int64)


def _open3d() -> Any:
    return import_module("open3d")
