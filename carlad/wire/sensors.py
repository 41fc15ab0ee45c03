"""What travels on the streams: the common header, the world observer and the sensors' bodies.

Byte layouts after LibCarla `carla/sensor/s11n/*.h` and `carla/sensor/data/ActorDynamicState.h`
(0.9.16). Everything is little-endian and packed. Numbers of the world observer's records are given as
(name, numpy format, offset) so that a server can build a structured array of them; this module itself
needs the standard library only.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum, IntFlag
from typing import Any

import msgspec

from carlad.wire.errors import WireError
from carlad.wire.types import Actor, Rotation, Transform, Vector3D


class SensorType(IntEnum):
    """Position in the sensor registry of 0.9.16. These numbers move between CARLA releases."""

    COLLISION = 0
    DEPTH = 1
    NORMALS = 2
    DVS = 3
    GNSS = 4
    IMU = 5
    LANE_INVASION = 6
    OBSTACLE = 7
    OPTICAL_FLOW = 8
    RADAR = 9
    SEMANTIC_LIDAR = 10
    LIDAR = 11
    RSS = 12
    RGB = 13
    SEMANTIC_SEGMENTATION = 14
    INSTANCE_SEGMENTATION = 15
    COSMOS = 16
    WORLD_OBSERVER = 17
    GBUFFER_UINT8 = 18
    GBUFFER_FLOAT = 19
    V2X = 20
    V2X_CUSTOM = 21


# --- the header of every payload -------------------------------------------------------------------

_header = struct.Struct("<QQd6f")
HEADER_BYTES = _header.size  # 48


class Header(msgspec.Struct, frozen=True):
    """`timestamp_s` is simulated time; the pose is the sensor's in the world (zeros: observer)."""

    sensor_type: int
    frame: int
    timestamp_s: float
    location: tuple[float, float, float]
    rotation: tuple[float, float, float]  # pitch, yaw, roll


def header(sensor_type: int, frame: int, timestamp_s: float, world_from_sensor: Transform | None) -> bytes:
    if world_from_sensor is None:
        return _header.pack(sensor_type, frame, timestamp_s, 0, 0, 0, 0, 0, 0)
    place, turn = world_from_sensor.location, world_from_sensor.rotation
    return _header.pack(
        sensor_type, frame, timestamp_s, place.x, place.y, place.z, turn.pitch, turn.yaw, turn.roll
    )


def read_header(payload: bytes) -> Header:
    """Raises WireError where the payload is shorter than a header."""
    if len(payload) < HEADER_BYTES:
        raise WireError(
            f"cannot read a sensor message of {len(payload)} bytes: the header has {HEADER_BYTES}"
        )
    kind, frame, timestamp_s, *pose = _header.unpack_from(payload)
    return Header(kind, frame, timestamp_s, tuple(pose[:3]), tuple(pose[3:]))


# --- the world observer ----------------------------------------------------------------------------


class SimulationState(IntFlag):
    NONE = 0
    MAP_CHANGE = 1
    PENDING_LIGHT_UPDATE = 2


class ActorState(IntEnum):
    INVALID = 0
    ACTIVE = 1
    DORMANT = 2
    PENDING_KILL = 3


_episode = struct.Struct("<Qdf3iI")
EPISODE_BYTES = _episode.size  # 36
RECORD_BYTES = 119
STATE_OFFSET = 65  # of the 54-byte union that depends on the actor's type

# (name, numpy format, offset) of a record; the union's parts follow.
ACTOR_FIELDS: tuple[tuple[str, str, int], ...] = (
    ("id", "<u4", 0),
    ("state", "u1", 4),
    ("location", "<3f4", 5),
    ("rotation", "<3f4", 17),  # pitch, yaw, roll
    ("velocity", "<3f4", 29),  # m/s
    ("angular_velocity", "<3f4", 41),  # deg/s
    ("acceleration", "<3f4", 53),  # m/s^2
)
VEHICLE_FIELDS: tuple[tuple[str, str, int], ...] = (
    ("throttle", "<f4", 65),
    ("steer", "<f4", 69),
    ("brake", "<f4", 73),
    ("hand_brake", "?", 77),
    ("reverse", "?", 78),
    ("manual_gear_shift", "?", 79),
    ("gear", "<i4", 80),
    ("speed_limit", "<f4", 84),  # km/h
    ("traffic_light_state", "u1", 88),
    ("has_traffic_light", "?", 89),
    ("traffic_light_id", "<u4", 90),
    ("failure_state", "u1", 94),
)
TRAFFIC_SIGN_FIELDS: tuple[tuple[str, str, int], ...] = (("sign_id", "S32", 65),)
TRAFFIC_LIGHT_FIELDS: tuple[tuple[str, str, int], ...] = (
    *TRAFFIC_SIGN_FIELDS,
    ("green_time", "<f4", 97),  # s
    ("yellow_time", "<f4", 101),
    ("red_time", "<f4", 105),
    ("elapsed_time", "<f4", 109),
    ("pole_index", "<u4", 113),
    ("is_frozen", "?", 117),
    ("light_state", "u1", 118),
)
WALKER_FIELDS: tuple[tuple[str, str, int], ...] = (
    ("direction", "<3f4", 65),
    ("speed", "<f4", 77),
    ("jump", "?", 81),
)

