"""The watchdog of a real daemon: fed while each of its units answers, and starved by any that does not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from carlad.keys import write_pair
from tests.ports import free_port
from tests.session.leaks import wait_until
from tests.systemd.wedged import METHODS

pytestmark = pytest.mark.system

_WATCHDOG_S = 3.0
_WITHIN_S = 60.0
_CONFIG = """\
[daemon]
endpoint = "{folder}/control.sock"
state_dir = "{folder}/state"
drain_s = 0
[remote]
listen = ["tcp://127.0.0.1:{port}"]
keys_dir = "{folder}/keys"
[fleet]
size = 1
"""


class Watched:
    """A daemon, and what it tells its service manager."""

    def __init__(self, process: subprocess.Popen[bytes], notified: socket.socket) -> None:
        self.process = process
        self._notified = notified

    def await_food(self) -> None:
        """For the watchdog."""
        wait_until(lambda: "WATCHDOG=1" in self.hear(), _WITHIN_S)

    def await_silence(self, unit: str) -> None:
        """Returns when the watchdog was not fed for as long as it waits, while the daemon said why."""
        fed_at_s, reasons = time.monotonic(), 0
        deadline_s = fed_at_s + _WITHIN_S
        while time.monotonic() < fed_at_s + _WATCHDOG_S or not reasons:
            assert time.monotonic() < deadline_s, "it is fed all the time"
            word = self.hear()
            if "WATCHDOG=1" in word:
                fed_at_s, reasons = time.monotonic(), 0
            reasons += word.startswith("STATUS=") and word.endswith(f"NO ANSWER from {unit}")

    def hear(self) -> str:
        return self._notified.recv(4096).decode()


@contextmanager
def watched(folder: Path, unit: str) -> Iterator[Watched]:
    """Serving and fed."""
    write_pair(folder / "keys", "server")
    (folder / "keys" / "clients").mkdir()
    (folder / "carlad.toml").write_text(_CONFIG.format(folder=folder, port=free_port()))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(f"{folder}/notify")
        notified.settimeout(_WITHIN_S)
        environ = {
            **os.environ,
            "CARLAD_WEDGE": unit,
            "NOTIFY_SOCKET": f"{folder}/notify",
            "WATCHDOG_USEC": f"{_WATCHDOG_S * 1e6:.0f}",
        }
        command = [sys.executable, "-m", "tests.systemd.wedged", "--config", f"{folder}/carlad.toml"]
        with subprocess.Popen(command, env=environ, start_new_session=True) as process:
            try:
                one = Watched(process, notified)
                one.await_food()
                yield one
            finally:
                process.kill()
                process.wait()
                reap = [sys.executable, "-m", "carlad.cli", "reap", "--yes", "--config", command[-1]]
                subprocess.run(reap, check=True)


@pytest.mark.parametrize("unit", METHODS)
def test_a_unit_that_answers_nobody_starves_the_watchdog(tmp_path: Path, unit: str) -> None:
    with watched(tmp_path, unit) as daemon:
        daemon.await_food()
        daemon.process.send_signal(signal.SIGUSR1)
        daemon.await_silence(unit)


@pytest.mark.parametrize(("door", "unit"), [("control.sock", "router"), ("control.sock.notices", "notices")])
def test_a_door_that_nobody_finds_any_more_starves_the_watchdog(tmp_path: Path, door: str, unit: str) -> None:
    with watched(tmp_path, unit="broker") as daemon:
        (tmp_path / door).unlink()
        daemon.await_silence(unit)
