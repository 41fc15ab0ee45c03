"""apply_batch: many commands in one call, each with an answer of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import msgspec

from carlad.standin.errors import ActorError
from carlad.standin.handlers import actors, lights, vehicles
from carlad.standin.simulation import Simulation
from carlad.wire import commands as c
from carlad.wire import types as t
from carlad.wire.errors import CallError, WireError
from carlad.wire.msgpackrpc import failure

Answer = tuple[object, object]  # a Response<actor id>


def apply_batch(sim: Simulation, commands: list[msgspec.Raw], tick: bool) -> Any:
    """A list of `Response<actor id>`; what cannot be done is refused, the rest is done."""
    if tick and sim.settings.synchronous_mode:
        return _apply_and_tick(sim, commands)
    return [_apply(sim, raw) for raw in commands]


def _apply_and_tick(
    sim: Simulation, commands: list[msgspec.Raw]
) -> Generator[float, None, list[tuple[Answer]]]:
    answers = [_apply(sim, raw) for raw in commands]
    yield from sim.ticked()
    return answers


def _apply(sim: Simulation, raw: msgspec.Raw) -> tuple[Answer]:
    try:
        command = c.decode_command(raw)
        actor_id = _run(sim, command)
    except ActorError as error:
        return (failure(error.during("apply_batch")),)
    except (CallError, WireError) as error:
        return (failure(str(error)),)
    return ((1, actor_id),)


def _run(sim: Simulation, command: Any) -> int:
    if isinstance(command, c.SpawnActor):
        return _spawn(sim, command)
    run = _RUN.get(type(command))
    if run is None:
        raise CallError(f"not supported by the stand-in yet: {type(command).__name__}")
    run(sim, command)
    return int(command.actor)


def _spawn(sim: Simulation, command: c.SpawnActor) -> int:
    actor = actors.spawn(sim, command.description, command.transform, command.parent_id)
    for raw in command.do_after:
        after: Any = c.decode_command(raw)
        if isinstance(after, (c.SpawnActor, c.ConsoleCommand)):
            continue
        if after.actor == c.FUTURE_ACTOR:
            after.actor = actor.id
        _run(sim, after)
    return actor.id


def _walker_state(sim: Simulation, command: c.ApplyWalkerState) -> None:
    actors.check_pose(command.transform)
    vehicles.walker_of(sim, command.actor).stand_at(command.transform, command.speed)


_RUN: dict[type, Callable[[Simulation, Any], object]] = {
    c.DestroyActor: lambda sim, it: actors.destroy_actor(sim, it.actor),
    c.ApplyVehicleControl: lambda sim, it: vehicles.apply_control_to_vehicle(sim, it.actor, it.control),
    c.ApplyWalkerControl: lambda sim, it: vehicles.apply_control_to_walker(sim, it.actor, it.control),
    c.ApplyTransform: lambda sim, it: actors.set_actor_transform(sim, it.actor, it.transform),
    c.ApplyLocation: lambda sim, it: actors.set_actor_location(sim, it.actor, it.location),
    c.ApplyWalkerState: _walker_state,
    c.ApplyTargetVelocity: lambda sim, it: actors.set_actor_target_velocity(sim, it.actor, it.vector),
    c.ApplyTargetAngularVelocity: lambda sim, it: actors.set_actor_target_angular_velocity(
        sim, it.actor, it.vector
    ),
    c.ApplyImpulse: lambda sim, it: actors.add_actor_impulse(sim, it.actor, it.vector),
    c.SetSimulatePhysics: lambda sim, it: actors.set_actor_simulate_physics(sim, it.actor, it.enabled),
    c.SetVehicleLightState: lambda sim, it: vehicles.set_vehicle_light_state(
        sim, it.actor, t.VehicleLightState(it.flags)
    ),
    c.SetTrafficLightState: lambda sim, it: lights.set_traffic_light_state(sim, it.actor, it.state),
    c.ApplyVehicleAckermannControl: lambda sim, it: vehicles.apply_ackermann_control_to_vehicle(
        sim, it.actor, it.control
    ),
    c.ApplyVehiclePhysicsControl: lambda sim, it: vehicles.apply_physics_control(
        sim, it.actor, it.physics_control
    ),
    c.ApplyForce: lambda sim, it: actors.add_actor_force(sim, it.actor, it.vector),
    c.ApplyAngularImpulse: lambda sim, it: actors.add_actor_angular_impulse(sim, it.actor, it.vector),
    c.ApplyTorque: lambda sim, it: actors.add_actor_torque(sim, it.actor, it.vector),
    c.SetEnableGravity: lambda sim, it: actors.set_actor_enable_gravity(sim, it.actor, it.enabled),
    c.SetAutopilot: lambda sim, it: vehicles.set_actor_autopilot(sim, it.actor, it.enabled),
    c.ShowDebugTelemetry: lambda sim, it: vehicles.show_vehicle_debug_telemetry(sim, it.actor, it.enabled),
}
