"""Bones, sockets and components. Walkers and things have one component; sockets are the bones."""

from __future__ import annotations

from carlad.standin.actors import Actor
from carlad.standin.components import MESH, lamps
from carlad.standin.errors import ActorError, require_finite
from carlad.standin.geometry import compose, matrix, unrotate
from carlad.standin.handlers.actors import check_pose
from carlad.standin.handlers.vehicles import vehicle_of, walker_of
from carlad.standin.simulation import Simulation
from carlad.standin.skeletons import Bone, blended, in_actor, rest_pose, vehicle_bones, walker_bones
from carlad.standin.vehicles import Vehicle
from carlad.standin.walkers import MIDDLE_M, Walker
from carlad.wire import types as t

NO_COMPONENT = "Component Name could not be found"
_WHEELS = ("Wheel_Front_Left", "Wheel_Front_Right", "Wheel_Rear_Left", "Wheel_Rear_Right")
_CM = 100.0


def get_actor_component_names(sim: Simulation, actor_id: int) -> list[str]:
    return list(_components(sim.world.actor(actor_id)))


def get_actor_component_world_transform(sim: Simulation, actor_id: int, name: str) -> t.Transform:
    actor = sim.world.actor(actor_id)
    return compose(actor.pose, _component(actor, name))


def get_actor_component_relative_transform(sim: Simulation, actor_id: int, name: str) -> t.Transform:
    """actor_from_component."""
    return _component(sim.world.actor(actor_id), name)


def get_actor_bone_names(sim: Simulation, actor_id: int) -> list[str]:
    return [bone.name for bone in _bones(sim.world.actor(actor_id))]


def get_actor_bone_world_transforms(sim: Simulation, actor_id: int) -> list[t.Transform]:
    actor = sim.world.actor(actor_id)
    return [compose(_ground(actor), pose) for pose in _in_actor(actor).values()]


def get_actor_bone_relative_transforms(sim: Simulation, actor_id: int) -> list[t.Transform]:
    """Each in its parent bone's frame."""
    return list(_pose(sim.world.actor(actor_id)).values())


def get_vehicle_bone_world_transforms(sim: Simulation, actor_id: int) -> list[t.Transform]:
    vehicle_of(sim, actor_id)
    return get_actor_bone_world_transforms(sim, actor_id)


def get_actor_socket_names(sim: Simulation, actor_id: int) -> list[str]:
    return get_actor_bone_names(sim, actor_id)


def get_actor_socket_world_transforms(sim: Simulation, actor_id: int) -> list[t.Transform]:
    return get_actor_bone_world_transforms(sim, actor_id)


def get_actor_socket_relative_transforms(sim: Simulation, actor_id: int) -> list[t.Transform]:
    """Each in the actor's frame."""
    return list(_in_actor(sim.world.actor(actor_id)).values())


def get_bones_transform(sim: Simulation, actor_id: int) -> t.WalkerBones:
    walker = walker_of(sim, actor_id)
    relative, component = _pose(walker), _in_actor(walker)
    return t.WalkerBones(
        [
            t.BoneTransforms(name, compose(_ground(walker), component[name]), component[name], pose)
            for name, pose in relative.items()
        ]
    )


def set_bones_transform(sim: Simulation, actor_id: int, bones: t.BonePoses) -> None:
    """Poses for `blend_pose`, each in its parent bone's frame; names that do not exist are left out."""
    walker = walker_of(sim, actor_id)
    for bone in bones.poses:
        check_pose(bone.pose)
    known = rest_pose(_bones(walker))
    walker.wanted_pose |= {bone.name: bone.pose for bone in bones.poses if bone.name in known}


def blend_pose(sim: Simulation, actor_id: int, share: float) -> None:
    """0 shows the animation's pose, 1 the one that was set."""
    require_finite("a share", share)
    walker_of(sim, actor_id).pose_share = max(0.0, min(1.0, share))


def get_pose_from_animation(sim: Simulation, actor_id: int) -> None:
    """Takes the animation's pose as the one that is set."""
    walker = walker_of(sim, actor_id)
    walker.wanted_pose = rest_pose(_bones(walker))


def _bones(actor: Actor) -> tuple[Bone, ...]:
    if isinstance(actor, Walker):
        return walker_bones(2.0 * actor.bounding_box.extent.z)
    if isinstance(actor, Vehicle):
        return vehicle_bones(_wheels(actor))
    return ()


def _wheels(vehicle: Vehicle) -> dict[str, tuple[float, float, float]]:
    """Where the wheels' middles are, vehicle frame (m); physics controls have them in world centimetres."""
    pose = vehicle.pose
    found = {}
    for name, wheel in zip(_WHEELS, vehicle.physics_control.wheels, strict=False):
        place, origin = wheel.position, pose.location
        offset = t.Vector3D(place.x / _CM - origin.x, place.y / _CM - origin.y, place.z / _CM - origin.z)
        local = unrotate(matrix(pose.rotation), offset)
        found[name] = (local.x, local.y, local.z)
    return found


def _pose(actor: Actor) -> dict[str, t.Transform]:
    animated = rest_pose(_bones(actor))
    return blended(animated, actor.wanted_pose, actor.pose_share) if isinstance(actor, Walker) else animated


def _in_actor(actor: Actor) -> dict[str, t.Transform]:
    return in_actor(_bones(actor), _pose(actor))


def _ground(actor: Actor) -> t.Transform:
    """world_from_root: a walker's bones begin at its feet."""
    if not isinstance(actor, Walker):
        return actor.pose
    return compose(actor.pose, t.Transform(t.Vector3D(0.0, 0.0, -MIDDLE_M), t.Rotation()))


def _components(actor: Actor) -> dict[str, t.Transform]:
    """actor_from_component by name."""
    root = t.Transform(t.Vector3D(), t.Rotation())
    if not isinstance(actor, Vehicle):
        return {"CharacterMesh0" if isinstance(actor, Walker) else "RootComponent": root}
    if actor.values.get("number_of_wheels") != "4":
        return {MESH: root}
    return {MESH: root} | lamps(actor.bounding_box, actor.values.get("special_type") == "emergency")


def _component(actor: Actor, name: str) -> t.Transform:
    found = _components(actor).get(name)
    if found is None:
        raise ActorError(NO_COMPONENT, actor.id)
    return found
