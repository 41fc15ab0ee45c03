"""The simulator as Route-v0 sees it: one vehicle in a world that it ticks. No other module calls carla."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

import carla

from carlad.log import get_logger
from carlad.session.environment import Server
from trainer.env.config import RouteConfig
from trainer.env.observation import Ego

log = get_logger("carlad.trainer")

# The car stands still with its wheels straight: what a teleported vehicle is given until it has settled.
_HOLD = carla.VehicleControl(throttle=0.0, steer=0.0, brake=1.0)
_SETTLE_TICKS = 2


class World:
    """A connection in synchronous mode with the ego vehicle in it.

    Methods that call the server raise RuntimeError, carla's only error, when it does not answer in time.
    """

    def __init__(self, server: Server, config: RouteConfig) -> None:
        self._client = carla.Client(server.host, server.rpc_port)
        self._client.set_timeout(config.client_timeout_s)
        self._world = self._client.get_world()
        self._collided = False
        self._control = carla.VehicleControl()
        self.map = self._world.get_map()
        self.spawn_points: list[Any] = self.map.get_spawn_points()
        with ExitStack() as undo:
            undo.callback(self._world.apply_settings, self._world.get_settings())
            self._world.apply_settings(_synchronous(self._world.get_settings(), config.delta_s))
            self._vehicle = self._spawn(config.vehicle)
            undo.callback(self._vehicle.destroy)
            self._attach_collision_sensor(undo)
            self._world.tick()
            self._undo = undo.pop_all()

    def teleport(self, transform: Any) -> Ego:
        """Put the vehicle there, standing; returns where it settled."""
        self._vehicle.apply_control(_HOLD)
        self._vehicle.set_transform(transform)
        self._vehicle.set_target_velocity(carla.Vector3D())
        self._vehicle.set_target_angular_velocity(carla.Vector3D())
        for _ in range(_SETTLE_TICKS):
            ego = self._tick()
        self._collided = False
        return ego

    def drive(self, steer: float, throttle: float, brake: float) -> Ego:
        """Apply the control and tick once; returns the vehicle in the new frame, without another call."""
        control = self._control
        control.steer, control.throttle, control.brake = steer, throttle, brake
        self._vehicle.apply_control(control)
        return self._tick()

    def collided(self) -> bool:
        """Whether the vehicle touched anything since it was teleported; an event may come a tick late."""
        return self._collided

    def half_size_m(self) -> tuple[float, float]:
        """Half the vehicle's length and width."""
        extent = self._vehicle.bounding_box.extent
        return extent.x, extent.y

    def close(self) -> None:
        """Remove the vehicle and its sensor and put the world's settings back."""
        try:
            self._undo.close()
        except RuntimeError as error:
            log.warning("world.left_behind", reason=error)

    def _tick(self) -> Ego:
        self._world.tick()
        snapshot = self._world.get_snapshot()
        vehicle = snapshot.find(self._vehicle.id)
        if vehicle is None:
            raise RuntimeError(f"the vehicle {self._vehicle.id} is gone from the world")
        transform, velocity = vehicle.get_transform(), vehicle.get_velocity()
        return Ego(
            transform.location.x,
            transform.location.y,
            math.radians(transform.rotation.yaw),
            math.hypot(velocity.x, velocity.y),
            math.radians(vehicle.get_angular_velocity().z),
            snapshot.frame,
            snapshot.timestamp.elapsed_seconds,
        )

    def _spawn(self, blueprint_id: str) -> Any:
        blueprint = self._world.get_blueprint_library().find(blueprint_id)
        blueprint.set_attribute("role_name", "hero")
        for transform in self.spawn_points:
            if (vehicle := self._world.try_spawn_actor(blueprint, transform)) is not None:
                return vehicle
        raise ValueError(f"cannot spawn a vehicle: all {len(self.spawn_points)} spawn points are taken")

    def _attach_collision_sensor(self, undo: ExitStack) -> None:
        blueprint = self._world.get_blueprint_library().find("sensor.other.collision")
        sensor = self._world.spawn_actor(blueprint, carla.Transform(), attach_to=self._vehicle)
        undo.callback(sensor.destroy)
        sensor.listen(self._note_collision)
        undo.callback(sensor.stop)

    def _note_collision(self, _event: Any) -> None:
        self._collided = True


def _synchronous(settings: Any, delta_s: float) -> Any:
    settings.synchronous_mode = True
    settings.fixed_delta_seconds = delta_s
    settings.no_rendering_mode = True  # nothing looks at images: an idle GPU is worth many servers
    return settings
