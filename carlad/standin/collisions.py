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
from carlad.standin.motion.contacts import BOX, CLEARANCE_M, RESTITUTION, contact
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


def boxes(actors: Sequence[Actor]) -> npt.NDArray[np.float64]:
    """Where actors stand, as motion/contacts.py wants to have it: float64 (N, BOX)."""
    rows = [_row(actor) for actor in actors]
    return np.array(rows, np.float64).reshape(-1, BOX)


def _row(actor: Actor) -> tuple[float, ...]:
    box = box_of(actor)
    return (*box, box.radius if actor.collides else -1.0)


def collide(first: Actor, second: Actor) -> list[Collision]:
    """Push two actors apart where they touch; what each of them feels."""
    return meet(first, second, touching(box_of(first), box_of(second)))


def meet(first: Actor, second: Actor, contact: Contact | None) -> list[Collision]:
    """Push two actors apart that touch like that; what each of them feels."""
    if contact is None:
        return []
    inverse_masses = _inverse_mass(first), _inverse_mass(second)
    if not sum(inverse_masses):
        return []
    impulse = _impulse(first, second, contact, sum(inverse_masses))
    _give_way(first, contact, -impulse * inverse_masses[0], -inverse_masses[0] / sum(inverse_masses))
    _give_way(second, contact, impulse * inverse_masses[1], inverse_masses[1] / sum(inverse_masses))
    felt = t.Vector3D(impulse * contact.normal_x, impulse * contact.normal_y, 0.0)
    return [
        Collision(first, second, t.Vector3D(-felt.x, -felt.y, 0.0)),
        Collision(second, first, felt),
    ]


def _inverse_mass(actor: Actor) -> float:
    """1 / kg; 0 for what nothing can move."""
    if isinstance(actor, Vehicle):
        return 1.0 / actor.mass_kg if actor.simulated else 0.0
    return 1.0 / _WALKER_KG if actor.type_id.startswith("walker.") else 0.0


def _impulse(first: Actor, second: Actor, contact: Contact, inverse_mass: float) -> float:
    """N s along the normal; none while they are already moving apart."""
    one, two = first.velocity, second.velocity
    closing = (one.x - two.x) * contact.normal_x + (one.y - two.y) * contact.normal_y
    return max(0.0, (1.0 + RESTITUTION) * closing / inverse_mass)


def _give_way(actor: Actor, contact: Contact, change_mps: float, share: float) -> None:
    """Move the actor out of the other one by its share, and change its velocity along the normal."""
    if not share:
        return
    shift, velocity, pose = share * contact.depth, actor.velocity, actor.pose
    place = pose.location
    pose.location = t.Vector3D(
        place.x + shift * contact.normal_x, place.y + shift * contact.normal_y, place.z
    )
    velocity.x += change_mps * contact.normal_x
    velocity.y += change_mps * contact.normal_y
    actor.move(pose, velocity)


def radius_of(bounds: t.BoundingBox) -> float:
    """Of the circle around an actor's origin that holds its box, metres."""
    return hypot(bounds.extent.x, bounds.extent.y) + hypot(bounds.location.x, bounds.location.y)