_record = struct.Struct("<IB6f36x54s")  # id, state, x, y, z, pitch, yaw, roll, motion, detail
_light = struct.Struct("<32x3f8x?x")  # see TRAFFIC_LIGHT_FIELDS, which count from the record's start


class Timing(msgspec.Struct, frozen=True):
    """Of a traffic light: how long it shows each colour, and whether it changes at all."""

    green_s: float
    yellow_s: float
    red_s: float
    is_frozen: bool


class WorldSnapshot(msgspec.Struct, frozen=True):
    """One message of the world observer, as far as a supervisor needs it."""

    frame: int
    timestamp_s: float
    episode_id: int
    delta_s: float
    map_changed: bool
    poses: dict[int, Transform]  # of every actor, by id
    details: dict[int, bytes]  # of every actor, in the layout of its kind

    def timing(self, light: int) -> Timing:
        """Of an actor that is a traffic light."""
        return Timing(*_light.unpack(self.details[light]))

    @property
    def actor_ids(self) -> tuple[int, ...]:
        return tuple(self.poses)


def episode_header(episode_id: int, platform_time_s: float, delta_s: float, state: int) -> bytes:
    """The 36 bytes between the sensor header and the records; the map's origin is 0, 0, 0."""
    return _episode.pack(episode_id, platform_time_s, delta_s, 0, 0, 0, state)


def read_world_snapshot(payload: bytes) -> WorldSnapshot:
    """Raises WireError where `payload` is not a message of the world observer."""
    head = read_header(payload)
    body = len(payload) - HEADER_BYTES - EPISODE_BYTES
    if head.sensor_type != SensorType.WORLD_OBSERVER or body < 0 or body % RECORD_BYTES:
        raise WireError(f"cannot read a world snapshot: sensor type {head.sensor_type}, {len(payload)} bytes")
    episode_id, _platform_s, delta_s, _x, _y, _z, state = _episode.unpack_from(payload, HEADER_BYTES)
    records = tuple(_record.iter_unpack(memoryview(payload)[HEADER_BYTES + EPISODE_BYTES :]))
    return WorldSnapshot(
        frame=head.frame,
        timestamp_s=head.timestamp_s,
        episode_id=episode_id,
        delta_s=delta_s,
        map_changed=bool(state & SimulationState.MAP_CHANGE),
        poses={record[0]: _pose_of(record) for record in records},
        details={record[0]: record[-1] for record in records},
    )


def _pose_of(record: tuple[Any, ...]) -> Transform:
    _actor_id, _state, x, y, z, pitch, yaw, roll, _detail = record
    return Transform(Vector3D(x, y, z), Rotation(pitch, yaw, roll))


# --- sensors' bodies -------------------------------------------------------------------------------

_image = struct.Struct("<IIf")


def image_header(width: int, height: int, fov_deg: float) -> bytes:
    """Precedes height x width pixels: uint8 B, G, R, A, or two float32 for optical flow."""
    return _image.pack(width, height, fov_deg)


def lidar_header(horizontal_angle_rad: float, points_per_channel: Sequence[int]) -> bytes:
    """Precedes the points, channel by channel, in the sensor's frame.

    A point is float32 x, y, z, intensity; of the semantic LiDAR float32 x, y, z, cosine of the
    incidence angle, then uint32 object id and semantic tag.
    """
    count = len(points_per_channel)
    return struct.pack(f"<fI{count}I", horizontal_angle_rad, count, *points_per_channel)


def imu_body(
    accelerometer_mps2: Sequence[float], gyroscope_radps: Sequence[float], compass_rad: float
) -> bytes:
    """Compass 0 is north, that is -y, and grows clockwise."""
    return msgspec.msgpack.encode((tuple(accelerometer_mps2), tuple(gyroscope_radps), compass_rad))


def gnss_body(latitude_deg: float, longitude_deg: float, altitude_m: float) -> bytes:
    return msgspec.msgpack.encode((latitude_deg, longitude_deg, altitude_m))


def collision_body(actor: Actor, other: Actor, normal_impulse: Vector3D) -> bytes:
    """`normal_impulse` in N s, world frame."""
    return msgspec.msgpack.encode((actor, other, normal_impulse))


def obstacle_body(actor: Actor, other: Actor, distance_m: float) -> bytes:
    return msgspec.msgpack.encode((actor, other, distance_m))
