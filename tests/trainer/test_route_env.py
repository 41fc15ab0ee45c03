"""Route-v0 on a stand-in server, through the official client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import carla
import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from carlad.errors import ConfigError
from carlad.session.environment import Attachable, Server, Showing, Watchable
from carlad.telemetry import bundle as telemetry
from tests.trainer.standins import standin
from trainer.env.route_env import RouteEnv

Seen = dict[str, NDArray[np.float32]]
NUMBERS = frozenset(telemetry.NUMBERS)
Driver = Callable[[Seen], NDArray[np.float32]]


@pytest.fixture
def env(server: Server) -> Iterator[RouteEnv]:
    env = RouteEnv()
    env.attach(server)
    yield env
    env.close()


def pursue(seen: Seen) -> NDArray[np.float32]:
    """Steer at the route's point 7 m ahead, at about 8 m/s."""
    state = seen["state"]
    steer = 2.0 * np.arctan2(state[13], state[12])
    return np.array([steer, 0.3 * (8.0 - 10.0 * state[0])], np.float32).clip(-1.0, 1.0)


def stand(seen: Seen) -> NDArray[np.float32]:
    return np.array([0.0, -1.0], np.float32)


def swerve(seen: Seen) -> NDArray[np.float32]:
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


@pytest.mark.parametrize(
    ("config", "allowed"),
    [
        ({}, set()),
        ({"viewers_may_pause": True}, {"pause"}),
        ({"viewer_cameras": ["chase", "top"]}, {"view.chase", "view.top"}),
    ],
)
def test_viewers_may_do_what_its_configuration_says(config: dict[str, object], allowed: set[str]) -> None:
    env = RouteEnv(config)
    assert isinstance(env, Showing)
    assert env.viewers_may == allowed


def test_a_driver_who_follows_the_route_arrives(env: RouteEnv) -> None:
    for seed in range(3):
        total, terminated, truncated, info = episode(env, pursue, seed)
        assert (terminated, truncated) == (True, False)
        assert info["success"] is True
        assert info["reason"] == "success"
        assert info["route_completion"] == 1.0
        assert total > 9.0


def test_who_stands_is_blocked_and_who_swerves_leaves_the_route(env: RouteEnv) -> None:
    for driver, reason in ((stand, "blocked"), (swerve, "off_road")):
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


def test_viewers_see_how_the_car_is_driven_and_what_a_step_takes(env: RouteEnv, server: Server) -> None:
    seen, _ = env.reset(seed=4)
    for _ in range(20):
        seen, *_ = env.step(pursue(seen))
    bundle = env.frame_bundle(NUMBERS).bundle
    assert bundle.control is not None
    assert bundle.control.gear in range(1, 7)
    assert bundle.timings_ms.keys() == {"tick", "sensors", "step"}
    assert 0 < bundle.timings_ms["tick"] < bundle.timings_ms["step"]
    assert bundle.ego is not None
    assert bundle.ego.lamps == []
    (vehicle,) = actors(env, server, "vehicle.*")
    vehicle.set_light_state(carla.VehicleLightState(carla.VehicleLightState.LowBeam))
    env.reset(seed=4)
    assert env.frame_bundle(frozenset({"ego"})).bundle.ego.lamps == ["low_beam"]  # type: ignore[union-attr]


def test_who_does_not_ask_for_the_driving_costs_no_look_at_it(env: RouteEnv) -> None:
    env.reset(seed=4)
    bundle = env.frame_bundle(frozenset({"route"})).bundle
    assert (bundle.ego, bundle.control, bundle.timings_ms) == (None, None, {})


