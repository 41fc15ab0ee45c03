"""Watching over a daemon: a script that tells what a daemon tells, and then misbehaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.session.leaks import wait_until

# A daemon: ready, then what each run is to do; runs are counted in a file.
DAEMON = """
import os, signal, sys, time
import sdnotify
count = open("runs", "a+"); count.write("x"); count.flush(); run = os.path.getsize("runs")
def end(*_):
    open("ended", "w").close()
    os._exit(0)  # sdnotify swallows whatever is raised while it sends
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGHUP, lambda *_: open("reloaded", "w").close())
manager = sdnotify.SystemdNotifier()
manager.notify("READY=1")
def live():
    while True:
        manager.notify("STATUS=well\\nWATCHDOG=1")
        time.sleep(0.05)
open(f"ready-{run}", "w").close()
"""
WATCH = """
import os, sys, trio
from pathlib import Path
from carlad.image.watch import Watch
from carlad.log import configure
from carlad.runtime import RestartPolicy
configure()
policy = RestartPolicy(backoff_s=0.01, backoff_max_s=0.01, restarts_max=2, period_s=60.0)
watch = Watch([sys.executable, "daemon.py"], os.environ, Path("."), float(sys.argv[1]), policy)
sys.exit(trio.run(watch.run))
"""


@contextmanager
def watched(folder: Path, behaviour: str, watchdog_s: float = 30.0) -> Iterator[subprocess.Popen[bytes]]:
    (folder / "daemon.py").write_text(DAEMON + textwrap.dedent(behaviour))
    command = [sys.executable, "-c", WATCH, str(watchdog_s)]
    with subprocess.Popen(command, cwd=folder, start_new_session=True) as process:
        try:
            yield process
            process.terminate()
            process.wait(30.0)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_the_signal_to_end_is_told_and_the_daemons_exit_code_is_ours(tmp_path: Path) -> None:
    with watched(tmp_path, "live()") as process:
        wait_until(lambda: (tmp_path / "ready-1").exists(), 30.0)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: (tmp_path / "reloaded").exists(), 30.0)
        process.terminate()
        assert process.wait(30.0) == 0
    assert (tmp_path / "ended").exists()
    assert not (tmp_path / "notify.sock").exists()


def test_a_daemon_that_dies_is_started_again(tmp_path: Path) -> None:
    with watched(tmp_path, "os.kill(os.getpid(), signal.SIGKILL) if run == 1 else live()"):
        wait_until(lambda: (tmp_path / "ready-2").exists(), 30.0)


def test_a_daemon_that_falls_silent_is_killed_and_started_again(tmp_path: Path) -> None:
    with watched(tmp_path, "live() if run == 2 else os.kill(os.getpid(), signal.SIGSTOP)", watchdog_s=1.0):
        wait_until(lambda: (tmp_path / "ready-2").exists(), 30.0)


def test_one_that_talks_but_does_not_feed_the_watchdog_is_silent(tmp_path: Path) -> None:
    behaviour = """
    while run == 1:
        manager.notify("STATUS=a unit is wedged")
        time.sleep(0.05)
    live()
    """
    with watched(tmp_path, behaviour, watchdog_s=1.0):
        wait_until(lambda: (tmp_path / "ready-2").exists(), 30.0)


def test_a_daemon_that_stops_is_given_the_time_it_takes(tmp_path: Path) -> None:
    behaviour = 'manager.notify("STOPPING=1"); time.sleep(2.0); sys.exit(0)'
    with watched(tmp_path, behaviour, watchdog_s=0.5) as process:
        assert process.wait(30.0) == 0
    assert (tmp_path / "runs").read_text() == "x"


def test_a_configuration_that_cannot_be_used_is_not_tried_again(tmp_path: Path) -> None:
    with watched(tmp_path, "sys.exit(2)") as process:
        assert process.wait(30.0) == 2
    assert (tmp_path / "runs").read_text() == "x"


def test_one_that_fails_again_and_again_is_given_up(tmp_path: Path) -> None:
    with watched(tmp_path, "sys.exit(3)") as process:
        assert process.wait(30.0) == 1
    assert (tmp_path / "runs").read_text() == "xxx"


def test_the_daemon_is_told_where_to_speak(tmp_path: Path) -> None:
    with watched(tmp_path, 'open("environ", "w").write(os.environ["WATCHDOG_USEC"]); live()', 7.0):
        wait_until(lambda: (tmp_path / "environ").exists() and (tmp_path / "environ").read_text() != "", 30.0)
    assert (tmp_path / "environ").read_text() == "7000000"
