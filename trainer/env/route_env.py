"""Route-v0: drive a planned route to its end, among others."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import carla
import gymnasium

from carlad.session.environment import Server
from carlad.telemetry import Array, Frame, Lanes
from carlad.telemetry.bundle import PAUSE, VIEW_PREFIX
from trainer.env import actions, observation, route_files, watching, weather
from trainer.env.bev import BirdsEyeView
from trainer.env.config import RouteConfig, changed, convert
from trainer.env.episode import Episode, Seen
from trainer.env.layouts import layout
from trainer.env.observation import Observer
from trainer.env.reward import Reward
from trainer.env.road_map import NoWayError
from trainer.env.route import Route
from trainer.env.route_files import RouteSpec
from trainer.env.world import World

_PLANS_MAX = 100  # spawn points tried for a route; a town where so many roads end is not usable
_ABOVE_ROAD_M = 0.3  # where a vehicle is put that does not start at a spawn point
_OPTIONS = {"config", "route"}
_FIXED = ("action_table", "observe", "delta_s", "vehicle", "client_timeout_s", "frame_skip")
"""Keys that stay for an environment's life: its spaces and its vehicle are made from them."""


class RouteEnv(gymnasium.Env[Any, Any]):
    """Drive along a route through a town, with as much traffic and as many rules as are configured.

    **Observation**: a Dict of the parts in `config.observe.keys`.

    | key | space | what |
    | --- | --- | --- |
    | `state` | Box(39,) float32 | the vehicle, the route and what is ahead: `trainer.env.state` |
    | `bev` | Box(0, 255, (C, size, size), uint8) | bird's-eye masks: `trainer.env.bev` |
    | `camera`, `depth`, `semantic` | Box(0, 255, (3 or 1, H, W), uint8) | a camera: `trainer.env.sensors` |
    | `lidar` | Box (points, 4) float32 or Box(0, 255, (3, size, size), uint8) | `trainer.env.sensors` |
    | `truth` | Box(10 for each actor,) float32 | others as they are, for a critic: `trainer.env.state` |

    **Action** `Box(-1, 1, (2,), float32)`: steering (1 is full lock to the right) and acceleration (1 is full
    throttle, -1 full brake), clipped; or `Discrete(n)`, a row of `config.action_table`. It holds for
    `config.frame_skip` ticks. NaN is refused by a ValueError, and nothing is driven.

    **Reward**: the sum of the terms of `trainer.env.reward`, also in `info["reward_terms"]`.

    **Start**: standing at a random spawn point with a random route of `route_min_m` to `route_max_m`, or at
    the start of a route from `config.routes`. `reset(options={"config": {...}})` changes keys of the
    configuration for this and all later episodes, the map too; `options={"route": {...}}` is a `RouteSpec`
    for this one.

    **End**: terminated by arrival and what `config.ends` names; truncated by the time limit. The last step's
    info has `success` (bool), `reason`, `route_completion` in [0, 1], `route_length_m`, `infractions`
    (counts), `outside_lanes_share` in [0, 1], `driving_score_2_0` and `driving_score_2_1` in [0, 100].

    It connects at the first reset or by `attach`, to the server given there, else to CARLA_HOST (default
    127.0.0.1) and CARLA_PORT (default 2000). Raises RuntimeError when the server does not answer.
    """

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(
        self, config: RouteConfig | Mapping[str, Any] | None = None, render_mode: str | None = None
    ) -> None:
        """`config` as a mapping is checked like a file's: ValueError names an unknown key or bad value."""
        self.config = config if isinstance(config, RouteConfig) else convert(dict(config or {}))
        self.render_mode = render_mode
        self._routes = _checked(self.config)
        self.observation_space = observation.space_of(self.config)
        self.action_space = actions.space(self.config)
        self._world: World | None = None
        self._server: Server | None = None
        self._episode: Episode | None = None
        self._parts: dict[str, Array] = {}
        self._views: frozenset[str] = frozenset()
        self._step_s = 0.0  # what the last step took

    def attach(self, server: Server) -> None:
        """Connect to the server, put its world into synchronous mode and spawn the vehicle."""
        self.close()
        self._server = server
        self._world = self._entered(server, self.config)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        config, spec = self._asked(options or {})
        routes = _checked(config) if config is not self.config else self._routes
        if spec is None and routes:
            spec = routes[int(self.np_random.integers(len(routes)))]
        world = self._on_map((spec.map if spec is not None else "") or config.map, config)
        route, start = self._planned(world, config, spec)
        values = self._weather(world, config, spec)
        ego = world.begin(config, start, values, self.np_random)
        self.config, self._routes = config, routes
        seen = self._seen(world, ego)
        self._episode = episode = Episode(config, route, world.truth(), seen)
        self._observer = Observer(config, self._birds_eye(world, episode))
        info = {"route": spec.id} if spec is not None else {}
        return self._observation(), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        began_s = time.perf_counter()
        world, episode = self._connected(), self._begun()
        done = actions.decoded(self.config, action)
        pedals = max(done.acceleration, 0.0), max(-done.acceleration, 0.0)
        for _ in range(self.config.frame_skip):
            ego = world.drive(done.steer, *pedals)
        reason = episode.step(self._seen(world, ego), done).reason
        terminated = reason is not None and not reason.truncates
        truncated = reason is not None and reason.truncates
        seen = self._observation()
        self._step_s = time.perf_counter() - began_s
        return seen, sum(episode.terms.values()), terminated, truncated, episode.info()

    def lanes(self) -> Lanes:
        """The town's lanes, for viewers."""
        return self._connected().town.lanes

    def frame_bundle(self, channels: frozenset[str]) -> Frame:
        """The last step, for viewers: of the channels what this environment has."""
        return watching.frame(self._connected(), self._begun(), self._parts, channels, self._step_s)

    @property
    def viewers_may(self) -> frozenset[str]:
        """What viewers are allowed: `carlad.session.environment.Showing`."""
        cameras = {VIEW_PREFIX + name for name in self.config.viewer_cameras}
        return frozenset(cameras | {PAUSE} if self.config.viewers_may_pause else cameras)

    def show(self, views: frozenset[str]) -> None:
        """Carry the cameras of these channels for viewers, and no others, whatever the map."""
        self._views = views
        if self._world is not None:
            self._world.show(views)

    def render(self) -> Any:
        """A bird's-eye picture of the last step: uint8 (256, 256, 3), RGB."""
        return watching.picture(self._connected(), self._begun())

    def close(self) -> None:
        """Leave the world as it was found. May be called again."""
        world, self._world, self._episode = self._world, None, None
        if world is not None:
            world.close()

    # --- an episode's beginning

    def _asked(self, options: dict[str, Any]) -> tuple[RouteConfig, RouteSpec | None]:
        """The configuration and the route that the options ask for. Raises ValueError."""
        if unknown := sorted(options.keys() - _OPTIONS):
            raise ValueError(f"cannot reset with the options {unknown}: known are {sorted(_OPTIONS)}")
        config = changed(self.config, options["config"]) if options.get("config") else self.config
        for key in _FIXED:
            if getattr(config, key) != getattr(self.config, key):
                raise ValueError(f"cannot change {key} with an episode: make another environment")
        spec = options.get("route")
        return config, None if spec is None else route_files.spec(spec)

    def _on_map(self, wanted: str, config: RouteConfig) -> World:
        """The world, on the map that is wanted; connected if it was not."""
        world, server = self._world, self._server or _server_from_environment()
        if world is not None and (not wanted or world.name == wanted):
            return world
        self.close()
        self._server = server
        self._world = self._entered(server, _with_map(config, wanted))
        return self._world

    def _entered(self, server: Server, config: RouteConfig) -> World:
        world = World(server, config)
        if self._views:
            world.show(self._views)
        return world

    def _planned(self, world: World, config: RouteConfig, spec: RouteSpec | None) -> tuple[Route, Any]:
        """The episode's route and the carla.Transform of its start."""
        if spec is None:
            return self._random_route(world, config)
        try:
            route = world.town.roads.route_through(spec.points)
        except NoWayError as error:
            raise ValueError(f"cannot plan route {spec.id!r} in {world.name}: {error}") from error
        waypoint = world.map.get_waypoint(carla.Location(*spec.points[0]))
        start = waypoint.transform
        start.location.x, start.location.y = route.point(0.0)
        start.location.z += _ABOVE_ROAD_M
        return route, start

    def _random_route(self, world: World, config: RouteConfig) -> tuple[Route, Any]:
        points = world.spawn_points
        for _ in range(_PLANS_MAX if points else 0):
            start = points[int(self.np_random.integers(len(points)))]
            length_m = self.np_random.uniform(config.route_min_m, config.route_max_m)
            place = start.location.x, start.location.y, start.location.z
            route = world.town.roads.random_route(place, length_m, self.np_random, config.lane_changes)
            if route is not None:
                return route, start
        raise ValueError(
            f"cannot plan a route of {config.route_min_m:g} m or more in {world.name}: "
            f"tried {_PLANS_MAX} of its {len(points)} spawn points"
        )

    def _weather(self, world: World, config: RouteConfig, spec: RouteSpec | None) -> Any:
        if spec is None or not spec.weather:
            return weather.draw(config.weather, world.found_weather, self.np_random)
        if isinstance(spec.weather, str):
            return weather.preset(spec.weather)
        return weather.changed(world.found_weather, spec.weather)

    def _birds_eye(self, world: World, episode: Episode) -> BirdsEyeView | None:
        if "bev" not in self.config.observe.keys:
            return None
        return watching.birds_eye(layout(self.config.observe.bev), world, episode)

    # --- a step

    def _seen(self, world: World, ego: Any) -> Seen:
        return Seen(ego, world.others(), world.collisions(), world.speed_limit_mps())

    def _observation(self) -> Any:
        readings = self._connected().sensors.readings
        self._parts = self._observer.parts(self._begun().moment, readings)
        return self._parts

    def _connected(self) -> World:
        if self._world is None:
            raise gymnasium.error.ResetNeeded("cannot use Route-v0 before reset(): it is not connected")
        return self._world

    def _begun(self) -> Episode:
        if self._episode is None:
            raise gymnasium.error.ResetNeeded("cannot use Route-v0 before reset(): no episode has begun")
        return self._episode


def _checked(config: RouteConfig) -> list[RouteSpec]:
    """The routes of its file. Raises ValueError or ConfigError for what the configuration's types allow."""
    Reward(config)
    layout(config.observe.bev)
    weather.check(config.weather)
    return route_files.read(config.routes) if config.routes else []


def _with_map(config: RouteConfig, name: str) -> RouteConfig:
    return changed(config, {"map": name}) if name != config.map else config


def _server_from_environment() -> Server:
    port = int(os.environ.get("CARLA_PORT", "2000"))
    return Server(os.environ.get("CARLA_HOST", "127.0.0.1"), port, traffic_manager_port=8000)