def test_cameras_for_viewers_are_there_while_they_are_shown_and_the_policy_sees_nothing_of_them(
    server: Server,
) -> None:
    env = RouteEnv({"viewer_cameras": ["chase", "front", "top"]})
    env.attach(server)
    views = frozenset({"view.chase", "view.front", "view.top"})
    try:
        plain = [episode(env, pursue, 5)[0]]
        env.reset(seed=5)
        assert env.frame_bundle(views).arrays == {}
        env.show(views)
        seen, _ = env.reset(seed=5)
        while env.frame_bundle(views).arrays.keys() != views:
            seen, *_ = env.step(pursue(seen))
        images = env.frame_bundle(views).arrays
        assert all(image.shape == (360, 640, 3) and image.std() > 5 for image in images.values())
        assert len({image.tobytes() for image in images.values()}) == 3
        env.show(frozenset({"view.top"}))
        assert env.frame_bundle(views).arrays.keys() == {"view.top"}
        assert len(actors(env, server, "sensor.camera.*")) == 1
        here = env.frame_bundle(views).bundle.map.rpartition("/")[2]
        for name in ("Town01", here):
            env.reset(options={"config": {"map": name}})
            assert len(actors(env, server, "sensor.camera.*")) == 1
        env.show(frozenset())
        assert actors(env, server, "sensor.camera.*") == []
        assert [episode(env, pursue, 5)[0]] == plain
    finally:
        env.close()
    assert not carla.Client(server.host, server.rpc_port).get_world().get_settings().no_rendering_mode


def actors(env: RouteEnv, server: Server, kind: str) -> list[Any]:
    """Of that kind, as another client sees them after one more step."""
    world = carla.Client(server.host, server.rpc_port).get_world()
    env.step(np.array([0.0, 0.0], np.float32))
    return list(world.get_actors().filter(kind))


def test_viewers_see_the_car_its_route_and_the_towns_lanes(env: RouteEnv) -> None:
    seen, _ = env.reset(seed=4)
    for _ in range(10):
        seen, *_, info = env.step(pursue(seen))
    bundle = env.frame_bundle(frozenset({"ego"})).bundle
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


def test_who_may_leave_the_road_is_ended_by_deviation(server: Server) -> None:
    env = RouteEnv({"ends": ["deviation"]})
    env.attach(server)
    try:
        _, terminated, _, info = episode(env, swerve, seed=1)
        assert (terminated, info["reason"]) == (True, "deviation")
        assert info["infractions"]["outside_lanes"] == 1
        assert 0.0 < info["outside_lanes_share"] < 1.0
    finally:
        env.close()


def test_the_last_info_has_scores(env: RouteEnv) -> None:
    *_, info = episode(env, pursue, seed=3)
    assert info["success"]
    assert set(info["infractions"].values()) == {0}
    assert (info["driving_score_2_0"], info["driving_score_2_1"]) == (100.0, 100.0)


@pytest.mark.parametrize(
    "action", [[np.nan, 0.0], [0.0, np.inf], [0.5], [0.1, 0.2, 0.3], None, ["left", "fast"]]
)
def test_an_action_that_is_none_is_refused_and_nothing_is_driven(env: RouteEnv, action: Any) -> None:
    env.reset(seed=1)
    before = env.frame_bundle(NUMBERS).bundle.frame
    with pytest.raises(ValueError, match="cannot drive with the action"):
        env.step(action)
    assert env.frame_bundle(NUMBERS).bundle.frame == before
    env.step(np.zeros(2, np.float32))


def test_a_table_makes_actions_discrete_and_frames_are_skipped(server: Server) -> None:
    env = RouteEnv({"action_table": [[0.0, 0.5], [1.0, 0.0], [0.0, -1.0]], "frame_skip": 4})
    env.attach(server)
    try:
        assert env.action_space == gymnasium.spaces.Discrete(3)
        env.reset(seed=1)
        before = env.frame_bundle(NUMBERS).bundle.frame
        for _ in range(5):
            env.step(0)
        assert env.frame_bundle(NUMBERS).bundle.frame == before + 20
        assert env.frame_bundle(NUMBERS).bundle.ego.speed_mps > 1.0  # type: ignore[union-attr]
        for wrong in (3, -1, 0.5, np.array([1, 2])):
            with pytest.raises(ValueError, match="none of the numbers 0 to 2"):
                env.step(wrong)
    finally:
        env.close()


