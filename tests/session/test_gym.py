"""carlad's environments by name, under the libraries that people use. Real env hosts on fake servers."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import carlad.gym
from carlad.client import Client
from carlad.errors import RequestError, ServerError
from tests.gateway.daemons import FakeDaemon, fake_daemon
from tests.session.leaks import nothing_left_behind, wait_until

NAME = "carlad.gym:Session-v0"


@pytest.fixture(scope="module")
def daemon() -> Iterator[FakeDaemon]:
    with fake_daemon(size=3, ttl_s=20.0) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARLAD_ENDPOINT", running.endpoint)
        yield running


@pytest.fixture
def client(daemon: FakeDaemon) -> Iterator[Client]:
    with Client(daemon.endpoint) as client:
        client.status()
        with nothing_left_behind():
            yield client
            wait_until(lambda: client.status().sessions == () and client.status().leases == ())


def pids(client: Client) -> list[int]:
    return [session.pid for session in client.status().sessions if session.pid is not None]


def test_a_session_passes_gymnasiums_own_check(client: Client) -> None:
    env = gymnasium.make(NAME, env="quiet", config={"length": 50})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*infinity.*|.*-inf.*|.*symmetric.*|.*render.*")
        check_env(env.unwrapped, skip_render_check=True)
    env.close()
    env.close()


def test_making_an_environment_takes_no_server(client: Client) -> None:
    env = gymnasium.make(NAME, env="quiet")
    vector = gymnasium.make_vec(NAME, num_envs=3, env="quiet")
    assert (env.observation_space.shape, vector.observation_space.shape) == ((2,), (3, 2))
    assert client.status().leases == ()
    vector.close()
    env.close()


def test_routes_are_registered_for_single_and_vector_use() -> None:
    spec = gymnasium.spec("Route-v0")
    assert carlad.gym.__name__ in "carlad.gym"
    assert spec.kwargs == {"env": "route"}
    assert "SessionVectorEnv" in str(spec.vector_entry_point)


def test_what_the_environment_refuses_is_told_by_make(client: Client) -> None:
    for make in (gymnasium.make, lambda *a, **k: gymnasium.make_vec(*a, num_envs=2, **k)):
        with pytest.raises(RequestError, match="unexpected keyword argument 'lenght'"):
            make(NAME, env="quiet", config={"lenght": 3})


def test_a_vector_steps_all_and_resets_in_the_step_after_an_end(client: Client) -> None:
    envs = gymnasium.make_vec(NAME, num_envs=2, env="quiet", config={"length": 2})
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    first, _ = envs.reset(seed=7)
    again, _ = envs.reset(seed=7)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    actions = np.array([[0.5, 0], [0.25, 0]], np.float32)
    observations, rewards, terminated, truncated, _ = envs.step(actions)
    np.testing.assert_allclose(observations, first + actions)
    np.testing.assert_allclose(rewards, [0.5, 0.25])
    assert not (terminated | truncated).any()
    assert envs.step(actions)[3].all()
    observations, rewards, _, truncated, infos = envs.step(actions)
    assert (rewards == 0).all()
    assert not truncated.any()
    assert infos["_options"].all()  # of reset
    envs.close()


def test_a_lost_member_never_stops_the_others(client: Client) -> None:
    """It is held down by SIGSTOP as long as the other steps: only then may its replacement come."""
    envs = gymnasium.make_vec(NAME, num_envs=3, env="quiet", config={"length": 10_000})
    envs.reset(seed=1)
    actions = np.full((3, 2), 0.5, np.float32)
    before = envs.step(actions)[0]
    os.kill(pids(client)[1], signal.SIGKILL)
    lost_step: dict[str, Any] = {}
    infos: dict[str, Any] = {}
    steps = idle = 0
    while not lost_step or "sim_recovered" not in infos:
        observations, rewards, _, truncated, infos = envs.step(actions)
        gone = [i for i in range(3) if truncated[i]]
        assert [i for i in range(3) if rewards[i] != 0.5] in ([], [1], [0], [2])
        if "sim_lost" in infos:
            lost_step = infos["sim_lost"]
            (member,) = gone
            np.testing.assert_array_equal(observations[member], before[member])
        before = observations
        idle += bool(gone)
        steps += 1
    assert idle > 5  # the others went on while the replacement came
    assert "ended" in lost_step["cause"][member] or "signal" in lost_step["cause"][member]
    assert np.isnan(lost_step["recovery_s"][member])
    assert infos["sim_recovered"]["recovery_s"][member] > 0
    assert envs.step(actions)[1].tolist() == [0.5, 0.5, 0.5]
    envs.close()


def test_a_vector_that_is_larger_than_the_fleet_says_so(client: Client) -> None:
    envs = gymnasium.make_vec(NAME, num_envs=4, env="quiet", wait_s=0.3)
    with pytest.raises(ServerError, match=r"cannot reset 1 of 4 environments: .*3 LEASED"):
        envs.reset()
    envs.close()


def test_a_discrete_and_an_image_environment_work_in_a_vector(client: Client) -> None:
    envs = gymnasium.make_vec(NAME, num_envs=2, env="camera")
    envs.reset()
    for steps in range(1, 7):
        observations = envs.step(np.zeros((2, 2), np.float32))[0]
        assert observations["image"].shape == (2, 600, 800, 3)
        assert (observations["image"] == steps).all()
    envs.close()


def test_stable_baselines3_trains_through_a_lost_host(client: Client) -> None:
    sb3 = pytest.importorskip("stable_baselines3", reason="pip install carlad[sb3]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sb3.PPO("MlpPolicy", NAME_SB3, n_steps=64, batch_size=64, n_epochs=1, device="cpu", seed=1)
        model.set_logger(sb3.common.logger.Logger(None, []))  # its own leaves a folder in /tmp
        losses: list[dict[str, Any]] = []

        def watch(found: dict[str, Any], _globals: dict[str, Any]) -> bool:
            if len(losses) == 0 and found["self"].num_timesteps == 100:
                os.kill(pids(client)[0], signal.SIGKILL)
            losses.extend(info["sim_lost"] for info in found["infos"] if "sim_lost" in info)
            return True

        model.learn(256, callback=watch)
        model.get_env().close()
    assert [set(loss) for loss in losses] == [{"cause", "server", "recovery_s"}]


NAME_SB3 = "carlad.gym:Quiet-v0"
gymnasium.register(
    id="Quiet-v0",
    entry_point="carlad.session.client:SessionEnv",
    kwargs={"env": "quiet", "config": {"length": 20}},
    nondeterministic=True,
)
