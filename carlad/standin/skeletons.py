"""Bones of walkers and vehicles: plausible places under CARLA's names.

Walkers are a stick figure of average size that stands upright. CARLA's own bones differ from model to model
and move with the animation; here they stand still until a client sets them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import msgspec

from carlad.standin.geometry import compose
from carlad.wire import types as t

Pose = Mapping[str, t.Transform]  # parent_from_bone, or actor_from_bone, by name

_HEIGHT_M = 1.8  # of the figure that the numbers below describe


class Bone(msgspec.Struct, frozen=True):
    """`place` is in the parent bone's frame (m); a root's is the actor's, with the feet at z = 0."""

    name: str
    parent: str | None
    place: tuple[float, float, float]


def _limbs(side: str, sign: float) -> Iterator[Bone]:
    """One arm and one leg; `sign` is -1 on the left."""
    yield Bone(f"crl_shoulder__{side}", "crl_spine01__C", (0.0, 0.06 * sign, 0.2))
    yield Bone(f"crl_arm__{side}", f"crl_shoulder__{side}", (0.0, 0.14 * sign, 0.0))
    yield Bone(f"crl_foreArm__{side}", f"crl_arm__{side}", (0.0, 0.02 * sign, -0.28))
    yield Bone(f"crl_hand__{side}", f"crl_foreArm__{side}", (0.0, 0.0, -0.25))
    yield Bone(f"crl_thigh__{side}", "crl_hips__C", (0.0, 0.1 * sign, -0.05))
    yield Bone(f"crl_leg__{side}", f"crl_thigh__{side}", (0.0, 0.0, -0.42))
    yield Bone(f"crl_foot__{side}", f"crl_leg__{side}", (0.0, 0.0, -0.42))
    yield Bone(f"crl_toe__{side}", f"crl_foot__{side}", (0.14, 0.0, -0.05))
    yield Bone(f"crl_toeEnd__{side}", f"crl_toe__{side}", (0.06, 0.0, 0.0))
    yield Bone(f"crl_eye__{side}", "crl_Head__C", (0.09, 0.03 * sign, 0.08))


_WALKER = (
    Bone("crl_root", None, (0.0, 0.0, 0.0)),
    Bone("crl_hips__C", "crl_root", (0.0, 0.0, 0.97)),
    Bone("crl_spine__C", "crl_hips__C", (0.0, 0.0, 0.12)),
    Bone("crl_spine01__C", "crl_spine__C", (0.0, 0.0, 0.17)),
    Bone("crl_neck__C", "crl_spine01__C", (0.0, 0.0, 0.25)),
    Bone("crl_Head__C", "crl_neck__C", (0.0, 0.0, 0.09)),
    *_limbs("L", -1.0),
    *_limbs("R", 1.0),
)


@cache
def walker_bones(height_m: float = _HEIGHT_M) -> tuple[Bone, ...]:
    """The skeleton of somebody of that height; parents come before their children."""
    scale = height_m / _HEIGHT_M
    return tuple(
        Bone(bone.name, bone.parent, (bone.place[0] * scale, bone.place[1] * scale, bone.place[2] * scale))
        for bone in _WALKER
    )


def vehicle_bones(wheels: Mapping[str, tuple[float, float, float]]) -> tuple[Bone, ...]:
    """A body and its wheels, whose middles are given in the vehicle's frame (m)."""
    base = Bone("Vehicle_Base", None, (0.0, 0.0, 0.0))
    return base, *(Bone(name, base.name, place) for name, place in wheels.items())


def rest_pose(bones: tuple[Bone, ...]) -> dict[str, t.Transform]:
    """parent_from_bone of each."""
    return {bone.name: t.Transform(t.Vector3D(*bone.place), t.Rotation()) for bone in bones}


def in_actor(bones: tuple[Bone, ...], parent_from_bone: Pose) -> dict[str, t.Transform]:
    """actor_from_bone of each, by way of its parents."""
    found: dict[str, t.Transform] = {}
    for bone in bones:
        pose = parent_from_bone[bone.name]
        found[bone.name] = pose if bone.parent is None else compose(found[bone.parent], pose)
    return found


def blended(animated: Pose, wanted: Pose, share: float) -> dict[str, t.Transform]:
    """Between the animation's pose (0) and the one that a client wants (1)."""
    return {name: between(pose, wanted.get(name, pose), share) for name, pose in animated.items()}


def between(a: t.Transform, b: t.Transform, share: float) -> t.Transform:
    """From `a` (0) to `b` (1); angles take the short way round."""

    def mix(low: float, high: float) -> float:
        return low + (high - low) * share

    def turn(low: float, high: float) -> float:
        return low + ((high - low + 180.0) % 360.0 - 180.0) * share

    p, q, r, s = a.location, b.location, a.rotation, b.rotation
    return t.Transform(
        t.Vector3D(mix(p.x, q.x), mix(p.y, q.y), mix(p.z, q.z)),
        t.Rotation(turn(r.pitch, s.pitch), turn(r.yaw, s.yaw), turn(r.roll, s.roll)),
    )
