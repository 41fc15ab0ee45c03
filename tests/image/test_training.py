"""Trainings as containers start them, with a daemon of their own and with another, but without containers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.session.leaks import wait_until

pytestmark = pytest.mark.system

SMALL = "-o train.total_steps=256 -o ppo.batch_steps=128 -o ppo.minibatch_steps=64 -o train.eval_episodes=0"
WITHIN_S = 180.0


class Place:
    """A container's folders and variables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(("CARLA", "DISPLAY"))
            },
            "RUNTIME_DIRECTORY": str(folder / "run"),
            "STATE_DIRECTORY": str(folder / "state"),
            "CONFIGURATION_DIRECTORY": str(folder / "etc"),
            "TMPDIR": str(folder),
            "CARLA_PORT": str(free_port()),
            "CARLAD_PORT": str(free_port()),
            "CARLAD_SERVERS": "2",
            "TENSORBOARD_PORT": "0",
            "TRAIN_CONFIG": "demo",
            "TRAIN_ARGS": SMALL,
        }

    @contextmanager
    def started(self, *command: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
        """Of `python -m carlad.image`; all that it started is gone afterwards."""
        argv = [sys.executable, "-m", "carlad.image", *command]
        with subprocess.Popen(
            argv, cwd=self.folder, env={**self.environ, **environ}, start_new_session=True
        ) as process:
            try:
                yield process
                process.terminate()
                process.wait(WITHIN_S)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def says(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "carlad.image", *command]
        env = {**self.environ, **environ}
        return subprocess.run(argv, env=env, cwd=self.folder, text=True, capture_output=True, check=False)


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="image-") as folder:  # short: a socket's path is limited
        yield Place(Path(folder))


def test_a_training_can_bring_its_own_server(place: Place) -> None:
    with place.started("trainer", START_CARLA_SERVER="true", CARLA_HOST="nowhere") as training:
        assert training.wait(WITHIN_S) == 0
    assert list((place.folder / "models").rglob("*.pt"))
    assert not (place.folder / "run" / "carlad" / "control.sock").exists()
    assert place.says("health", CARLA_HOST="127.0.0.1").returncode == 1


def test_a_training_leases_from_a_daemon_with_keys_and_the_daemon_can_be_drained(place: Place) -> None:
    with place.started("server", CARLAD_ADVERTISE="127.0.0.1"):
        wait_until(lambda: place.says("health").returncode == 0, WITHIN_S)
        own = {"CARLA_HOST": "127.0.0.1", "RUNTIME_DIRECTORY": str(place.folder / "run2")}
        assert "READY" in place.says("health", **own).stdout
        with place.started("trainer", **own) as training:
            assert training.wait(WITHIN_S) == 0
        assert list((place.folder / "models").rglob("*.pt"))
        assert place.says("drain", "--within", "30").stdout.strip() == "no server is held"
        assert place.says("health", "--alive").returncode == 0
        wait_until(lambda: place.says("health").returncode == 1, WITHIN_S)


def test_a_training_without_a_server_says_what_it_waited_for(place: Place) -> None:
    done = place.says("trainer", CARLA_HOST="127.0.0.1", CARLAD_WAIT_S="1")
    assert done.returncode == 1
    assert "cannot train: there was no server for 1 s: cannot connect to 127.0.0.1" in done.stderr


def test_what_cannot_be_understood_ends_with_2(place: Place) -> None:
    done = place.says("server", CARLA_ARGS="-world-port=1")
    assert done.returncode == 2
    assert done.stderr.startswith("carlad.image: CARLA_ARGS: cannot use -world-port=1: CARLA_PORT is")
