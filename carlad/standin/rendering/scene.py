"""One town to cast rays into: what stands still is built once, what moves once a frame.

Rays are answered by Open3D's RaycastingScene (Embree). It is imported at the first ray, or by `warm`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.daylight import daylight, shade
from carlad.standin.rendering.geometry import FloatArray, location_of, rotation_of
from carlad.standin.rendering.mesh import Mesh
from carlad.standin.rendering.objects import Objects
from carlad.standin.rendering.shapes import Group, ObjectMesh, groups_of, mesh_of
from carlad.standin.rendering.statics import Static, cast, caster_of
from carlad.standin.rendering.structures import Structure, structures_of
from carlad.standin.towns import Town
from carlad.wire.types import CityObjectLabel, TrafficLightState, Transform, WeatherParameters

T = TypeVar("T")

NOTHING_HIDDEN: frozenset[int] = frozenset()

_SKIP_M = 1e-3  # past a surface that is seen from behind
_CONES_MAX = 24  # objects near a head, each asked whether a ray comes near it
_TINY_M = 1e-9
_CONE_MARGIN = 1e-4  # of a cosine, for float32
_BACK_FACES_MAX = 6  # surfaces that a ray may leave from inside before it counts as lost


@dataclass(frozen=True)
class Hits:
    """Where rays (N, 6) ended.

    distance: float32 (N,), in lengths of the ray's direction; inf where nothing was hit
    triangle: int64 (N,), a row of the frame's tables; `Frame.sky` where nothing was hit
    """

    distance: npt.NDArray[np.float32]
    triangle: npt.NDArray[np.int64]


class Scene:
    """A town's static triangles, and frames of it. Building waits for the first look (or `warm`)."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self._building = threading.RLock()
        self._static: Static | None = None
        self._altered: tuple[frozenset[int], Static] | None = None
        self.rehearsed: set[str] = set()  # what was looked at once, see vision.py
        self._warming: dict[Callable[[], object], threading.Thread] = {}

    def warm(self) -> None:
        """Build the town now, and what rays need; safe in any thread.

        Takes about a second, most of it to import Open3D.
        """
        _ = self.static().caster

    def begin_to_warm(self, rays: bool) -> None:
        """Build the town in the background, for `rays` also what they need; `is_warming` until it is done."""
        work = self.warm if rays else self.static
        if work not in self._warming:
            self._warming[work] = threading.Thread(target=work, name="scene-warm", daemon=True)
            self._warming[work].start()

    @property
    def is_warming(self) -> bool:
        """Whether a look would have to wait for what is being built."""
        return any(thread.is_alive() for thread in self._warming.values())

    @cached_property
    def structures(self) -> tuple[Structure, ...]:
        """What stands still; found without Open3D."""
        with self._building:
            return structures_of(self.town)

    def static(self, hidden: frozenset[int] = NOTHING_HIDDEN) -> Static:
        """The town without the structures of these indices. Of altered towns the latest one is kept."""
        with self._building:
            if self._static is None:
                self._static = Static.of(self.town, self.structures)
            if not hidden:
                return self._static
            if self._altered is None or self._altered[0] != hidden:
                self._altered = hidden, self._static.without(hidden)
            return self._altered[1]

    def frame(
        self,
        objects: Objects,
        lights: Sequence[int] | None = None,
        burning: Sequence[tuple[int, int, int] | None] = (),
        hidden: frozenset[int] = NOTHING_HIDDEN,
    ) -> Frame:
        """The town at one moment: `objects` as they stand, `lights` in the order of `town.lights`.

        `burning` are the colours of the street lights that are lit, `hidden` the structures that are not
        there. Costs nothing until a sensor looks. Without `lights` all lamps are off.
        """
        states = tuple(lights) if lights is not None else (TrafficLightState.OFF,) * len(self.town.lights)
        if len(states) != len(self.town.lights):
            raise ValueError(f"cannot show {len(states)} light states: the town has {len(self.town.lights)}")
        return Frame(self, objects, states, tuple(burning), hidden)


