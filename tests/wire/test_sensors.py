"""Sensor messages against bytes worked out by hand."""

from __future__ import annotations

import struct

import msgpack
import pytest

from carlad.wire import sensors
from carlad.wire.errors import WireError
from carlad.wire.sensors import SensorType, SimulationState
from carlad.wire.types import Actor, ActorDescription, BoundingBox, Rotation, Transform, Vector3D

POSE = Transform(Vector3D(1.0, 2.0, 3.0), Rotation(4.0, 5.0, 6.0))


def test_header_has_the_golden_bytes() -> None:
    golden = bytes.fromhex(
        "0d00000000000000"  # 13: rgb
        "0700000000000000"  # frame 7
        "000000000000f83f"  # 1.5 s
        "0000803f 00000040 00004040"  # x, y, z
        "00008040 0000a040 0000c040"  # pitch, yaw, roll
    )
    assert sensors.header(SensorType.RGB, 7, 1.5, POSE) == golden
    assert sensors.HEADER_BYTES == len(golden) == 48
    head = sensors.read_header(golden)
    assert (head.sensor_type, head.frame, head.timestamp_s) == (13, 7, 1.5)
    assert head.location == (1.0, 2.0, 3.0)
    assert head.rotation == (4.0, 5.0, 6.0)


def test_episode_header_has_36_bytes() -> None:
    data = sensors.episode_header(9, 2.5, 0.05, SimulationState.MAP_CHANGE)
    assert len(data) == sensors.EPISODE_BYTES == 36
    assert struct.unpack("<Qdf3iI", data)[0] == 9
    assert data[32:] == b"\x01\0\0\0"


def snapshot(actor_ids: list[int], state: int = 0) -> bytes:
    records = b"".join(struct.pack("<IB", actor_id, 1) + bytes(114) for actor_id in actor_ids)
    head = sensors.header(SensorType.WORLD_OBSERVER, 3, 0.15, None)
    return head + sensors.episode_header(2, 1.0, 0.05, state) + records


@pytest.mark.parametrize("actor_ids", [[], [1], [4, 5, 1000000]])
def test_snapshot_lists_its_actors(actor_ids: list[int]) -> None:
    seen = sensors.read_world_snapshot(snapshot(actor_ids, SimulationState.MAP_CHANGE))
    assert (seen.frame, seen.episode_id, seen.map_changed) == (3, 2, True)
    assert seen.actor_ids == tuple(actor_ids)


@pytest.mark.parametrize("data", [b"", snapshot([1])[:-1], snapshot([]) + b"x", bytes(84)])
def test_what_is_no_snapshot_is_an_error(data: bytes) -> None:
    with pytest.raises(WireError):
        sensors.read_world_snapshot(data)


def test_records_have_no_holes_and_no_overlaps() -> None:
    sizes = {"<u4": 4, "<i4": 4, "<f4": 4, "<3f4": 12, "u1": 1, "?": 1, "S32": 32}
    for fields in (sensors.VEHICLE_FIELDS, sensors.TRAFFIC_LIGHT_FIELDS, sensors.WALKER_FIELDS):
        at = 0
        for _name, form, offset in (*sensors.ACTOR_FIELDS, *fields):
            assert offset == at
            at += sizes[form]
        assert at <= sensors.RECORD_BYTES


def test_bodies_have_the_golden_bytes() -> None:
    assert sensors.image_header(2, 1, 90.0) == bytes.fromhex("02000000 01000000 0000b442")
    assert sensors.lidar_header(0.5, [3, 4]) == bytes.fromhex("0000003f 02000000 03000000 04000000")
    assert msgpack.unpackb(sensors.gnss_body(1.0, 2.0, 3.0)) == [1.0, 2.0, 3.0]
    assert msgpack.unpackb(sensors.imu_body((0.0, 0.0, 9.8), (1.0, 2.0, 3.0), 0.5)) == [
        [0.0, 0.0, 9.8],
        [1.0, 2.0, 3.0],
        0.5,
    ]


def test_collision_names_both_actors_and_the_impulse() -> None:
    box = BoundingBox(Vector3D(), Vector3D(1.0, 1.0, 1.0), Rotation(), 1)
    actor = Actor(1, 0, ActorDescription(3, "vehicle.x", []), box, b"\x0e", b"")
    body = msgpack.unpackb(sensors.collision_body(actor, actor, Vector3D(5.0, 0.0, 0.0)))
    assert body[0][0] == body[1][0] == 1
    assert body[0][2] == [3, "vehicle.x", []]
    assert body[0][4] == b"\x0e"
    assert body[2] == [5.0, 0.0, 0.0]
