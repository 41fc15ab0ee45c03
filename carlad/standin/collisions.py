"""Which bodies touch, and what that does to them.

Bodies are oriented boxes on the ground plane with a height range. Contacts are found by the separating axis
theorem and resolved by one impulse along the contact's normal, nearly inelastic, as car bodies are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, hypot, radians, sin
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from carlad.standin.actors import Actor
from carlad.standin.geometry import point
from carlad.standin.motion.contacts import CLEARANCE_M, OTHER, contact
from carlad.standin.vehicles import Vehicle
from carlad.wire import types as t

_WALKER_KG = 75.0


class Box(NamedTuple):
    """World frame, metres: centre, unit vector along the box, half sizes, as in motion/contacts.py."""

    x: float
    y: float
    z: float
    along_x: float
    along_y: float
    half_length: float
    half_width: float
    half_height: float

    @property
    def radius(self) -> float:
        """Of the circle around it."""
        return hypot(self.half_length, self.half_width)


@dataclass(frozen=True)
class Contact:
    """`normal` points from the first box to the second, in the ground plane; `depth` is in metres."""

    normal_x: float
    normal_y: float
    depth: float


@dataclass(frozen=True)
class Collision:
    """What a collision sensor on `actor` reports; `impulse` in N s, world frame, acts upon it."""

    actor: Actor
    other: Actor
    impulse: t.Vector3D


def box_of(actor: Actor, pose: t.Transform | None = None) -> Box:
    """An actor's box where it is, or where `pose` would put it; a vehicle's begins above its clearance."""
    box = box_at(actor.bounding_box, pose or actor.pose)
    if not isinstance(actor, Vehicle):
        return box
    half = 0.5 * CLEARANCE_M
    return box._replace(z=box.z + half, half_height=box.half_height - half)


def box_at(bounds: t.BoundingBox, pose: t.Transform) -> Box:
    centre, yaw = point(pose, bounds.location), radians(pose.rotation.yaw)
    extent = bounds.extent
    return Box(centre.x, centre.y, centre.z, cos(yaw), sin(yaw), extent.x, extent.y, extent.z)


def touching(a: Box, b: Box) -> Contact | None:
    """How deep two boxes are in each other, along the shortest way out; None where they are apart."""
    normal_x, normal_y, depth = contact(a, b)
    return Contact(normal_x, normal_y, depth) if depth else None


def bodies(actors: Sequence[Actor]) -> npt.NDArray[np.float64]:
    """Actors without a row of their own, as motion/contacts.py wants to have them: float64 (N, OTHER)."""
    rows = [_row(actor) for actor in actors]
    return np.array(rows, np.float64).reshape(-1, OTHER)


def _row(actor: Actor) -> tuple[float, ...]:
    box, velocity = box_of(actor), actor.velocity
    inverse_mass = 1.0 / _WALKER_KG if actor.type_id.startswith("walker.") else 0.0
    radius = box.radius if actor.collides else -1.0
    return (*box, radius, inverse_mass, velocity.x, velocity.y, 0.0, 0.0)


def give_way(actor: Actor, row: npt.NDArray[np.float64]) -> None:
    """Move an actor as its row in `bodies` was pushed."""
    *_, vx, vy, pushed_x, pushed_y = row.tolist()
    place, velocity = actor.pose.location, actor.velocity
    moved = t.Vector3D(place.x + pushed_x, place.y + pushed_y, place.z)
    actor.move(t.Transform(moved, actor.pose.rotation), t.Vector3D(vx, vy, velocity.z))


def radius_of(bounds: t.BoundingBox) -> float:
    """Of the circle around an actor's origin that holds its box, metres."""
    return hypot(bounds.extent.x, bounds.extent.y) + hypot(bounds.location.x, bounds.location.y)