def test_an_episode_may_have_a_route_of_its_own(env: RouteEnv) -> None:
    env.reset(seed=1)
    goal, start = env.frame_bundle(NUMBERS).bundle.route[40], env.frame_bundle(NUMBERS).bundle.route[2]
    route = {"id": "mine", "points": [start, goal]}
    seen, info = env.reset(seed=5, options={"route": route})
    assert info["route"] == "mine"
    assert env.frame_bundle(NUMBERS).bundle.route[0] == pytest.approx(start, abs=1.0)
    assert env.frame_bundle(NUMBERS).bundle.route[-1] == pytest.approx(goal, abs=1.5)
    terminated = False
    while not terminated:
        seen, _, terminated, truncated, info = env.step(pursue(seen))
        assert not truncated
    assert info["success"]
    assert env.reset(seed=1)[1] == {}  # the next one is random again


def test_the_configuration_can_be_changed_from_an_episode_on(env: RouteEnv) -> None:
    env.reset(
        seed=1, options={"config": {"route_min_m": 30, "route_max_m": 35, "reward": {"preset": "roach"}}}
    )
    *_, info = env.step(np.zeros(2, np.float32))
    assert info["reward_terms"].keys() == {"speed", "position", "rotation", "action", "terminal"}
    env.reset(seed=2)
    assert 29.0 <= len(env.frame_bundle(NUMBERS).bundle.route) <= 37.0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"rout": 1}, r"options \['rout'\]"),
        ({"config": {"traffic": {"vehicle": 3}}}, "did you mean traffic.vehicles"),
        ({"config": {"route_min_m": 500}}, "route_max_m 120 is below route_min_m 500"),
        ({"config": {"delta_s": 0.05}}, "cannot change delta_s with an episode"),
        ({"config": {"weather": {"presets": ["Sunny"]}}}, "cannot set the weather 'Sunny'"),
        ({"config": {"weather": {"ranges": {"snow": [0, 1]}}}}, "cannot set the weather's 'snow'"),
        ({"config": {"map": "Atlantis"}}, "cannot load the map 'Atlantis': the server has Town"),
        ({"config": {"traffic": {"vehicles": 10_000}}}, "cannot put 10000 vehicles on the road"),
        ({"config": {"routes": "/nowhere.toml"}}, "cannot read routes from"),
        ({"route": {"points": [[0, 0], [9000, 9000]]}}, "cannot plan route '' in Town.*nearest lane"),
        ({"route": {"points": [[0, 0]]}}, "cannot use the route"),
    ],
)
def test_options_that_cannot_be_met_are_refused_and_lose_nothing(
    env: RouteEnv, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises((ValueError, ConfigError), match=reason):
        env.reset(seed=1, options=options)
    env.reset(seed=1)
    env.step(np.zeros(2, np.float32))


def test_routes_of_a_file_are_driven_in_turn_by_seed(env: RouteEnv, tmp_path: Path, server: Server) -> None:
    env.reset(seed=1)
    places = env.frame_bundle(NUMBERS).bundle.route
    text = "".join(f"[[route]]\npoints = [{list(places[i])}, {list(places[40])}]\n" for i in (0, 5, 10))
    (tmp_path / "routes.toml").write_text(text)
    drawn = RouteEnv({"routes": str(tmp_path / "routes.toml")})
    drawn.attach(server)
    try:
        ids = [drawn.reset(seed=seed)[1]["route"] for seed in (*range(12), *range(12))]
        assert set(ids) == {"1", "2", "3"}
        assert ids[:12] == ids[12:]
    finally:
        drawn.close()


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValueError, match=r"route_mx: no such key; did you mean route_max_m\?"):
        RouteEnv({"route_mx": 100.0})


def _vehicles_and_sensors(world: carla.World) -> list[int]:
    return [actor.id for actor in world.get_actors() if actor.type_id.startswith(("vehicle.", "sensor."))]
