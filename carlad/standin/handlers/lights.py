"""Traffic lights."""

from __future__ import annotations

from carlad.standin.errors import NOT_A_LIGHT, ActorError
from carlad.standin.geometry import point
from carlad.standin.simulation import Simulation
from carlad.standin.traffic_lights import TrafficLight
from carlad.wire import types as t

_LAMP_BOX_M = t.Vector3D(0.2, 0.2, 0.5)
_LAMP_HEIGHT_M = 4.5


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
    light = light_of(sim, actor_id)
    lamps = point(light.pose, t.Vector3D(0.0, 0.0, _LAMP_HEIGHT_M))
    return [t.BoundingBox(lamps, _LAMP_BOX_M, light.pose.rotation, light.id)]
