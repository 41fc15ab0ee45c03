"""Actors of every kind: spawn, destroy, move, look up."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from math import radians

from carlad.standin.actors import Actor
from carlad.standin.errors import require_finite
from carlad.standin.simulation import Simulation
from carlad.standin.vehicles import Vehicle
from carlad.wire import types as t
from carlad.wire.errors import CallError

# CARLA's angular impulses and torques are in degrees and centimetres (UPrimitiveComponent's kg cm^2 deg).
_ANGULAR_SI = radians(1.0) * 1e-4

# Programs wait two seconds for an answer. Spawning a camera waits for a part of what it will see, so that the
# tick that needs all of it has less to wait for.
FIRST_SIGHT_S = 1.0

_ATTACHMENTS = frozenset(map(int, t.AttachmentType))


def get_spectator(sim: Simulation) -> t.Actor:
    return sim.described(sim.world.spectator)


def get_actors_by_id(sim: Simulation, ids: list[int]) -> list[t.Actor]:
    """Unknown ids are left out, as the real server does."""
    actors = sim.world.actors
    return [sim.described(actors[actor_id]) for actor_id in ids if actor_id in actors]


def spawn_actor(
    sim: Simulation, description: t.ActorDescription, pose: t.Transform
) -> Generator[float, None, t.Actor]:
    actor = spawn(sim, description, pose, None)
    yield from _first_sight(sim, actor)
    return sim.described(actor)


def spawn_actor_with_parent(
    sim: Simulation, description: t.ActorDescription, pose: t.Transform,
    parent_id: int, attachment: int, socket_name: str,
) -> Generator[float, None, t.Actor]:  # fmt: skip
    """Sockets are all at the parent's origin."""
    if attachment not in _ATTACHMENTS:
        raise CallError(f"cannot attach an actor by attachment type {attachment}: there are 0, 1 and 2")
    actor = spawn(sim, description, pose, parent_id, attachment)
    yield from _first_sight(sim, actor)
    return sim.described(actor)


def _first_sight(sim: Simulation, actor: Actor) -> Iterator[float]:
    until_s = time.monotonic() + FIRST_SIGHT_S
    while sim.sensing.is_blind and time.monotonic() < until_s:
        yield 0.0
    if not sim.sensing.is_blind:
        sim.sensing.rehearse(actor)


def spawn(
    sim: Simulation,
    description: t.ActorDescription,
    pose: t.Transform,
    parent_id: int | None,
    attachment: int = t.AttachmentType.RIGID,
) -> Actor:
    """A new actor, attached where there is a parent. Raises CallError in CARLA's words."""
    check_pose(pose)
    if parent_id is None:
        return sim.spawned(sim.world.spawn(description, pose))
    return sim.spawned(sim.world.spawn_attached(description, pose, parent_id, attachment))


def destroy_actor(sim: Simulation, actor_id: int) -> bool:
    sim.destroy(actor_id)
    return True


def get_actor_bounding_box(sim: Simulation, actor_id: int) -> t.BoundingBox:
    return sim.world.tombstones.bounding_box(actor_id) or sim.world.actor(actor_id).bounding_box


def set_actor_location(sim: Simulation, actor_id: int, location: t.Location) -> None:
    _check(location)
    actor = sim.world.actor(actor_id)
    turn = actor.parent_from_actor.rotation if actor.parent_from_actor else actor.pose.rotation
    sim.world.relocate(actor, t.Transform(location, turn))


def set_actor_transform(sim: Simulation, actor_id: int, pose: t.Transform) -> None:
    check_pose(pose)
    sim.world.relocate(sim.world.actor(actor_id), pose)


def set_actor_target_velocity(sim: Simulation, actor_id: int, velocity: t.Vector3D) -> None:
    _check(velocity)
    actor = sim.world.actor(actor_id)
    if isinstance(actor, Vehicle):
        actor.push(velocity)


