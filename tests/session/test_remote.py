"""A session's client and its host process, over their real socket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import gymnasium
import numpy as np
import psutil
import pytest

from carlad.gateway.endpoint import answers
from carlad.session.protocol import ProtocolError
from carlad.session.remote import EnvironmentFailedError, RemoteEnv, SessionLostError
from carlad.session.steps import Steps
from carlad.telemetry import Subscriber
from tests.session.conftest import NO_SERVER, WAIT_S, Start
from tests.session.environments import Quiet
from tests.session.leaks import wait_until

ACTION = np.array([0.5, -0.5], np.float32)


def test_a_remote_environment_behaves_as_a_local_one(start: Start) -> None:
    remote, local = start("Quiet", length=4), Quiet(length=4)
    assert remote.observation_space == local.observation_space
    assert remote.action_space == local.action_space
    for seed in (5, None):
        ours, theirs = local.reset(seed=seed)[0], remote.reset(seed, WAIT_S)[0]
        if seed is not None:
            np.testing.assert_array_equal(ours, theirs)
        for _ in range(4):
            expected, got = local.step(ACTION), remote.step(ACTION, WAIT_S)
            assert got[1:] == expected[1:]
            assert got[0].dtype == np.float32


def test_any_gymnasium_environment_can_be_hosted(tmp_path: Path) -> None:
    remote = RemoteEnv("gymnasium.envs.classic_control:CartPoleEnv", tmp_path)
    try:
        remote.attach(NO_SERVER, {}, WAIT_S)
        local = gymnasium.make("CartPole-v1").unwrapped
        np.testing.assert_array_equal(remote.reset(3, WAIT_S)[0], local.reset(seed=3)[0])
        for action in (0, 1, 1, 0):
            np.testing.assert_array_equal(remote.step(action, WAIT_S)[0], local.step(action)[0])
        with pytest.raises(ProtocolError, match="expected one of 2"):
            remote.step(7, WAIT_S)
    finally:
        remote.close()


def test_options_reach_the_environment(start: Start) -> None:
    assert start("Quiet").reset(1, WAIT_S, {"route": [1, 2]})[1] == {"options": {"route": [1, 2]}}


def test_a_refused_request_changes_nothing(start: Start) -> None:
    env = start("Quiet")
    with pytest.raises(ProtocolError, match="send Reset first"):
        env.step(ACTION, WAIT_S)
    env.reset(1, WAIT_S)
    for wrong in (np.array([np.nan, 0.0], np.float32), np.zeros(3, np.float32), np.zeros(2, np.float64)):
        with pytest.raises(ProtocolError, match="cannot use the action: "):
            env.step(wrong, WAIT_S)
    with pytest.raises(ProtocolError, match="construct twice"):
        env.attach(NO_SERVER, {}, WAIT_S)
    assert env.step(ACTION, WAIT_S)[4]["steps"] == 1


def test_an_ended_episode_takes_no_step(start: Start) -> None:
    env = start("Quiet", length=1)
    env.reset(1, WAIT_S)
    assert env.step(ACTION, WAIT_S)[3]
    with pytest.raises(ProtocolError, match="send Reset first"):
        env.step(ACTION, WAIT_S)


def test_an_error_of_the_environment_is_reported_with_its_words(start: Start, tmp_path: Path) -> None:
    env = start("Failing")
    env.reset(1, WAIT_S)
    with pytest.raises(EnvironmentFailedError, match="KeyError: 'lane 7'"):
        env.step(ACTION, WAIT_S)
    assert 'raise KeyError("lane 7")' in (tmp_path / "log").read_text()


def test_a_wrong_configuration_is_an_error_of_the_environment(start: Start) -> None:
    with pytest.raises(EnvironmentFailedError, match="unexpected keyword argument 'lenght'"):
        start("Quiet", lenght=3)


def test_a_time_out_of_the_carla_client_is_a_lost_simulator(start: Start) -> None:
    env = start("Timeout")
    env.reset(1, WAIT_S)
    for _ in range(2):  # once lost, always lost, and without asking the simulator again
        with pytest.raises(SessionLostError, match="does not answer: RuntimeError: time-out of 2000ms"):
            env.step(ACTION, WAIT_S)
    env.close()


def test_an_abort_of_the_host_is_noticed_at_once(start: Start) -> None:
    env = start("Aborting")
    env.reset(1, WAIT_S)
    with pytest.raises(SessionLostError, match=f"host {env.pid} ended: signal {signal.SIGABRT:d}"):
        env.step(ACTION, WAIT_S)


def test_a_hang_of_the_host_ends_with_the_deadline_and_close_kills_it(start: Start) -> None:
    env = start("Hanging")
    env.reset(1, WAIT_S)
    with pytest.raises(SessionLostError, match="did not answer step"):
        env.step(ACTION, 0.2)
    env.close(kill=True)
    assert not psutil.pid_exists(env.pid)


def test_a_host_that_cannot_start_is_noticed_at_once(start: Start, tmp_path: Path) -> None:
    with pytest.raises(SessionLostError, match="ended: exit code 2"):
        start("Missing")
    assert "tests.session.environments has no environment class Missing" in (tmp_path / "log").read_text()


def test_close_leaves_no_process_and_no_socket(start: Start, tmp_path: Path) -> None:
    env = start("Quiet")
    env.reset(1, WAIT_S)
    env.close()
    env.close()
    assert not psutil.pid_exists(env.pid)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


def test_a_killed_host_leaves_no_socket_after_close(start: Start, tmp_path: Path) -> None:
    env = start("Quiet")
    os.kill(env.pid, signal.SIGKILL)
    with pytest.raises(SessionLostError, match="signal 9"):
        env.reset(1, WAIT_S)
    env.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


def test_sigterm_closes_the_environment_and_ends_the_host(start: Start, tmp_path: Path) -> None:
    env = start("Quiet")
    os.kill(env.pid, signal.SIGTERM)
    wait_until(lambda: psutil.Process(env.pid).status() == psutil.STATUS_ZOMBIE)
    with pytest.raises(SessionLostError, match="ended: exit code 0"):
        env.reset(1, WAIT_S)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


def test_sigterm_ends_a_host_that_is_stepped_without_a_pause(start: Start) -> None:
    env = start("Quiet", length=1 << 30)
    env.reset(1, WAIT_S)
    os.kill(env.pid, signal.SIGTERM)
    with pytest.raises(SessionLostError, match="ended"):
        step_on(env)
    wait_until(lambda: has_ended(env.pid))


def has_ended(pid: int) -> bool:
    """It may have been waited for already: whoever is stepping asks for its exit code."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def step_on(env: RemoteEnv) -> NoReturn:
    while True:
        env.step(ACTION, WAIT_S)


