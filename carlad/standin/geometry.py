"""Poses in CARLA's frame: metres and degrees, x forward, y right, z up (left-handed).

A positive yaw turns clockwise seen from above, a positive pitch lifts the nose. Rotations apply in the order
roll, pitch, yaw, as LibCarla `carla/geom/Transform.h` (0.9.16) does.
"""

from __future__ import annotations

from math import asin, atan2, cos, degrees, radians, sin

from carlad.wire.types import Rotation, Transform, Vector3D

# Row-major 3 x 3, parent_from_child: columns are the child's x, y and z axes in the parent's frame.
Matrix = tuple[float, float, float, float, float, float, float, float, float]


def matrix(rotation: Rotation) -> Matrix:
    """world_from_body of a rotation."""
    p, y, r = radians(rotation.pitch), radians(rotation.yaw), radians(rotation.roll)
    sp, cp, sy, cy, sr, cr = sin(p), cos(p), sin(y), cos(y), sin(r), cos(r)
    return (
        cp * cy, cy * sp * sr - sy * cr, -cy * sp * cr - sy * sr,
        cp * sy, sy * sp * sr + cy * cr, -sy * sp * cr + cy * sr,
        sp, -cp * sr, cp * cr,
    )  # fmt: skip


def rotation(m: Matrix) -> Rotation:
    """The angles of a rotation matrix, in degrees."""
    pitch = asin(max(-1.0, min(1.0, m[6])))
    return Rotation(degrees(pitch), degrees(atan2(m[3], m[0])), degrees(atan2(-m[7], m[8])))


def rotate(m: Matrix, v: Vector3D) -> Vector3D:
    """A direction of the child's frame in the parent's."""
    return Vector3D(
        m[0] * v.x + m[1] * v.y + m[2] * v.z,
        m[3] * v.x + m[4] * v.y + m[5] * v.z,
        m[6] * v.x + m[7] * v.y + m[8] * v.z,
    )


def unrotate(m: Matrix, v: Vector3D) -> Vector3D:
    """A direction of the parent's frame in the child's."""
    return Vector3D(
        m[0] * v.x + m[3] * v.y + m[6] * v.z,
        m[1] * v.x + m[4] * v.y + m[7] * v.z,
        m[2] * v.x + m[5] * v.y + m[8] * v.z,
    )


def product(a: Matrix, b: Matrix) -> Matrix:
    return (
        a[0] * b[0] + a[1] * b[3] + a[2] * b[6],
        a[0] * b[1] + a[1] * b[4] + a[2] * b[7],
        a[0] * b[2] + a[1] * b[5] + a[2] * b[8],
        a[3] * b[0] + a[4] * b[3] + a[5] * b[6],
        a[3] * b[1] + a[4] * b[4] + a[5] * b[7],
        a[3] * b[2] + a[4] * b[5] + a[5] * b[8],
        a[6] * b[0] + a[7] * b[3] + a[8] * b[6],
        a[6] * b[1] + a[7] * b[4] + a[8] * b[7],
        a[6] * b[2] + a[7] * b[5] + a[8] * b[8],
    )


def compose(world_from_parent: Transform, parent_from_child: Transform) -> Transform:
    """world_from_child."""
    m = matrix(world_from_parent.rotation)
    place, offset = world_from_parent.location, rotate(m, parent_from_child.location)
    return Transform(
        Vector3D(place.x + offset.x, place.y + offset.y, place.z + offset.z),
        rotation(product(m, matrix(parent_from_child.rotation))),
    )


def point(world_from_body: Transform, p: Vector3D) -> Vector3D:
    """A point of the body's frame in the world."""
    offset, place = rotate(matrix(world_from_body.rotation), p), world_from_body.location
    return Vector3D(place.x + offset.x, place.y + offset.y, place.z + offset.z)


def forward(rotation: Rotation) -> Vector3D:
    """The unit vector of the body's x axis in the world."""
    p, y = radians(rotation.pitch), radians(rotation.yaw)
    return Vector3D(cos(y) * cos(p), sin(y) * cos(p), sin(p))


def length(v: Vector3D) -> float:
    return float((v.x * v.x + v.y * v.y + v.z * v.z) ** 0.5)
