"""Walkers led by the official client's crowd simulation, as a process of its own.

`python -m tests.standin.navigation.crowd PORT '{"walkers": 30, "ticks": 2000, ...}'` prints one JSON object.
It needs a process because the client reads $HOME at its start and draws from the process's random numbers.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import carla

DELTA_S = 0.1
REACHED_M = 2.5
STANDING_M = 0.005  # in a tick
SETTLE_TICKS = 3  # the crowd is a frame ahead, and a new walker is put onto the mesh
BODY_M = 0.9  # from a walker's feet to its middle


@dataclass(frozen=True)
class Plan:
    walkers: int
    ticks: int
    seed: int = 7
    cross_factor: float = 0.0
    lights: str = ""  # all of them stay so, where one is named
    sample_every: int = 5


def run(port: int, home: Path, plan: Plan, seconds: float = 120.0) -> dict[str, Any]:
    """What the crowd did: see `main`. The client keeps its files under `home`."""
    command = [sys.executable, "-m", __spec__.name, str(port), json.dumps(asdict(plan))]
    environ = {**os.environ, "HOME": str(home)}
    done = subprocess.run(command, env=environ, capture_output=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr.decode()
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(port: int, plan: Plan) -> dict[str, Any]:
    client = carla.Client("127.0.0.1", port)
    client.set_timeout(20.0)
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, DELTA_S
    world.apply_settings(settings)
    _set_lights(world, plan.lights)
    world.set_pedestrians_seed(plan.seed)
    world.set_pedestrians_cross_factor(plan.cross_factor)
    places = [world.get_random_location_from_navigation() for _ in range(300)]
    crowd = _Crowd(world, plan, [place for place in places if place is not None])
    crowd.walk()
    refused = (
        world.try_spawn_actor(crowd.walkers[0].blueprint, crowd.walkers[0].actor.get_transform()) is None
    )
    crowd.leave(client)
    world.apply_settings(carla.WorldSettings())
    return {
        "places": [(place.x, place.y, place.z) if place is not None else None for place in places],
        "overlap_refused": refused,
        **crowd.seen(),
    }


def _set_lights(world: carla.World, state: str) -> None:
    """The cycle from its start, or every light in one state for ever."""
    world.reset_all_traffic_lights()
    world.tick()
    for light in world.get_actors().filter("traffic.traffic_light") if state else ():
        light.set_state(carla.TrafficLightState.names[state])
        light.freeze(True)
    world.tick()


class _Walker:
    def __init__(self, world: carla.World, blueprint: carla.ActorBlueprint, place: carla.Location) -> None:
        self.blueprint = blueprint
        self.actor = world.spawn_actor(blueprint, carla.Transform(place + carla.Location(z=1.0)))
        self.track: list[tuple[float, float, float]] = []
        self.reached = False

    def start(self, world: carla.World, goal: carla.Location, speed_mps: float) -> None:
        blueprint = world.get_blueprint_library().find("controller.ai.walker")
        self.controller = world.spawn_actor(blueprint, carla.Transform(), self.actor)
        world.tick()
        self.controller.start()
        self.controller.go_to_location(goal)
        self.controller.set_max_speed(speed_mps)
        self.goal, self.speed_mps = goal, speed_mps

    def look(self) -> float:
        """Note where the feet are; how much the velocity differs from the way of this tick, m/s."""
        place, velocity = self.actor.get_location(), self.actor.get_velocity()
        feet = (place.x, place.y, place.z - BODY_M)
        self.reached |= self.goal.distance(carla.Location(*feet)) < REACHED_M
        self.track.append(feet)
        if len(self.track) < SETTLE_TICKS:
            return 0.0
        way = [(now - before) / DELTA_S for now, before in zip(feet, self.track[-2], strict=True)]
        return velocity.distance(carla.Vector3D(*way))


class _Crowd:
    def __init__(self, world: carla.World, plan: Plan, places: list[carla.Location]) -> None:
        self._world, self._plan = world, plan
        chance = random.Random(plan.seed)
        bodies = sorted(world.get_blueprint_library().filter("walker.pedestrian.*"), key=lambda body: body.id)
        self.walkers = [_Walker(world, bodies[k % len(bodies)], places[k]) for k in range(plan.walkers)]
        world.tick()
        for k, walker in enumerate(self.walkers):
            walker.start(world, places[-1 - k], 1.0 + chance.random())
        self._velocity_error_mps = 0.0

    def walk(self) -> None:
        for _ in range(SETTLE_TICKS):
            self._world.tick()
        for _ in range(self._plan.ticks):
            self._world.tick()
            self._velocity_error_mps = max(self._velocity_error_mps, *(w.look() for w in self.walkers))

    def leave(self, client: carla.Client) -> None:
        for walker in self.walkers:
            walker.controller.stop()
        actors = [actor for walker in self.walkers for actor in (walker.controller, walker.actor)]
        client.apply_batch_sync([carla.command.DestroyActor(actor) for actor in actors])
        self._world.tick()

    def seen(self) -> dict[str, Any]:
        steps = [
            [sum((b - a) ** 2 for a, b in zip(before, now, strict=True)) ** 0.5
             for before, now in zip(walker.track, walker.track[1:], strict=False)]
            for walker in self.walkers
        ]  # fmt: skip
        return {
            "samples": [place for w in self.walkers for place in w.track[:: self._plan.sample_every]],
            "ends": [walker.track[-1] for walker in self.walkers],
            "reached": sum(walker.reached for walker in self.walkers),
            "stood_share": sum(way < STANDING_M for own in steps for way in own) / sum(map(len, steps)),
            "walked_m": [sum(own) for own in steps],
            "fastest_mps": max(max(own) for own in steps) / DELTA_S,
            "velocity_error_mps": self._velocity_error_mps,
        }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), Plan(**json.loads(sys.argv[2])))))
