"""Arguments, structs and commands as the official client sends them."""

from __future__ import annotations

import msgpack
import msgspec
import pytest

from carlad.wire import commands as c
from carlad.wire import types as t
from carlad.wire.calls import CALLS
from carlad.wire.errors import WireError


def pack(value: object) -> bytes:
    data: bytes = msgpack.packb(value)
    return data


def test_arguments_come_without_their_metadata() -> None:
    control = [0.5, -0.25, 0.0, False, True, False, 0]
    actor_id, decoded = CALLS["apply_control_to_vehicle"].decode_arguments(pack([[True], 7, control]))
    assert actor_id == 7
    assert decoded == t.VehicleControl(throttle=0.5, steer=-0.25, reverse=True)


def test_settings_carry_an_optional_time_step() -> None:
    settings = [True, False, [True, 0.05], True, 0.01, 10, 0.0, True, 3000.0, 2000.0, False]
    (decoded,) = CALLS["set_episode_settings"].decode_arguments(pack([[False], settings]))
    assert decoded.fixed_delta_s == 0.05
    assert t.EpisodeSettings().fixed_delta_s is None
    assert msgpack.unpackb(msgspec.msgpack.encode(t.EpisodeSettings())) == [
        False, False, [False], True, 0.01, 10, 0.0, True, 3000.0, 2000.0, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [[False]],
        [[False], "seven"],
        [[False], 7, 8],
        [7],
        [[False], None],
        {"id": 7},
    ],
)
def test_unfit_arguments_are_an_error(arguments: object) -> None:
    with pytest.raises(WireError):
        CALLS["destroy_actor"].decode_arguments(pack(arguments))


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_call_refuses_garbage(name: str) -> None:
    for garbage in (b"", b"\xc1", pack("x"), pack([[False]] + [{"a": 1}] * 9)):
        with pytest.raises(WireError):
            CALLS[name].decode_arguments(garbage)


def test_a_spawn_command_keeps_what_follows_it() -> None:
    description = [3, "vehicle.tesla.model3", [["color", 5, "1,2,3"]]]
    pose = [[1.0, 2.0, 3.0], [0.0, 90.0, 0.0]]
    after = [[[14, [0, True]]]]
    raw = pack([[0, [description, pose, [True, 12], 0, "", after]]])
    command = c.decode_command(raw)
    assert isinstance(command, c.SpawnActor)
    assert command.parent_id == 12
    assert command.description.attributes[0].value == "1,2,3"
    assert c.decode_command(command.do_after[0]) == c.SetSimulatePhysics(c.FUTURE_ACTOR, True)


def test_a_spawn_command_without_parent_has_none() -> None:
    raw = pack([[0, [[1, "x", []], [[0, 0, 0], [0, 0, 0]], [False], 0, "", []]]])
    command = c.decode_command(raw)
    assert isinstance(command, c.SpawnActor)
    assert command.parent_id is None


@pytest.mark.parametrize(
    ("command", "index"),
    [
        (c.DestroyActor(5), 1),
        (c.ApplyTransform(5, t.Transform(t.Vector3D(1.0), t.Rotation())), 6),
        (c.ApplyWalkerState(5, t.Transform(t.Vector3D(), t.Rotation()), 1.5), 7),
        (c.ApplyTorque(5, t.Vector3D(1.0)), 13),
        (c.SetVehicleLightState(5, 3), 18),
        (c.SetTrafficLightState(5, 2), 21),
    ],
)
def test_commands_travel_under_their_index(command: t.Wire, index: int) -> None:
    raw = msgspec.msgpack.encode(c.encode_command(command))
    assert msgpack.unpackb(raw)[0][0] == index
    assert c.decode_command(raw) == command


@pytest.mark.parametrize(
    "raw", [b"", pack([]), pack([[99, []]]), pack([[-1, [1]]]), pack([[1, []]]), pack([[1, ["x"]]]), pack(5)]
)
def test_what_is_no_command_is_an_error(raw: bytes) -> None:
    with pytest.raises(WireError):
        c.decode_command(raw)


def test_actors_travel_with_bytes_as_bin() -> None:
    box = t.BoundingBox(t.Vector3D(), t.Vector3D(), t.Rotation(), 2)
    actor = t.Actor(2, 1, t.ActorDescription(4, "sensor.other.imu", []), box, b"", b"t" * 24)
    raw = msgspec.msgpack.encode(actor)
    assert b"\xc4\x18" + b"t" * 24 in raw
    assert msgpack.unpackb(raw)[3] == [[0.0] * 3, [0.0] * 3, [0.0] * 3, 2]
