"""Viewers of every kind of bad behaviour watch a session that is stepped all the while: it is undisturbed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from carlad.keys import as_hex, read_public, write_pair
from carlad.session.environment import Server
from carlad.session.steps import Steps
from carlad.telemetry import Subscriber
from tests.ports import free_port
from tests.session.conftest import WAIT_S, Start
from tests.session.leaks import wait_until
from tests.telemetry.watching import wait_until as wait_long

ACTION = np.array([0.5, 0.25], np.float32)
WATCH = """
import sys
from carlad.telemetry import Subscriber
subscriber = Subscriber(sys.argv[1])
while subscriber.newest(600.0) is not None:
    pass
"""


@contextmanager
def watching(endpoint: str, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many viewers, each a process of its own."""
    command = [sys.executable, "-c", WATCH, endpoint]
    with ExitStack() as stack:
        viewers = []
        for _ in range(count):
            viewer = subprocess.Popen(command)
            stack.enter_context(viewer)
            stack.callback(viewer.kill)
            viewers.append(viewer)
        yield viewers


class Stepped:
    """Steps a session; every step must be answered."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.count = 0

    def step(self, times: int = 1) -> bool:
        """True, so that it can be part of a condition."""
        for _ in range(times):
            _, reward, terminated, truncated, info = self._steps.step(ACTION, WAIT_S)
            assert (reward, terminated, truncated) == (0.5, False, False)
            self.count += 1
            assert info["steps"] == self.count
        return True


@pytest.fixture
def session(start: Start) -> tuple[Stepped, str]:
    env = start("Shown", length=10_000_000)
    env.reset(1, WAIT_S)
    return Stepped(env.steps), env.telemetry


def test_viewers_that_are_killed_while_they_watch(session: tuple[Stepped, str]) -> None:
    training, endpoint = session
    for _ in range(3):
        with watching(endpoint, 2) as viewers:
            watched = [psutil.Process(viewer.pid) for viewer in viewers]
            wait_long(lambda seen=watched: training.step() and all(p.net_connections("unix") for p in seen))
            training.step(200)
            for viewer in viewers:
                viewer.send_signal(signal.SIGKILL)
            training.step(200)
    with closing(Subscriber(endpoint)) as viewer:  # and who comes after them sees it
        wait_long(lambda: training.step() and viewer.newest(0.01) is not None)


def test_a_viewer_that_stops_reading(session: tuple[Stepped, str]) -> None:
    training, endpoint = session
    with watching(endpoint, 1) as (viewer,), closing(Subscriber(endpoint)) as other:
        stopped = psutil.Process(viewer.pid)
        wait_long(lambda: training.step() and bool(stopped.net_connections("unix")))
        viewer.send_signal(signal.SIGSTOP)
        before = training.count
        training.step(2000)
        wait_long(
            lambda: (
                training.step() and (frame := other.newest(0.01)) is not None and frame.bundle.tick > before
            )
        )
        viewer.send_signal(signal.SIGCONT)


def test_twenty_viewers(session: tuple[Stepped, str]) -> None:
    training, endpoint = session
    with ExitStack() as stack:
        viewers = [stack.enter_context(closing(Subscriber(endpoint, rate_hz=1 + n))) for n in range(20)]
        waiting = set(viewers)

        def all_have_seen() -> bool:
            training.step(5)
            waiting.difference_update([viewer for viewer in waiting if viewer.newest(0.0) is not None])
            return not waiting

        # The publisher serves sixteen different sets of channels or rates at once: the others wait.
        wait_long(lambda: all_have_seen() or len(waiting) <= 4)
        assert len(waiting) == 4
        for viewer in set(viewers) - waiting:
            viewer.close()
        wait_long(all_have_seen)


def test_twenty_viewers_that_want_the_same(session: tuple[Stepped, str]) -> None:
    training, endpoint = session
    with ExitStack() as stack:
        waiting = {stack.enter_context(closing(Subscriber(endpoint))) for _ in range(20)}

        def all_have_seen() -> bool:
            training.step(5)
            waiting.difference_update([viewer for viewer in waiting if viewer.newest(0.0) is not None])
            return not waiting

        wait_long(all_have_seen)


def test_a_viewer_with_a_wrong_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host by hand, as the daemon starts one, with viewers over TCP."""
    keys, port = tmp_path / "keys", free_port()
    address = f"tcp://127.0.0.1:{port}"
    write_pair(keys, "server")
    write_pair(tmp_path, "mallory")
    write_pair(tmp_path, "alice")
    (keys / "clients").mkdir()
    (keys / "clients" / "alice.key").write_bytes((tmp_path / "alice.key").read_bytes())
    endpoint = f"tcp://{as_hex(read_public(keys / 'server.key'))}@127.0.0.1:{port}"
    command = [sys.executable, "-m", "carlad.session", "--env", "tests.session.environments:Shown"]
    command += ["--endpoint", f"ipc://{tmp_path}/step", "--telemetry", f"ipc://{tmp_path}/view"]
    with (
        subprocess.Popen([*command, "--viewers", address, "--keys-dir", str(keys)]) as host,
        ExitStack() as stack,
    ):
        stack.callback(host.terminate)
        wait_until(lambda: (tmp_path / "step").exists())
        steps = stack.enter_context(closing(Steps(f"ipc://{tmp_path}/step")))
        steps.construct({"length": 10_000_000}, WAIT_S)
        steps.attach(Server("127.0.0.1", 1, 2), WAIT_S)
        steps.reset(1, WAIT_S)
        training = Stepped(steps)
        monkeypatch.setenv("CARLAD_KEY", str(tmp_path / "mallory.key_secret"))
        strangers = [stack.enter_context(closing(Subscriber(endpoint))) for _ in range(3)]
        monkeypatch.setenv("CARLAD_KEY", str(tmp_path / "alice.key_secret"))
        friend = stack.enter_context(closing(Subscriber(endpoint)))
        wait_long(lambda: training.step() and friend.newest(0.01) is not None)
        training.step(300)
        time.sleep(0.1)
        assert [stranger.newest(0.0) for stranger in strangers] == [None] * 3
        steps.leave()
        assert host.wait(60) == 0


def test_viewers_from_elsewhere_need_keys(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "carlad.session", "--env", "tests.session.environments:Shown"]
    command += ["--endpoint", f"ipc://{tmp_path}/step", "--telemetry", f"ipc://{tmp_path}/view"]
    done = subprocess.run(
        [*command, "--viewers", "tcp://127.0.0.1:24006"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "cannot serve at tcp://127.0.0.1:24006 without --keys-dir" in done.stderr
    assert list(tmp_path.iterdir()) == []