def set_actor_target_angular_velocity(sim: Simulation, actor_id: int, velocity: t.Vector3D) -> None:
    """Only the turn about the vertical axis: vehicles stay upright."""
    _check(velocity)
    actor = sim.world.actor(actor_id)
    if isinstance(actor, Vehicle):
        actor.turn(velocity.z)


def enable_actor_constant_velocity(sim: Simulation, actor_id: int, velocity: t.Vector3D) -> None:
    _check(velocity)
    actor = sim.world.actor(actor_id)
    if isinstance(actor, Vehicle):
        actor.hold_velocity(velocity)


def disable_actor_constant_velocity(sim: Simulation, actor_id: int) -> None:
    actor = sim.world.actor(actor_id)
    if isinstance(actor, Vehicle):
        actor.hold_velocity(None)


def add_actor_impulse(sim: Simulation, actor_id: int, impulse: t.Vector3D) -> None:
    _check(impulse)
    actor = sim.world.actor(actor_id)
    if isinstance(actor, Vehicle):
        actor.strike(impulse)


def add_actor_force(sim: Simulation, actor_id: int, force: t.Vector3D) -> None:
    _check(force)
    actor = sim.world.actor(actor_id)
    if isinstance(actor, Vehicle):
        actor.press(force)


def add_actor_angular_impulse(sim: Simulation, actor_id: int, impulse: t.Vector3D) -> None:
    """Only its part about the vertical axis: vehicles stay upright."""
    _check(impulse)
    actor = sim.world.actor(actor_id)
    if isinstance(actor, Vehicle):
        actor.spin(impulse.z * _ANGULAR_SI)


def add_actor_torque(sim: Simulation, actor_id: int, torque: t.Vector3D) -> None:
    """Only its part about the vertical axis: vehicles stay upright."""
    _check(torque)
    actor = sim.world.actor(actor_id)
    if isinstance(actor, Vehicle):
        actor.twist(torque.z * _ANGULAR_SI)


def add_actor_impulse_at_location(
    sim: Simulation, actor_id: int, impulse: t.Vector3D, location: t.Vector3D
) -> None:
    _check(impulse)
    _check(location)
    actor = sim.world.actor(actor_id)
    if isinstance(actor, Vehicle):
        actor.strike(impulse)
        actor.spin(_moment(actor, impulse, location))


def add_actor_force_at_location(
    sim: Simulation, actor_id: int, force: t.Vector3D, location: t.Vector3D
) -> None:
    _check(force)
    _check(location)
    actor = sim.world.actor(actor_id)
    if isinstance(actor, Vehicle):
        actor.press(force)
        actor.twist(_moment(actor, force, location))


def _moment(actor: Vehicle, push: t.Vector3D, location: t.Vector3D) -> float:
    """About the vertical axis, of a push at a place in the world."""
    middle = actor.pose.location
    return (location.x - middle.x) * push.y - (location.y - middle.y) * push.x


def set_actor_enable_gravity(sim: Simulation, actor_id: int, enabled: bool) -> None:
    actor = sim.world.actor(actor_id)
    if isinstance(actor, Vehicle):
        actor.fall(enabled)


def set_actor_simulate_physics(sim: Simulation, actor_id: int, enabled: bool) -> None:
    if actor_id in sim.world.tombstones:
        return
    actor = sim.world.actor(actor_id)
    if isinstance(actor, Vehicle):
        actor.simulate(enabled)


def set_actor_collisions(sim: Simulation, actor_id: int, enabled: bool) -> None:
    sim.world.actor(actor_id).collides = enabled


def check_pose(pose: t.Transform) -> None:
    """Raises CallError where a number of it is not finite."""
    _check(pose.location)
    require_finite("a rotation", pose.rotation.pitch, pose.rotation.yaw, pose.rotation.roll)


def _check(vector: t.Vector3D) -> None:
    require_finite("a vector", vector.x, vector.y, vector.z)
