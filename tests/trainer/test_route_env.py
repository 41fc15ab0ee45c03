"""Route-v0 on a stand-in server, through the official client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import carla
import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from carlad.session.environment import Attachable, Server, Watchable
from tests.trainer.standins import standin
from trainer.env.route_env import RouteEnv

Driver = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@pytest.fixture
def env(server: Server) -> Iterator[RouteEnv]:
    env = RouteEnv()
    env.attach(server)
    yield env
    env.close()


def pursue(seen: NDArray[np.float32]) -> NDArray[np.float32]:
    """Steer at the route's point 7 m ahead, at about 8 m/s."""
    steer = 2.0 * np.arctan2(seen[13], seen[12])
    return np.array([steer, 0.3 * (8.0 - 10.0 * seen[0])], np.float32).clip(-1.0, 1.0)


def stand(seen: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.array([0.0, -1.0], np.float32)


def swerve(seen: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.array([1.0, 0.5], np.float32)


def episode(env: RouteEnv, driver: Driver, seed: int) -> tuple[float, bool, bool, dict[str, object]]:
    """Return, terminated, truncated and the last info of an episode."""
    seen, total = env.reset(seed=seed)[0], 0.0
    while True:
        seen, reward, terminated, truncated, info = env.step(driver(seen))
        total += reward
        if terminated or truncated:
            return total, terminated, truncated, info


def test_it_passes_gymnasiums_own_check(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARLA_PORT", str(server.rpc_port))
    env = gymnasium.make("trainer.env:trainer/Route-v0")
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_it_offers_what_a_host_can_use() -> None:
    env = RouteEnv()
    assert isinstance(env, Attachable)
    assert isinstance(env, Watchable)


def test_a_driver_who_follows_the_route_arrives(env: RouteEnv) -> None:
    for seed in range(3):
        total, terminated, truncated, info = episode(env, pursue, seed)
        assert (terminated, truncated) == (True, False)
        assert info["success"] is True
        assert info["reason"] == "success"
        assert info["route_completion"] == 1.0
        assert total > 9.0


def test_who_stands_is_blocked_and_who_swerves_leaves_the_route(env: RouteEnv) -> None:
    for driver, reason in ((stand, "blocked"), (swerve, "deviation")):
        total, terminated, _, info = episode(env, driver, seed=1)
        assert terminated
        assert (info["success"], info["reason"]) == (False, reason)
        assert 0.0 <= info["route_completion"] < 0.5  # type: ignore[operator]
        assert total < 0.0


def test_slow_driving_is_cut_off_by_the_time_limit(server: Server) -> None:
    env = RouteEnv({"slowest_mps": 40.0})
    env.attach(server)
    try:
        _, terminated, truncated, info = episode(env, pursue, seed=1)
        assert (terminated, truncated, info["reason"]) == (False, True, "time_limit")
    finally:
        env.close()


def test_the_same_seed_gives_the_same_episode(env: RouteEnv) -> None:
    first = [episode(env, pursue, seed)[0] for seed in (5, 6)]
    again = [episode(env, pursue, seed)[0] for seed in (5, 6)]
    assert first == again
    assert first[0] != first[1]


def test_a_collision_ends_the_episode(env: RouteEnv, server: Server) -> None:
    env.reset(seed=2)
    client = carla.Client(server.host, server.rpc_port)
    world = client.get_world()
    blueprint = world.get_blueprint_library().find("vehicle.carlamotors.firetruck")
    x, y = env.frame_bundle(frozenset()).bundle.route[20]
    ahead_x, ahead_y = env.frame_bundle(frozenset()).bundle.route[21]
    yaw = float(np.degrees(np.arctan2(ahead_y - y, ahead_x - x)))
    obstacle = world.spawn_actor(
        blueprint, carla.Transform(carla.Location(x, y, 0.5), carla.Rotation(yaw=yaw))
    )
    try:
        _, terminated, _, info = episode(env, pursue, seed=2)
        assert (terminated, info["reason"]) == (True, "collision")
    finally:
        obstacle.destroy()


def test_viewers_see_the_car_its_route_and_the_towns_lanes(env: RouteEnv) -> None:
    seen, _ = env.reset(seed=4)
    for _ in range(10):
        seen, *_, info = env.step(pursue(seen))
    bundle = env.frame_bundle(frozenset()).bundle
    assert bundle.ego is not None
    assert bundle.tick == 10
    assert bundle.ego.speed_mps > 1.0
    nearest = min(np.hypot(x - bundle.ego.x, y - bundle.ego.y) for x, y in bundle.route)
    assert nearest < 1.5
    assert bundle.reward_terms == info["reward_terms"]
    assert bundle.map == env.lanes().map
    assert len(env.lanes().lanes) > 10


def test_it_leaves_the_world_as_it_found_it(server: Server) -> None:
    world = carla.Client(server.host, server.rpc_port).get_world()
    settings, actors = world.get_settings(), _vehicles_and_sensors(world)
    env = RouteEnv()
    env.attach(server)
    env.reset(seed=1)
    env.close()
    env.close()
    world.wait_for_tick()
    assert world.get_settings() == settings
    assert _vehicles_and_sensors(world) == actors


def test_it_can_be_attached_to_another_server_and_used_before_reset_it_says_so(env: RouteEnv) -> None:
    with standin() as other:
        env.attach(other)
        env.reset(seed=1)
        assert env.frame_bundle(frozenset()).bundle.server == f"127.0.0.1:{other.rpc_port}"
        env.close()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(2, np.float32))


def test_a_lost_server_is_a_runtime_error_within_the_time_out() -> None:
    with standin() as server:
        env = RouteEnv({"client_timeout_s": 1.0})
        env.attach(server)
        env.reset(seed=1)
    started_s = time.monotonic()
    with pytest.raises(RuntimeError, match="time-out"):
        env.step(np.zeros(2, np.float32))
    env.close()
    assert time.monotonic() - started_s < 6.0


def test_a_failed_connection_leaves_the_world_as_it_was(server: Server) -> None:
    with pytest.raises(IndexError, match="horse"):
        RouteEnv({"vehicle": "vehicle.horse.cart"}).attach(server)
    world = carla.Client(server.host, server.rpc_port).get_world()
    assert not world.get_settings().synchronous_mode


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValueError, match="route_max"):
        RouteEnv({"route_max": 100.0})


def _vehicles_and_sensors(world: carla.World) -> list[int]:
    return [actor.id for actor in world.get_actors() if actor.type_id.startswith(("vehicle.", "sensor."))]
