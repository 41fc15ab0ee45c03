"""Route-v0 with others on the road and with every kind of observation, on a stand-in, through the client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import carla
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from carlad.session.environment import Server
from tests.ports import free_port
from tests.trainer.test_route_env import pursue, stand
from trainer.env.route_env import RouteEnv

PATIENT = {"client_timeout_s": 60.0}  # the first picture of a town takes seconds on a busy machine


@contextmanager
def attached(server: Server, **config: Any) -> Iterator[RouteEnv]:
    env = RouteEnv({**PATIENT, **config})
    env.attach(server._replace(traffic_manager_port=free_port()))
    try:
        yield env
    finally:
        env.close()


def on_the_road(server: Server) -> list[str]:
    world = carla.Client(server.host, server.rpc_port).get_world()
    kinds = ("vehicle.", "walker.", "controller.", "sensor.")
    return [actor.type_id for actor in world.get_actors() if actor.type_id.startswith(kinds)]


def crowd(env: RouteEnv) -> dict[int, tuple[str, float, float]]:
    actors = env.frame_bundle(frozenset({"actors"})).bundle.actors
    return {actor.id: (actor.kind, actor.x, actor.y) for actor in actors}


@pytest.mark.parametrize(
    "observe",
    [
        {"keys": ["state"], "state": "carl"},
        {"keys": ["bev", "state"], "state": "roach", "bev": {"layout": "roach"}},
        {"keys": ["bev"], "bev": {"layout": "carl", "size_px": 96}},
        {"keys": ["camera", "depth", "semantic"], "camera": {"width_px": 64, "height_px": 48}},
        {"keys": ["lidar", "truth"], "lidar": {"form": "points"}},
        {"keys": ["lidar", "state"], "lidar": {"form": "pillars"}},
    ],
    ids=lambda observe: "+".join(observe["keys"]),
)
def test_every_composition_passes_gymnasiums_own_check(
    server: Server, monkeypatch: pytest.MonkeyPatch, observe: dict[str, Any]
) -> None:
    monkeypatch.setenv("CARLA_PORT", str(server.rpc_port))
    env = RouteEnv({**PATIENT, "observe": observe})
    check_env(env, skip_render_check=True)
    try:
        seen, _ = env.reset(seed=1)
        assert list(seen) == observe["keys"]
        assert all(np.any(part) for part in seen.values() if part.dtype == np.uint8)
    finally:
        env.close()


def test_others_appear_move_and_are_gone_with_the_episode(server: Server) -> None:
    before = on_the_road(server)
    with attached(server, traffic={"vehicles": 8, "walkers": 4}) as env:
        env.reset(seed=1)
        first = crowd(env)
        kinds = [kind for kind, *_ in first.values()]
        assert (kinds.count("vehicle"), kinds.count("walker")) == (8, 4)
        seen, *_ = env.reset(seed=2)
        assert not first.keys() & crowd(env).keys()  # nobody is left over
        start = crowd(env)
        for _ in range(30):
            seen, *_ = env.step(stand(seen))
        moved = [np.hypot(x - start[i][1], y - start[i][2]) > 1.0 for i, (_, x, y) in crowd(env).items()]
        assert sum(moved) >= 6
        env.reset(seed=3, options={"config": {"traffic": {"vehicles": 0, "walkers": 0}}})
        assert crowd(env) == {}
    assert on_the_road(server) == before


def test_the_same_seed_spawns_the_same_crowd(server: Server) -> None:
    with attached(server, traffic={"vehicles": 5, "walkers": 3}) as env:
        places = []
        for seed in (4, 4, 5):
            env.reset(seed=seed)
            places.append(sorted((kind, round(x), round(y)) for kind, x, y in crowd(env).values()))
        assert places[0] == places[1] != places[2]


@pytest.mark.parametrize("vehicles", [0, 2])
def test_lights_are_green_unless_they_are_to_cycle(server: Server, vehicles: int) -> None:
    with attached(server, traffic={"vehicles": vehicles}) as env:
        for lights, expected in (("green", {"green"}), ("cycle", {"green", "red"}), ("green", {"green"})):
            seen, _ = env.reset(seed=1, options={"config": {"traffic": {"lights": lights}}})
            for _ in range(3):
                seen, *_ = env.step(stand(seen))
            assert {
                str(light.state).lower() for light in env._connected().signals.lights.values()
            } == expected


def test_a_red_light_that_is_run_ends_the_episode_and_is_counted(server: Server) -> None:
    with attached(server, traffic={"lights": "cycle"}) as env:
        for seed in range(60):
            seen, _ = env.reset(seed=seed)
            if seen["state"][26] and 0.2 < seen["state"][24] < 0.6:  # red, 10 to 30 m ahead
                break
        else:
            raise AssertionError("no episode begins before a red light")
        terminated = truncated = False
        while not (terminated or truncated):
            seen, _, terminated, truncated, info = env.step(pursue(seen))
        assert (terminated, info["reason"], info["success"]) == (True, "red_light", False)
        assert info["infractions"]["red_light"] == 1
        assert info["driving_score_2_0"] == pytest.approx(70.0 * info["route_completion"])
        assert info["driving_score_2_1"] == pytest.approx(100.0 * info["route_completion"] / 1.4)


def test_who_waits_at_a_red_light_is_not_blocked(server: Server) -> None:
    with attached(server, traffic={"lights": "cycle"}, blocked_after_s=1.0) as env:
        for seed in range(200):
            seen, _ = env.reset(seed=seed)
            if seen["state"][26] and seen["state"][24] < 0.25:
                break
        else:
            raise AssertionError("no episode begins at a red light")
        for _ in range(20):
            seen, _, terminated, *_ = env.step(stand(seen))
            if not seen["state"][26]:
                break
            assert not terminated


def test_the_weather_is_drawn_by_the_seed_and_put_back(server: Server) -> None:
    world = carla.Client(server.host, server.rpc_port).get_world()
    found = world.get_weather()
    ranges = {"sun_altitude_angle": [10.0, 60.0]}
    with attached(server, weather={"presets": ["HardRainNoon", "ClearNight"], "ranges": ranges}) as env:
        drawn = []
        for seed in (1, 1, 2):
            env.reset(seed=seed)
            drawn.append(world.get_weather())
        assert drawn[0] == drawn[1] != drawn[2]
        assert all(10.0 <= weather.sun_altitude_angle <= 60.0 for weather in drawn)
    assert world.get_weather() == found


def test_an_episode_may_be_on_another_map(server: Server) -> None:
    running = carla.Client(server.host, server.rpc_port).get_world().get_map().name.rpartition("/")[2]
    other = "Town02" if running != "Town02" else "Town01"
    with attached(server, traffic={"vehicles": 3}) as env:
        for name in (running, other, running):
            seen, _ = env.reset(seed=1, options={"config": {"map": name}})
            assert env.frame_bundle(frozenset()).bundle.map.endswith(name)
            assert len(crowd(env)) == 3
            for _ in range(5):
                seen, *_ = env.step(pursue(seen))
    assert on_the_road(server) == []


def test_viewers_get_what_is_observed(server: Server) -> None:
    observe = {"keys": ["camera", "lidar", "bev"], "camera": {"width_px": 32, "height_px": 24}}
    with attached(server, observe=observe) as env:
        env.reset(seed=1)
        frame = env.frame_bundle(frozenset({"camera", "lidar", "bev", "lights"}))
        assert frame.arrays["camera"].shape == (24, 32, 3)
        assert frame.arrays["bev"].shape == (10, 256, 256)
        assert frame.arrays["lidar"].shape[1] == 4
        assert frame.bundle.bev is not None
        assert len(frame.bundle.bev.layers) == 10
        assert frame.bundle.scores["driving_score_2_1"] >= 0.0
        assert env.frame_bundle(frozenset({"route"})).arrays == {}
        assert env.render().shape == (256, 256, 3)
