"""Vehicles and walkers: controls, lights, physics."""

from __future__ import annotations

from carlad.standin.errors import NOT_A_VEHICLE, NOT_A_WALKER, ActorError, require_finite
from carlad.standin.geometry import point
from carlad.standin.simulation import Simulation
from carlad.standin.vehicles import STEER_MAX_DEG, Vehicle
from carlad.standin.walkers import Walker
from carlad.wire import types as t

_CM = 100.0
_WHEEL_RADIUS_CM = 35.0
_TRACK = 0.85  # of half the body's width: where the wheels' middles are


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
    """Degrees; the rear wheels are straight."""
    control = vehicle_of(sim, actor_id).control
    return max(-1.0, min(1.0, control.steer)) * STEER_MAX_DEG if wheel < 2 else 0.0


def get_physics_control(sim: Simulation, actor_id: int) -> t.VehiclePhysicsControl:
    """Mass, steering and wheels as the model has them; engine and gears of a plausible passenger car."""
    vehicle = vehicle_of(sim, actor_id)
    return t.VehiclePhysicsControl(
        torque_curve=[t.Vector2D(0.0, 400.0), t.Vector2D(1890.0, 500.0), t.Vector2D(5730.0, 400.0)],
        max_rpm=5800.0,
        moi=1.0,
        damping_rate_full_throttle=0.15,
        damping_rate_zero_throttle_clutch_engaged=2.0,
        damping_rate_zero_throttle_clutch_disengaged=0.35,
        use_gear_autobox=True,
        gear_switch_time=0.5,
        clutch_strength=10.0,
        final_ratio=4.0,
        forward_gears=[t.GearPhysicsControl(ratio, 0.5, 0.65) for ratio in (2.85, 2.02, 1.35, 1.0, 0.8)],
        mass=vehicle.mass_kg,
        drag_coefficient=0.3,
        center_of_mass=t.Vector3D(0.0, 0.0, -0.3),
        steering_curve=[t.Vector2D(0.0, 1.0), t.Vector2D(120.0, 1.0)],
        wheels=_wheels(vehicle),
        use_sweep_wheel_collision=True,
    )


def _wheels(vehicle: Vehicle) -> list[t.WheelPhysicsControl]:
    half_base, half_track = 0.5 * vehicle.wheelbase_m, _TRACK * vehicle.bounding_box.extent.y
    corners = [
        (half_base, -half_track),
        (half_base, half_track),
        (-half_base, -half_track),
        (-half_base, half_track),
    ]
    return [_wheel(vehicle, x, y) for x, y in corners]


def _wheel(vehicle: Vehicle, x: float, y: float) -> t.WheelPhysicsControl:
    middle = point(vehicle.pose, t.Vector3D(x, y, _WHEEL_RADIUS_CM / _CM))
    front = x > 0.0
    return t.WheelPhysicsControl(
        tire_friction=3.5,
        damping_rate=0.25,
        max_steer_angle=STEER_MAX_DEG if front else 0.0,
        radius=_WHEEL_RADIUS_CM,
        max_brake_torque=1500.0,
        max_handbrake_torque=0.0 if front else 3000.0,
        lat_stiff_max_load=2.0,
        lat_stiff_value=17.0,
        long_stiff_value=1000.0,
        position=t.Vector3D(middle.x * _CM, middle.y * _CM, middle.z * _CM),
    )
