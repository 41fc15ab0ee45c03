"""What viewers may do to a session, on real env hosts."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing

import numpy as np
import pytest

from carlad.session.protocol import Held, Reply, Stepped
from carlad.session.remote import RemoteEnv
from carlad.telemetry import Frame, Subscriber
from tests.session.conftest import WAIT_S, Start
from tests.telemetry.watching import wait_until

ACTION = np.array([0.5, 0.25], np.float32)
KILLED = """
import sys, time
from carlad.telemetry import Subscriber
subscriber = Subscriber(sys.argv[1])
subscriber.pause()
time.sleep(600)
"""


@pytest.fixture
def env(start: Start) -> RemoteEnv:
    env = start("Shown", length=100_000)
    env.reset(1, WAIT_S)
    return env


def reply(env: RemoteEnv, within_s: float) -> Reply | None:
    """What comes to a step that was sent."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        if (message := env.receive_now()) is not None:
            return message[0]
        time.sleep(0.002)
    return None


def step_until_held(env: RemoteEnv) -> None:
    """Step until a step is answered by Held; its reply is still due then."""
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        env.steps.send_step(ACTION)
        if isinstance(reply(env, WAIT_S), Held):
            return
    pytest.fail("it was not held")


def ends(env: RemoteEnv) -> Stepped:
    """The reply to a step that is held no more."""
    while isinstance(answer := reply(env, WAIT_S), Held):
        pass
    assert isinstance(answer, Stepped)
    return answer


def seen(viewer: Subscriber, wanted: Callable[[Frame], bool]) -> Frame:
    """A frame like that."""
    found: list[Frame] = []

    def has_come() -> bool:
        found.extend(filter(None, [viewer.newest(0.05)]))
        return bool(found) and wanted(found[-1])

    wait_until(has_come)
    return found[-1]


def test_a_session_stands_still_while_a_viewer_pauses_it_and_steps_when_told(env: RemoteEnv) -> None:
    with closing(Subscriber(env.telemetry)) as viewer:
        viewer.pause()
        step_until_held(env)
        paused = seen(viewer, lambda frame: frame.bundle.paused)
        assert "pause" in paused.bundle.viewers_may
        assert isinstance(reply(env, WAIT_S), Held)  # said again and again: no client takes it for a hang
        for _ in range(2):
            viewer.step()
            ends(env)
            env.steps.send_step(ACTION)
            assert isinstance(reply(env, WAIT_S), Held)
        seen(viewer, lambda frame: frame.bundle.tick == paused.bundle.tick + 2)
        viewer.resume()
        ends(env)
        env.step(ACTION, WAIT_S)


def test_a_viewer_that_is_killed_while_it_pauses_a_session_lets_it_go_on(env: RemoteEnv) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, env.telemetry]) as viewer:
        step_until_held(env)
        viewer.kill()
    ends(env)


def test_a_session_that_does_not_allow_it_goes_on(start: Start) -> None:
    env = start("Watched", length=100_000)
    env.reset(1, WAIT_S)
    with closing(Subscriber(env.telemetry)) as viewer:
        viewer.pause()
        frame = None
        for _ in range(400):  # far longer than a look for viewers takes
            env.steps.send_step(ACTION)
            assert isinstance(reply(env, WAIT_S), Stepped)
            frame = viewer.newest(0.001) or frame
        assert frame is not None
        assert frame.bundle.viewers_may == []


def test_a_camera_for_viewers_is_there_while_one_watches_it_and_if_it_is_allowed(env: RemoteEnv) -> None:
    def pictures(frame: Frame) -> bool:
        env.step(ACTION, WAIT_S)
        return frame.arrays.keys() == {"view.chase"}

    channels = ("view.chase", "view.forbidden")
    with closing(Subscriber(env.telemetry, channels)) as viewer:
        deadline_s = time.monotonic() + WAIT_S
        while (frame := viewer.newest(0.0)) is None or not pictures(frame):
            assert time.monotonic() < deadline_s
            env.step(ACTION, WAIT_S)
