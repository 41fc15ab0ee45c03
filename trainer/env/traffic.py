"""Everybody else on the road, for one episode: vehicles of the Traffic Manager and walkers, all by a seed.

The Traffic Manager is the client's: it runs in this process, at a port of the session's own, and ticks with
the world. The same seed on a fresh server gives the same traffic; later episodes on a server differ in
actors' ids, from which the Traffic Manager draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import carla
import numpy as np

from carlad.log import get_logger
from trainer.env.config import TrafficConfig

log = get_logger("carlad.trainer")

_FREE_AROUND_EGO_M = 12.0  # so that nobody appears on top of it
_WALKING_MPS, _RUNNING_MPS = (0.9, 1.8), (2.5, 3.5)  # ranges that adults keep to
_PLACES_TRIED = 10  # for each walker: two may not stand in the same place


class Traffic:
    """What is on the road beside the ego vehicle. `clear` takes all of it away again."""

    def __init__(self, client: Any, world: Any, port: int) -> None:
        """`port`: the Traffic Manager's, which is opened with the first vehicle."""
        self._client, self._world, self._port = client, world, port
        self._manager: Any = None
        self._vehicles: list[int] = []
        self._walkers: list[int] = []
        self._controllers: list[Any] = []
        self._lights_frozen = False

    def spawn(
        self, config: TrafficConfig, spawn_points: Sequence[Any], ego: Any, rng: np.random.Generator
    ) -> None:
        """Put vehicles and walkers into the world; they move from the next tick on.

        `ego`: where the ego vehicle stands, a carla.Location. Raises ValueError where the map has too few
        places.
        """
        vehicles = config.vehicles + round(config.vehicles_per_spawn_point * len(spawn_points))
        if vehicles:
            self._spawn_vehicles(config, vehicles, spawn_points, ego, rng)
        if config.walkers:
            self._spawn_walkers(config, rng)

    def begin_walking(self, config: TrafficConfig, rng: np.random.Generator) -> None:
        """Send the walkers off; to be called a tick after `spawn`, when their controllers exist."""
        for controller in self._controllers:
            running = rng.random() < config.walkers_running
            controller.start()
            if (goal := self._world.get_random_location_from_navigation()) is not None:
                controller.go_to_location(goal)
            controller.set_max_speed(float(rng.uniform(*(_RUNNING_MPS if running else _WALKING_MPS))))

    @property
    def walks(self) -> bool:
        """Whether there are walkers to send off."""
        return bool(self._controllers)

    def set_lights(self, mode: str) -> None:
        """All lights "green" for good, or back to their "cycle", from its beginning; after `spawn`."""
        if mode == "green" and not self._lights_frozen:
            lights = self._world.get_actors().filter("traffic.traffic_light*")
            for light in lights:
                light.set_state(carla.TrafficLightState.Green)
            self._world.freeze_all_traffic_lights(True)
            self._lights_frozen = True
        elif mode == "cycle":
            if self._lights_frozen:
                self._world.freeze_all_traffic_lights(False)
                self._lights_frozen = False
            self._world.reset_all_traffic_lights()

    def clear(self) -> None:
        """Take away all that was spawned. Raises RuntimeError when the server does not answer."""
        for controller in self._controllers:
            controller.stop()
        gone = [controller.id for controller in self._controllers] + self._walkers + self._vehicles
        self._controllers, self._walkers, self._vehicles = [], [], []
        if gone:
            self._client.apply_batch_sync([carla.command.DestroyActor(actor) for actor in gone], False)

    def close(self) -> None:
        """Clear, let the lights go and end the Traffic Manager. Raises RuntimeError as `clear`."""
        try:
            self.clear()
            if self._lights_frozen:
                self._world.freeze_all_traffic_lights(False)
                self._world.reset_all_traffic_lights()
                self._lights_frozen = False
        finally:
            manager, self._manager = self._manager, None
            if manager is not None:
                with suppress(RuntimeError):
                    manager.shut_down()

    # --- vehicles

    def _spawn_vehicles(
        self,
        config: TrafficConfig,
        count: int,
        spawn_points: Sequence[Any],
        ego: Any,
        rng: np.random.Generator,
    ) -> None:
        free = [point for point in spawn_points if point.location.distance(ego) > _FREE_AROUND_EGO_M]
        if count > len(free):
            raise ValueError(
                f"cannot put {count} vehicles on the road: {len(free)} of the map's {len(spawn_points)} "
                "spawn points are free; ask for fewer in traffic.vehicles"
            )
        places = [free[int(i)] for i in rng.permutation(len(free))]
        manager = self._managed(config, rng)
        designs = self._designs()
        while places and len(self._vehicles) < count:  # spawn points may be taken by whatever stands there
            wanted = [places.pop() for _ in range(min(count - len(self._vehicles), len(places)))]
            self._vehicles += self._spawned([self._vehicle(designs, place, rng) for place in wanted])
        if len(self._vehicles) < count:
            raise ValueError(
                f"cannot put {count} vehicles on the road: only {len(self._vehicles)} spawn points were free"
            )
        for vehicle in self._world.get_actors(self._vehicles):
            vehicle.set_autopilot(True, self._port)
            manager.vehicle_percentage_speed_difference(
                vehicle, float(rng.uniform(*config.speed_below_limit_pct))
            )
            manager.ignore_lights_percentage(vehicle, config.ignore_lights_pct)

    def _managed(self, config: TrafficConfig, rng: np.random.Generator) -> Any:
        if self._manager is None:
            self._manager = self._client.get_trafficmanager(self._port)
            self._manager.set_synchronous_mode(True)
        self._manager.set_random_device_seed(int(rng.integers(2**31)))
        self._lights_frozen = False  # a new seed has all lights begin anew (TrafficManagerLocal.cpp)
        self._manager.set_global_distance_to_leading_vehicle(config.gap_m)
        return self._manager

    def _designs(self) -> list[Any]:
        """Blueprints of cars, in an order that does not change from call to call."""
        blueprints = self._world.get_blueprint_library().filter("vehicle.*")
        cars = [each for each in blueprints if _attribute(each, "base_type") in ("car", "van", "truck")]
        return sorted(cars or list(blueprints), key=lambda each: each.id)

    def _vehicle(self, designs: Sequence[Any], place: Any, rng: np.random.Generator) -> Any:
        design = designs[int(rng.integers(len(designs)))]
        if design.has_attribute("color"):
            colours = design.get_attribute("color").recommended_values
            design.set_attribute("color", colours[int(rng.integers(len(colours)))])
        design.set_attribute("role_name", "autopilot")
        return carla.command.SpawnActor(design, place)

    # --- walkers

    def _spawn_walkers(self, config: TrafficConfig, rng: np.random.Generator) -> None:
        self._world.set_pedestrians_seed(int(rng.integers(2**31)))
        self._world.set_pedestrians_cross_factor(config.walkers_crossing)
        designs = sorted(
            self._world.get_blueprint_library().filter("walker.pedestrian.*"), key=lambda each: each.id
        )
        for _ in range(_PLACES_TRIED):
            missing = config.walkers - len(self._walkers)
            places = [self._world.get_random_location_from_navigation() for _ in range(missing)]
            self._walkers += self._spawned([self._walker(designs, place, rng) for place in places if place])
            if len(self._walkers) == config.walkers:
                break
        else:
            raise ValueError(
                f"cannot put {config.walkers} walkers on the pavements: there was room for "
                f"{len(self._walkers)}; ask for fewer in traffic.walkers, or use a map with a navigation mesh"
            )
        controller = self._world.get_blueprint_library().find("controller.ai.walker")
        follows = [
            carla.command.SpawnActor(controller, carla.Transform(), walker) for walker in self._walkers
        ]
        self._controllers = list(self._world.get_actors(self._spawned(follows)))

    def _walker(self, designs: Sequence[Any], place: Any, rng: np.random.Generator) -> Any:
        design = designs[int(rng.integers(len(designs)))]
        if design.has_attribute("is_invincible"):
            design.set_attribute("is_invincible", "false")
        return carla.command.SpawnActor(design, carla.Transform(place))

    def _spawned(self, commands: list[Any]) -> list[int]:
        """The ids of those that could be spawned."""
        return [done.actor_id for done in self._client.apply_batch_sync(commands, False) if not done.error]


def _attribute(blueprint: Any, name: str) -> str:
    return blueprint.get_attribute(name).as_str() if blueprint.has_attribute(name) else ""
