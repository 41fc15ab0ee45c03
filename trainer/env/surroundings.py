"""Everybody else on the road, as arrays for one tick."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

KINDS = ("vehicle", "walker", "static")
VEHICLE, WALKER, STATIC = range(3)
_PREFIXES = {"vehicle.": VEHICLE, "walker.pedestrian.": WALKER, "static.prop.": STATIC}


class Others(NamedTuple):
    """N actors' boxes on the ground, in CARLA's frame: metres, radians, m/s. Columns of length N."""

    ids: list[int]
    kinds: NDArray[np.int64]
    x: Numbers
    y: Numbers
    z: Numbers
    yaw_rad: Numbers
    vx: Numbers
    vy: Numbers
    half_length_m: Numbers
    half_width_m: Numbers
    half_height_m: Numbers

    @property
    def size(self) -> int:
        """N."""
        return len(self.ids)


def _columns(rows: list[tuple[float, ...]], ids: list[int]) -> Others:
    table = np.array(rows, np.float64).reshape(len(ids), 13)
    kinds, x, y, z, yaw_rad, vx, vy, half_length, half_width, half_height, forward, right, up = table.T
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    centre_x, centre_y = x + cos * forward - sin * right, y + sin * forward + cos * right
    centre = centre_x, centre_y, z + up
    sizes = half_length, half_width, half_height
    return Others(ids, kinds.astype(np.int64), *centre, yaw_rad, vx, vy, *sizes)


NOBODY = _columns([], [])


class Surroundings:
    """Follows the actors of a `carla.World`, all but the ego vehicle."""

    def __init__(self, world: Any, ego_id: int) -> None:
        self._world = world
        self._bodies: dict[int, tuple[float, ...]] = {}
        self._ego_id = ego_id
        self._known: set[int] = set()
        self._size = -1

    def update(self, snapshot: Any) -> Others:
        """Those in the snapshot. It asks the server only about actors that it has not seen before."""
        if len(snapshot) != self._size or any(not snapshot.has_actor(body) for body in self._bodies):
            self._recount(snapshot)
        if not self._bodies:
            return NOBODY
        rows, ids = [], []
        for actor_id, (kind, *box) in self._bodies.items():
            actor = snapshot.find(actor_id)
            transform, velocity = actor.get_transform(), actor.get_velocity()
            place = transform.location
            yaw_rad = math.radians(transform.rotation.yaw)
            rows.append((kind, place.x, place.y, place.z, yaw_rad, velocity.x, velocity.y, *box))
            ids.append(actor_id)
        return _columns(rows, ids)

    def _recount(self, snapshot: Any) -> None:
        present = {actor.id for actor in snapshot}
        self._size = len(snapshot)
        self._bodies = {key: body for key, body in self._bodies.items() if key in present}
        if new := present - self._known - {self._ego_id}:
            for actor in self._world.get_actors(sorted(new)):
                self._note(actor)
        self._known = present

    def _note(self, actor: Any) -> None:
        kind = next((kind for prefix, kind in _PREFIXES.items() if actor.type_id.startswith(prefix)), None)
        if kind is None:
            return
        box = actor.bounding_box
        self._bodies[actor.id] = kind, *_three(box.extent), *_three(box.location)


def _three(vector: Any) -> tuple[float, float, float]:
    return vector.x, vector.y, vector.z