@pytest.mark.parametrize("name", ["Quiet", "Unclosable"])
def test_a_host_ends_with_its_owner(name: str, tmp_path: Path) -> None:
    sockets = tmp_path / "sockets"
    sockets.mkdir()
    with subprocess.Popen(["sleep", "60"]) as owner:
        command = [sys.executable, "-m", "carlad.session", "--env", f"tests.session.environments:{name}"]
        command += ["--endpoint", f"ipc://{sockets}/step", "--telemetry", f"ipc://{sockets}/telemetry"]
        with subprocess.Popen([*command, "--owner-pid", str(owner.pid)]) as host:
            wait_until(lambda: answers(sockets / "step"))
            steps = Steps(f"ipc://{sockets}/step")
            steps.construct({}, WAIT_S)
            owner.kill()
            steps.close()
            host.wait(10)
    if name == "Quiet":
        assert not sockets.exists()


def test_a_host_whose_owner_is_gone_already_does_not_start() -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    command = [sys.executable, "-m", "carlad.session", "--env", "tests.session.environments:Quiet"]
    command += ["--endpoint", "ipc:///nowhere", "--owner-pid", str(gone.pid)]
    assert subprocess.run(command, capture_output=True, timeout=20).returncode == 2


def test_a_viewer_sees_what_the_session_adds_to_the_ticks(start: Start) -> None:
    env = start("Watched", length=2)
    viewer = Subscriber(env.telemetry)
    try:
        env.reset(1, WAIT_S)
        env.step(ACTION, WAIT_S)
        env.step(ACTION, WAIT_S)
        env.reset(2, WAIT_S)
        deadline_s = time.monotonic() + 10.0
        while (news := viewer.newest(0.05)) is None or news[0].tick < 1:
            assert time.monotonic() < deadline_s
            env.step(ACTION, WAIT_S)
            env.reset(3, WAIT_S)
        bundle = news[0]
        assert bundle.session == "session"
        assert bundle.server == "127.0.0.1:2000"
        assert bundle.episode >= 1
        assert bundle.episode_return == pytest.approx(0.5 * bundle.tick)
        assert bundle.success_rate == 1.0
        wait_until(lambda: viewer.newest(0.05) is not None or viewer.lanes is not None)
    finally:
        viewer.close()


def test_a_viewer_is_told_that_the_server_was_lost(start: Start) -> None:
    env = start("WatchedTimeout")
    viewer = Subscriber(env.telemetry)
    try:
        deadline_s = time.monotonic() + 10.0
        while viewer.newest(0.05) is None:
            assert time.monotonic() < deadline_s
            env.reset(1, WAIT_S)
        with pytest.raises(SessionLostError):
            env.step(ACTION, WAIT_S)
        news = viewer.newest(10.0)
        assert news is not None
        assert "server lost" in str(news[0].note)
    finally:
        viewer.close()
