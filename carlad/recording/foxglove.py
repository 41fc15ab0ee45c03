"""Telemetry as Foxglove's messages, and back.

Foxglove's world is right-handed with z up: y and yaw change their sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.LinePrimitive_pb2 import LinePrimitive
from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from foxglove_schemas_protobuf.SceneEntity_pb2 import SceneEntity
from foxglove_schemas_protobuf.SceneUpdate_pb2 import SceneUpdate

from carlad.telemetry import jpeg
from carlad.telemetry.bundle import Actor, Array, Bundle, Ego, Lanes

WORLD, EGO = "world", "ego"  # Foxglove's frames
_CLOUD_FIELDS = ("x", "y", "z", "intensity", "tag")
_COLOURS = {"vehicle": (0.34, 0.71, 0.91), "walker": (0.94, 0.89, 0.26), "ego": (0.90, 0.62, 0.0)}
_OTHER = (0.8, 0.47, 0.65)
_ROUTE = (0.0, 0.62, 0.45)
_LANE = (0.5, 0.55, 0.6)
_ROUTE_WIDTH_M = 0.6


def image(picture: Array, channel: str, at_ns: int) -> bytes:
    """A `foxglove.CompressedImage` of uint8 (H, W, 3), RGB."""
    message = CompressedImage(frame_id=channel, format="jpeg", data=jpeg.encode(picture))
    return _stamped(message, at_ns)


def picture(message: CompressedImage) -> Array:
    """uint8 (H, W, 3), RGB. Raises ValueError for what is no JPEG."""
    return jpeg.decode(message.data)


def cloud(points: Array, at_ns: int) -> bytes:
    """A `foxglove.PointCloud` of channel "lidar"'s array."""
    message = PointCloud(frame_id=EGO, point_stride=4 * points.shape[1], data=_mirrored(points).tobytes())
    message.pose.orientation.w = 1.0
    for index, name in enumerate(_CLOUD_FIELDS[: points.shape[1]]):
        message.fields.add(name=name, offset=4 * index, type=PackedElementField.FLOAT32)
    return _stamped(message, at_ns)


def points(message: PointCloud) -> Array:
    """Channel "lidar"'s array: float32 (N, 4 or 5). Raises ValueError for a cloud of another layout."""
    columns, rest = divmod(message.point_stride, 4)
    if rest or columns not in (4, 5):
        raise ValueError(f"cannot read a point cloud of {message.point_stride} bytes a point")
    return _mirrored(np.frombuffer(message.data, np.float32).reshape(-1, columns))


def transform(ego: Ego, at_ns: int) -> bytes:
    """A `foxglove.FrameTransform`: the vehicle in the world."""
    message = FrameTransform(parent_frame_id=WORLD, child_frame_id=EGO)
    message.translation.x, message.translation.y = ego.x, -ego.y
    message.translation.z = ego.z - ego.half_height_m
    _turn(message.rotation, ego.yaw_deg)
    return _stamped(message, at_ns)


def scene(bundle: Bundle, at_ns: int) -> bytes:
    """A `foxglove.SceneUpdate`: boxes of actors and of the ego vehicle, and the route."""
    update = SceneUpdate()
    update.deletions.add(type=1)  # all of the tick before
    if bundle.ego is not None:
        _box(_entity(update, "ego", at_ns), bundle.ego, _COLOURS["ego"])
    for actor in bundle.actors:
        entity = _entity(update, str(actor.id), at_ns)
        _box(entity, actor, _COLOURS.get(actor.kind.split(".")[0], _OTHER))
        label = entity.texts.add(text=str(actor.id), font_size=0.8, billboard=True)
        label.pose.position.x, label.pose.position.y = actor.x, -actor.y
        label.pose.position.z = actor.z + actor.half_height_m + 0.6
        _paint(label.color, (1.0, 1.0, 1.0))
    if len(bundle.route) > 1:
        _line(_entity(update, "route", at_ns), bundle.route, _ROUTE, _ROUTE_WIDTH_M)
    data: bytes = update.SerializeToString()
    return data


def roads(lanes: Lanes, at_ns: int) -> bytes:
    """A `foxglove.SceneUpdate`: the lanes' boundaries."""
    update = SceneUpdate()
    entity = _entity(update, "lanes", at_ns)
    for lane in lanes.lanes:
        for side in (lane.left, lane.right):
            _line(entity, side.tolist(), _LANE, 0.12)
    data: bytes = update.SerializeToString()
    return data


def _stamped(message: Any, at_ns: int) -> bytes:
    message.timestamp.FromNanoseconds(at_ns)
    data: bytes = message.SerializeToString()
    return data


def _mirrored(points: Array) -> Array:
    turned = np.array(points, np.float32)
    turned[:, 1] *= -1
    return turned


def _entity(update: Any, name: str, at_ns: int) -> SceneEntity:
    entity: SceneEntity = update.entities.add(id=name, frame_id=WORLD)
    entity.timestamp.FromNanoseconds(at_ns)
    return entity


def _box(entity: SceneEntity, body: Actor | Ego, colour: tuple[float, float, float]) -> None:
    cube = entity.cubes.add()
    cube.pose.position.x, cube.pose.position.y, cube.pose.position.z = body.x, -body.y, body.z
    _turn(cube.pose.orientation, body.yaw_deg)
    cube.size.x, cube.size.y = 2 * body.half_length_m, 2 * body.half_width_m
    cube.size.z = 2 * body.half_height_m
    _paint(cube.color, colour, 0.8)


def _line(
    entity: SceneEntity, places: Sequence[Sequence[float]], colour: tuple[float, float, float], width_m: float
) -> None:
    line = entity.lines.add(type=LinePrimitive.LINE_STRIP, thickness=width_m)
    line.pose.orientation.w = 1.0
    _paint(line.color, colour)
    for place in places:
        line.points.add(x=place[0], y=-place[1], z=0.05)


def _turn(rotation: Any, yaw_deg: float) -> None:
    half = math.radians(-yaw_deg) / 2
    rotation.z, rotation.w = math.sin(half), math.cos(half)


def _paint(where: Any, colour: tuple[float, float, float], alpha: float = 1.0) -> None:
    where.r, where.g, where.b, where.a = *colour, alpha
