"""Traffic lights."""

from __future__ import annotations

from carlad.standin.errors import NOT_A_LIGHT, ActorError
from carlad.standin.rendering.signals import HEAD_EXTENT_M, head_centers
from carlad.standin.simulation import Simulation
from carlad.standin.traffic_lights import TrafficLight
from carlad.wire import types as t


def light_of(sim: Simulation, actor_id: int) -> TrafficLight:
    """Raises ActorError where the actor is no traffic light, or is not there."""
    actor = sim.world.actor(actor_id)
    if not isinstance(actor, TrafficLight):
        raise ActorError(NOT_A_LIGHT, actor_id)
    return actor


def set_traffic_light_state(sim: Simulation, actor_id: int, state: int) -> None:
    sim.world.lights.set_state(light_of(sim, actor_id), state)


def set_traffic_light_green_time(sim: Simulation, actor_id: int, seconds: float) -> None:
    sim.world.lights.set_time(light_of(sim, actor_id), "green_time", seconds)


def set_traffic_light_yellow_time(sim: Simulation, actor_id: int, seconds: float) -> None:
    sim.world.lights.set_time(light_of(sim, actor_id), "yellow_time", seconds)


def set_traffic_light_red_time(sim: Simulation, actor_id: int, seconds: float) -> None:
    sim.world.lights.set_time(light_of(sim, actor_id), "red_time", seconds)


def freeze_traffic_light(sim: Simulation, actor_id: int, frozen: bool) -> None:
    """Freezes the whole group, as CARLA does."""
    sim.world.lights.freeze([light_of(sim, actor_id).group], frozen)


def freeze_all_traffic_lights(sim: Simulation, frozen: bool) -> None:
    sim.world.lights.freeze(sim.world.lights.every_group, frozen)


def reset_traffic_light_group(sim: Simulation, actor_id: int) -> None:
    sim.world.lights.reset([light_of(sim, actor_id).group])


def reset_all_traffic_lights(sim: Simulation) -> None:
    sim.world.lights.reset(sim.world.lights.every_group)


def get_group_traffic_lights(sim: Simulation, actor_id: int) -> list[int]:
    return [light.id for light in sim.world.lights.group(light_of(sim, actor_id))]


def get_light_boxes(sim: Simulation, actor_id: int) -> list[t.BoundingBox]:
    """Of the light's heads, world frame."""
    light = light_of(sim, actor_id)
    turn = t.Rotation(0.0, light.pose.rotation.yaw + 90.0, 0.0)
    return [
        t.BoundingBox(t.Vector3D(*center.tolist()), t.Vector3D(*HEAD_EXTENT_M), turn, light.id)
        for center in head_centers(light.pose)
    ]
