"""The commands of `apply_batch`: a variant `[index, payload]`, wrapped in an array of one.

Source: LibCarla `carla/rpc/Command.h` (0.9.16).
"""

from __future__ import annotations

from typing import Any

import msgspec

from carlad.wire.errors import WireError
from carlad.wire.msgpackrpc import decode
from carlad.wire.types import (
    NOTHING,
    ActorDescription,
    Transform,
    UInt32,
    Vector3D,
    VehicleAckermannControl,
    VehicleControl,
    VehiclePhysicsControl,
    WalkerControl,
    Wire,
)

# Inside `do_after` of a SpawnActor this id stands for the actor that was just spawned.
FUTURE_ACTOR = 0


class SpawnActor(Wire):
    description: ActorDescription
    transform: Transform
    parent: tuple[bool | int, ...] = NOTHING
    attachment: int = 0
    socket_name: str = ""
    do_after: list[msgspec.Raw] = []

    @property
    def parent_id(self) -> int | None:
        return int(self.parent[1]) if len(self.parent) > 1 else None


class DestroyActor(Wire):
    actor: int


class ApplyVehicleControl(Wire):
    actor: int
    control: VehicleControl


class ApplyVehicleAckermannControl(Wire):
    actor: int
    control: VehicleAckermannControl


class ApplyWalkerControl(Wire):
    actor: int
    control: WalkerControl


class ApplyVehiclePhysicsControl(Wire):
    actor: int
    physics_control: VehiclePhysicsControl


class ApplyTransform(Wire):
    actor: int
    transform: Transform


class ApplyWalkerState(Wire):
    """`transform` is the foot point on the navigation mesh; `speed` in m/s."""

    actor: int
    transform: Transform
    speed: float


class _ActorVector(Wire):
    actor: int
    vector: Vector3D


class ApplyTargetVelocity(_ActorVector):
    """m/s, world frame."""


class ApplyTargetAngularVelocity(_ActorVector):
    """deg/s, world frame."""


class ApplyImpulse(_ActorVector):
    """kg m/s, world frame."""


class ApplyForce(_ActorVector):
    """N, world frame."""


class ApplyAngularImpulse(_ActorVector):
    """kg m^2/s, world frame."""


class ApplyTorque(_ActorVector):
    """N m, world frame."""


class _ActorSwitch(Wire):
    actor: int
    enabled: bool


class SetSimulatePhysics(_ActorSwitch):
    pass


class SetEnableGravity(_ActorSwitch):
    pass


class SetAutopilot(Wire):
    actor: int
    enabled: bool
    traffic_manager_port: int = 8000


class ShowDebugTelemetry(_ActorSwitch):
    pass


class SetVehicleLightState(Wire):
    actor: int
    flags: UInt32


class ApplyLocation(Wire):
    actor: int
    location: Vector3D


class ConsoleCommand(Wire):
    command: str


class SetTrafficLightState(Wire):
    actor: int
    state: int


# The position in this tuple is the command's index on the wire.
COMMANDS: tuple[type[Wire], ...] = (
    SpawnActor,
    DestroyActor,
    ApplyVehicleControl,
    ApplyVehicleAckermannControl,
    ApplyWalkerControl,
    ApplyVehiclePhysicsControl,
    ApplyTransform,
    ApplyWalkerState,
    ApplyTargetVelocity,
    ApplyTargetAngularVelocity,
    ApplyImpulse,
    ApplyForce,
    ApplyAngularImpulse,
    ApplyTorque,
    SetSimulatePhysics,
    SetEnableGravity,
    SetAutopilot,
    ShowDebugTelemetry,
    SetVehicleLightState,
    ApplyLocation,
    ConsoleCommand,
    SetTrafficLightState,
)
_INDEX = {command: index for index, command in enumerate(COMMANDS)}

_variant_decoder = msgspec.msgpack.Decoder(tuple[tuple[int, msgspec.Raw]])
_payload_decoders: dict[int, msgspec.msgpack.Decoder[Any]] = {
    index: msgspec.msgpack.Decoder(command) for index, command in enumerate(COMMANDS)
}


def decode_command(raw: bytes | msgspec.Raw) -> Wire:
    """One command of a batch. Raises WireError."""
    try:
        ((index, payload),) = _variant_decoder.decode(raw)
        command: Wire = _payload_decoders[index].decode(payload)
    except KeyError as error:
        raise WireError(f"cannot run command {error}: the last one is {len(COMMANDS) - 1}") from None
    except UnicodeDecodeError:
        command = decode(payload, COMMANDS[index])
    except msgspec.DecodeError as error:
        raise WireError(f"cannot read a command: {error}") from error
    return command


def encode_command(command: Wire) -> tuple[tuple[int, Wire]]:
    """The value that travels for `command` inside a batch."""
    return ((_INDEX[type(command)], command),)
