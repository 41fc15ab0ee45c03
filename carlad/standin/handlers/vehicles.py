"""Vehicles and walkers: controls, lights, physics."""

from __future__ import annotations

import msgspec

from carlad.standin.errors import NOT_A_VEHICLE, NOT_A_WALKER, WRONG_KIND, ActorError, require_finite
from carlad.standin.motion.telemetry import telemetry
from carlad.standin.simulation import Simulation
from carlad.standin.vehicles import Vehicle
from carlad.standin.walkers import Walker
from carlad.wire import types as t
from carlad.wire.errors import CallError

_ALL_DOORS = 6  # of carla.VehicleDoor: all at once
_WHEELS = 4


def vehicle_of(sim: Simulation, actor_id: int, otherwise: str = NOT_A_VEHICLE) -> Vehicle:
    """Raises ActorError where the actor is no vehicle, or is not there."""
    actor = sim.world.actor(actor_id)
    if not isinstance(actor, Vehicle):
        raise ActorError(otherwise, actor_id)
    return actor


def set_actor_autopilot(sim: Simulation, actor_id: int, enabled: bool) -> None:
    """Lets go of all pedals, as CARLA's own controller does; to drive is the Traffic Manager's business."""
    vehicle_of(sim, actor_id, WRONG_KIND).release(enabled)


def show_vehicle_debug_telemetry(sim: Simulation, actor_id: int, enabled: bool) -> None:
    """The real server shows it in its own window, and nowhere else."""
    vehicle_of(sim, actor_id, WRONG_KIND)


def walker_of(sim: Simulation, actor_id: int) -> Walker:
    """Raises ActorError where the actor is no walker, or is not there."""
    actor = sim.world.actor(actor_id)
    if not isinstance(actor, Walker):
        raise ActorError(NOT_A_WALKER, actor_id)
    return actor


def apply_control_to_vehicle(sim: Simulation, actor_id: int, control: t.VehicleControl) -> None:
    require_finite("a control", control.throttle, control.steer, control.brake)
    vehicle_of(sim, actor_id).obey(control)


def apply_ackermann_control_to_vehicle(
    sim: Simulation, actor_id: int, control: t.VehicleAckermannControl
) -> None:
    require_finite("a control", *msgspec.structs.astuple(control))
    vehicle_of(sim, actor_id).aim(control)


def get_ackermann_controller_settings(sim: Simulation, actor_id: int) -> t.AckermannControllerSettings:
    return vehicle_of(sim, actor_id).ackermann.settings


def apply_ackermann_controller_settings(
    sim: Simulation, actor_id: int, settings: t.AckermannControllerSettings
) -> None:
    require_finite("settings", *msgspec.structs.astuple(settings))
    vehicle_of(sim, actor_id).ackermann.apply_settings(settings)


def apply_control_to_walker(sim: Simulation, actor_id: int, control: t.WalkerControl) -> None:
    direction = control.direction
    require_finite("a control", direction.x, direction.y, direction.z, control.speed)
    walker_of(sim, actor_id).obey(control)


def get_vehicle_light_state(sim: Simulation, actor_id: int) -> t.VehicleLightState:
    return t.VehicleLightState(vehicle_of(sim, actor_id).lights)


def set_vehicle_light_state(sim: Simulation, actor_id: int, state: t.VehicleLightState) -> None:
    vehicle_of(sim, actor_id).lights = state.flags


def get_vehicle_light_states(sim: Simulation) -> list[tuple[int, int]]:
    return [(vehicle.id, vehicle.lights) for vehicle in sim.world.vehicles.all]


def open_vehicle_door(sim: Simulation, actor_id: int, door: int) -> None:
    """Nothing shows it: vehicles are drawn with closed doors."""
    vehicle_of(sim, actor_id).doors |= _doors(door)


def close_vehicle_door(sim: Simulation, actor_id: int, door: int) -> None:
    vehicle_of(sim, actor_id).doors &= ~_doors(door)


def _doors(door: int) -> int:
    """Bits of one door, or of all. Raises CallError for a number that no door has."""
    if door not in range(_ALL_DOORS + 1):
        raise CallError(f"cannot move door {door}: they are numbered 0 to {_ALL_DOORS}, the last one for all")
    return (1 << _ALL_DOORS) - 1 if door == _ALL_DOORS else 1 << door


def set_wheel_steer_direction(sim: Simulation, actor_id: int, wheel: int, angle_deg: float) -> None:
    """How the wheel looks; it steers as before."""
    require_finite("an angle", angle_deg)
    vehicle_of(sim, actor_id).wheel_angles[_wheel(wheel)] = angle_deg


def set_wheel_pitch_angle(sim: Simulation, actor_id: int, wheel: int, angle_deg: float) -> None:
    """How far the wheel has turned, as it looks."""
    require_finite("an angle", angle_deg)
    vehicle_of(sim, actor_id).wheel_pitches[_wheel(wheel)] = angle_deg


def get_wheel_pitch_angle(sim: Simulation, actor_id: int, wheel: int) -> float:
    """Degrees; what was set, as wheels are not drawn turning."""
    return vehicle_of(sim, actor_id).wheel_pitches.get(_wheel(wheel), 0.0)


def _wheel(wheel: int) -> int:
    if wheel not in range(_WHEELS):
        raise CallError(f"cannot find wheel {wheel}: they are numbered 0 to {_WHEELS - 1}")
    return wheel


def get_wheel_steer_angle(sim: Simulation, actor_id: int, wheel: int) -> float:
    """Degrees, positive to the right."""
    return vehicle_of(sim, actor_id).wheel_angle(_wheel(wheel))


def get_physics_control(sim: Simulation, actor_id: int) -> t.VehiclePhysicsControl:
    return vehicle_of(sim, actor_id).physics_control


def apply_physics_control(sim: Simulation, actor_id: int, control: t.VehiclePhysicsControl) -> None:
    vehicle_of(sim, actor_id).apply_physics_control(control)


def get_telemetry_data(sim: Simulation, actor_id: int) -> t.VehicleTelemetryData:
    vehicle = vehicle_of(sim, actor_id)
    return telemetry(vehicle.state, vehicle.car, vehicle.physics_control)