class Frame:
    """One moment of a scene. Tables have a row for each static triangle, then the sky, then the objects'."""

    def __init__(
        self,
        scene: Scene,
        objects: Objects,
        lights: tuple[int, ...],
        burning: tuple[tuple[int, int, int] | None, ...],
        hidden: frozenset[int],
    ) -> None:
        self.objects = objects
        self.lights = lights
        self._scene = scene
        self._burning = burning
        self._hidden = hidden
        self._kept: dict[Hashable, Any] = {}

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What `compute` returns, computed once for each key: sensors of one pose share their rays so."""
        if key not in self._kept:
            self._kept[key] = compute()
        kept: T = self._kept[key]
        return kept

    @cached_property
    def static(self) -> Static:
        return self._scene.static(self._hidden)

    @property
    def sky(self) -> int:
        """The table row of rays that hit nothing."""
        return len(self.static.mesh)

    @cached_property
    def groups(self) -> list[Group]:
        """The objects by shape."""
        return groups_of(self.objects)

    @cached_property
    def moving(self) -> Mesh:
        return self._moving.mesh

    @cached_property
    def tags(self) -> npt.NDArray[np.uint8]:
        """uint8 (rows,), CityObjectLabel"""
        sky = np.array([CityObjectLabel.SKY], np.uint8)
        return np.concatenate((self.static.mesh.tag, sky, self.moving.tag))

    @cached_property
    def object_ids(self) -> npt.NDArray[np.uint32]:
        """uint32 (rows,), the actor's id; 0 for what belongs to the town"""
        return np.concatenate((np.zeros(self.sky + 1, np.uint32), self._moving.object_id))

    @cached_property
    def instances(self) -> npt.NDArray[np.uint32]:
        """uint32 (rows,), what each surface is part of: an actor's id, or counted down from the highest
        number of 16 bits for the town's structures; 0 for the sky"""
        return np.concatenate((self.static.instances, np.zeros(1, np.uint32), self._moving.object_id))

    @cached_property
    def normals(self) -> npt.NDArray[np.float32]:
        """float32 (rows, 3), outwards"""
        return np.concatenate((self.static.normals, np.zeros((1, 3), np.float32), self.moving.normals))

    def palette(self, weather: WeatherParameters) -> npt.NDArray[np.uint32]:
        """uint32 (rows,), colours as lit, packed as in `daylight.pack`; lamps shine by themselves."""
        moving = shade(self.moving.color, self.moving.normals, daylight(weather))
        return np.concatenate((self.still_palette(weather), moving))

    def still_palette(self, weather: WeatherParameters) -> npt.NDArray[np.uint32]:
        """The rows of `palette` that belong to the town and the sky."""
        return self.static.palette(weather, self.lights, self._burning)

    def cast(self, rays: npt.NDArray[np.float32], candidates: npt.NDArray[np.intp] | None = None) -> Hits:
        """First surfaces that rays (N, 6) meet: origin and direction, world frame, metres.

        Of the objects only `candidates`, rows of `rays`, are asked; None: all. Whoever knows that the other
        rays pass by saves time so.
        """
        if not len(rays):
            return Hits(np.empty(0, np.float32), np.empty(0, np.int64))
        distance, triangle = cast(self.static.caster, rays)
        np.minimum(triangle, self.sky, out=triangle)
        if not len(self.objects) or (candidates is not None and not len(candidates)):
            return Hits(distance, triangle)
        asked = slice(None) if candidates is None else candidates
        nearer, row = self._cast_moving(rays[asked])
        winners = np.flatnonzero(nearer < distance[asked])
        winning = winners if candidates is None else candidates[winners]
        distance[winning] = nearer[winners]
        triangle[winning] = row[winners] + (self.sky + 1)
        return Hits(distance, triangle)

    def cast_from(
        self, world_from_head: Transform, directions: npt.NDArray[np.float32], reach_m: float
    ) -> tuple[Hits, npt.NDArray[np.float32]]:
        """First surfaces along unit vectors (N, 3) in a head's frame, and these in the world's frame.

        Objects that lie wholly beyond `reach_m` may be missed.
        """
        rays = np.empty((len(directions), 6), np.float32)
        rays[:, :3] = origin = location_of(world_from_head)
        rays[:, 3:] = world = directions @ rotation_of(world_from_head).T.astype(np.float32)
        return self.cast(rays, self._passing(origin, world, reach_m)), world

    def _passing(
        self, origin: FloatArray, directions: npt.NDArray[np.float32], reach_m: float
    ) -> npt.NDArray[np.intp] | None:
        """Which rays come near an object; None for all of them, also where asking costs more than casting.

        Seen from outside a box lies in the cone that its corners span.
        """
        near = np.flatnonzero(self.objects.distance(origin) < reach_m)
        if len(near) > _CONES_MAX:
            return None
        corners = self.objects.corners[near] - origin
        corners /= np.maximum(np.linalg.norm(corners, axis=2, keepdims=True), _TINY_M)
        axis = corners.mean(axis=1)
        axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), _TINY_M)  # no axis from its middle
        cosine = np.einsum("nki,ni->nk", corners, axis).min(axis=1, initial=1.0) - _CONE_MARGIN
        if not (cosine > 0.0).all():  # inside, or too close
            return None
        along = directions @ axis.T.astype(np.float32)
        return np.flatnonzero((along > cosine.astype(np.float32)).any(axis=1))

    def _cast_moving(
        self, rays: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Like `cast`, but a surface seen from behind is looked through: sensors sit inside vehicles."""
        distance, triangle = cast(self._caster, rays)
        normals = self.moving.normals
        for _ in range(_BACK_FACES_MAX):
            hit = np.flatnonzero(np.isfinite(distance))
            leaving = np.einsum("ij,ij->i", normals[triangle[hit]], rays[hit, 3:]) > 0
            behind = hit[leaving]
            if not len(behind):
                return distance, triangle
            onward = rays[behind].copy()
            passed = distance[behind] + _SKIP_M / np.linalg.norm(onward[:, 3:], axis=1)
            onward[:, :3] += onward[:, 3:] * passed[:, None]
            rest, triangle[behind] = cast(self._caster, onward)
            distance[behind] = passed + rest
        distance[behind] = np.inf
        return distance, triangle

    @cached_property
    def _moving(self) -> ObjectMesh:
        return mesh_of(self.objects, self.groups)

    @cached_property
    def _caster(self) -> Any:
        return caster_of(self.moving)
