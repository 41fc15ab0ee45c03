"""What a simple simulator has little to say about: G-buffers and ROS are taken, and nothing is sent."""

from __future__ import annotations

from carlad.standin.errors import WRONG_KIND, ActorError
from carlad.standin.simulation import Simulation
from carlad.standin.vehicles import Vehicle
from carlad.standin.walkers import Walker
from carlad.wire import types as t


def get_gbuffer_token(sim: Simulation, actor_id: int, buffer: int) -> bytes:
    """A stream on which nothing is ever sent."""
    sim.world.actor(actor_id)
    return sim.streams.token(sim.streams.new_stream())


def are_gbuffers_enabled(sim: Simulation, actor_id: int) -> bool:
    sim.world.actor(actor_id)
    return False


def enable_sensor_for_ros(sim: Simulation, stream_id: int) -> None:
    """Noted and no more. As in CARLA a stream that there is not is passed over."""
    if sim.streams.has(stream_id):
        sim.streams.for_ros.add(stream_id)


def disable_sensor_for_ros(sim: Simulation, stream_id: int) -> None:
    sim.streams.for_ros.discard(stream_id)


def is_sensor_enabled_for_ros(sim: Simulation, stream_id: int) -> bool:
    return stream_id in sim.streams.for_ros


def set_annotations_traverse_translucency(sim: Simulation, enabled: bool) -> None:
    """Nothing here is translucent, so nothing changes."""


def set_ignored_vehicles(sim: Simulation, actor_id: int, vehicle_ids: list[int]) -> None:
    """Vehicles that this sensor does not show; only a Cosmos camera takes notice."""
    sensor = sim.world.actor(actor_id)
    if not sensor.type_id.startswith("sensor."):
        raise ActorError(WRONG_KIND, actor_id)
    for vehicle_id in vehicle_ids:
        if not isinstance(sim.world.actor(vehicle_id), Vehicle):
            raise ActorError(WRONG_KIND, vehicle_id)
    sensor.ignored = frozenset(vehicle_ids)


def set_actor_dead(sim: Simulation, actor_id: int) -> None:
    """It stops, until somebody controls it again: there are no ragdolls."""
    actor = sim.world.actor(actor_id)
    if isinstance(actor, Walker):
        actor.obey(t.WalkerControl(t.Vector3D()))
    elif isinstance(actor, Vehicle):
        actor.obey(t.VehicleControl(brake=1.0, hand_brake=True))
