"""Vehicles and walkers: controls, lights, physics."""

from __future__ import annotations

from carlad.standin.errors import NOT_A_VEHICLE, NOT_A_WALKER, ActorError, require_finite
from carlad.standin.simulation import Simulation
from carlad.standin.vehicles import Vehicle
from carlad.standin.walkers import Walker
from carlad.wire import types as t


def vehicle_of(sim: Simulation, actor_id: int) -> Vehicle:
    """Raises ActorError where the actor is no vehicle, or is not there."""
    actor = sim.world.actor(actor_id)
    if not isinstance(actor, Vehicle):
        raise ActorError(NOT_A_VEHICLE, actor_id)
    return actor


def walker_of(sim: Simulation, actor_id: int) -> Walker:
    """Raises ActorError where the actor is no walker, or is not there."""
    actor = sim.world.actor(actor_id)
    if not isinstance(actor, Walker):
        raise ActorError(NOT_A_WALKER, actor_id)
    return actor


def apply_control_to_vehicle(sim: Simulation, actor_id: int, control: t.VehicleControl) -> None:
    require_finite("a control", control.throttle, control.steer, control.brake)
    vehicle_of(sim, actor_id).obey(control)


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


def get_wheel_steer_angle(sim: Simulation, actor_id: int, wheel: int) -> float:
    """Degrees, positive to the right."""
    return vehicle_of(sim, actor_id).wheel_angle(wheel)


def get_physics_control(sim: Simulation, actor_id: int) -> t.VehiclePhysicsControl:
    return vehicle_of(sim, actor_id).physics_control
