"""Route-v0: drive a planned route to its end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import gymnasium
import msgspec
import numpy as np
from numpy.typing import NDArray

from carlad.session.environment import Server
from carlad.telemetry import Bundle, Control, Frame, Lanes, lanes_of
from carlad.telemetry import Ego as EgoView
from trainer.env import observation, reward
from trainer.env.config import RouteConfig
from trainer.env.route import Place, Route, plan
from trainer.env.termination import Reason, reason_to_end
from trainer.env.world import World

State = NDArray[np.float32]

_PLANS_MAX = 100  # spawn points tried for a route; a town where so many roads end is not usable


class RouteEnv(gymnasium.Env[State, State]):
    """Drive along a route through a town without other traffic.

    **Observation** `Box(-5, 5, (24,), float32)`: see `trainer.env.observation.state`.

    **Action** `Box(-1, 1, (2,), float32)`: steering (1 is full lock to the right) and acceleration (1 is full
    throttle, -1 full brake). Values outside are clipped.

    **Reward**: the sum of the terms of `trainer.env.reward`, also in `info["reward_terms"]`.

    **Start**: standing at a random spawn point, with a random route of `route_min_m` to `route_max_m`.

    **End**: terminated by arrival, a collision, leaving the route or standing still; truncated by the time
    limit. The last step's info has `success` (bool), `reason`, `route_completion` in [0, 1] and
    `route_length_m`.

    It connects at the first reset or by `attach`, to the server given there, else to CARLA_HOST (default
    127.0.0.1) and CARLA_PORT (default 2000). Raises RuntimeError when the server does not answer.
    """

    metadata = {"render_modes": []}

    def __init__(
        self, config: RouteConfig | Mapping[str, Any] | None = None, render_mode: str | None = None
    ) -> None:
        """`config` as a mapping is checked like a file's: ValueError names an unknown key or bad value."""
        self.config = (
            config if isinstance(config, RouteConfig) else msgspec.convert(config or {}, RouteConfig)
        )
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(-5.0, 5.0, (observation.SIZE,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._world: World | None = None
        self._server = ""

    def attach(self, server: Server) -> None:
        """Connect to the server, put its world into synchronous mode and spawn the vehicle."""
        self.close()
        self._world = World(server, self.config)
        self._server = f"{server.host}:{server.rpc_port}"

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[State, dict[str, Any]]:
        super().reset(seed=seed)
        if self._world is None:
            self.attach(_server_from_environment())
        world = self._connected()
        self._route, start = self._plan(world)
        self._ego = world.teleport(start)
        self._place = self._route.place(self._ego.x, self._ego.y, 0.0)
        self._tick, self._stood_s = 0, 0.0
        self._steer, self._acceleration = 0.0, 0.0
        self._terms: dict[str, float] = {}
        return self._state(), {}

    def step(self, action: State) -> tuple[State, float, bool, bool, dict[str, Any]]:
        world = self._connected()
        steer, acceleration = (min(max(float(part), -1.0), 1.0) for part in action)
        self._ego = world.drive(steer, max(acceleration, 0.0), max(-acceleration, 0.0))
        before, self._place = self._place, self._locate()
        self._tick += 1
        standing = self._ego.speed_mps < self.config.blocked_speed_mps
        self._stood_s = self._stood_s + self.config.delta_s if standing else 0.0
        reason = self._reason(world.collided())
        self._terms = reward.terms(
            self.config,
            progress_m=self._place.travelled_m - before.travelled_m,
            speed_mps=self._ego.speed_mps,
            lateral_m=self._place.lateral_m,
            steer_change=steer - self._steer,
            reason=reason,
        )
        self._steer, self._acceleration = steer, acceleration
        terminated = reason is not None and not reason.truncates
        truncated = reason is not None and reason.truncates
        return self._state(), sum(self._terms.values()), terminated, truncated, self._info(reason)

    def lanes(self) -> Lanes:
        """The town's lanes, for viewers."""
        return lanes_of(self._connected().map)

    def frame_bundle(self, channels: frozenset[str]) -> Frame:
        """The last tick, for viewers."""
        world, ego = self._connected(), self._ego
        half_length_m, half_width_m = world.half_size_m()
        bundle = Bundle(
            session="",
            episode=0,
            tick=self._tick,
            frame=ego.frame,
            sim_time_s=ego.sim_time_s,
            server=self._server,
            map=world.map.name,
            ego=EgoView(ego.x, ego.y, np.degrees(ego.yaw_rad), ego.speed_mps, half_length_m, half_width_m),
            control=Control(self._steer, max(self._acceleration, 0.0), max(-self._acceleration, 0.0)),
            route=self._route.ahead(self._place.travelled_m),
            reward_terms=self._terms,
        )
        return Frame(bundle, {})

    def close(self) -> None:
        """Leave the world as it was found. May be called again."""
        if self._world is not None:
            self._world.close()
            self._world = None

    def _connected(self) -> World:
        if self._world is None:
            raise gymnasium.error.ResetNeeded("cannot use Route-v0 before reset(): it is not connected")
        return self._world

    def _plan(self, world: World) -> tuple[Route, Any]:
        """A random route and the transform of its start."""
        for _ in range(_PLANS_MAX if world.spawn_points else 0):
            start = world.spawn_points[int(self.np_random.integers(len(world.spawn_points)))]
            length_m = self.np_random.uniform(self.config.route_min_m, self.config.route_max_m)
            route = plan(world.map.get_waypoint(start.location), length_m, self.np_random)
            if route is not None:
                return route, start
        raise ValueError(
            f"cannot plan a route of {self.config.route_min_m:g} m or more in {world.map.name}: "
            f"tried {_PLANS_MAX} of its {len(world.spawn_points)} spawn points"
        )

    def _locate(self) -> Place:
        return self._route.place(self._ego.x, self._ego.y, self._place.travelled_m)

    def _reason(self, collided: bool) -> Reason | None:
        return reason_to_end(
            self.config,
            collided=collided,
            lateral_m=self._place.lateral_m,
            remaining_m=self._route.length_m - self._place.travelled_m,
            stood_s=self._stood_s,
            elapsed_s=self._tick * self.config.delta_s,
            length_m=self._route.length_m,
        )

    def _state(self) -> State:
        return observation.state(self._ego, self._route, self._place, self._steer, self._acceleration)

    def _info(self, reason: Reason | None) -> dict[str, Any]:
        info: dict[str, Any] = {"reward_terms": self._terms}
        if reason is not None:
            completion = 1.0 if reason is Reason.SUCCESS else self._place.travelled_m / self._route.length_m
            info |= {
                "success": reason is Reason.SUCCESS,
                "reason": reason.value,
                "route_completion": completion,
                "route_length_m": self._route.length_m,
            }
        return info


def _server_from_environment() -> Server:
    port = int(os.environ.get("CARLA_PORT", "2000"))
    return Server(os.environ.get("CARLA_HOST", "127.0.0.1"), port, traffic_manager_port=8000)
