"""`carlactl reap`: the end of what a daemon left that is gone for good."""

from __future__ import annotations

import subprocess
import sys

from carlad.client import Client
from tests.daemon_process import DaemonProcess, all_ready, daemon_process, until_status


def reap(daemon: DaemonProcess, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "carlad.cli", "reap", "--config", str(daemon.config), *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_servers_without_a_daemon_are_listed_and_ended_when_that_is_wanted() -> None:
    with daemon_process(fleet="size = 1") as daemon:
        with Client(daemon.endpoint) as client:
            until_status(client, all_ready)
        refused = reap(daemon, "--yes")
        assert refused.returncode == 2
        assert "is in use by the carlad with pid" in refused.stderr
        daemon.kill()
        shim, server = daemon.descendants()
        asked = reap(daemon)
        assert asked.stdout == f"0-1: processes {shim}, {server}\n"
        assert asked.returncode == 2
        assert "give --yes" in asked.stderr
        assert daemon.descendants() == [shim, server]
        ended = reap(daemon, "--yes")
        assert ended.stdout.endswith("0-1 is ended\n")
        assert (ended.returncode, daemon.descendants(), daemon.busy_ports()) == (0, [], [])
        assert reap(daemon).stdout == "nothing is left\n"


def test_a_folder_that_no_daemon_used_is_refused() -> None:
    with daemon_process(fleet="size = 0") as daemon:
        daemon.edit("/state", "/no-state")
        refused = reap(daemon)
        assert refused.returncode == 2
        assert "no daemon ever used" in refused.stderr
        daemon.edit("/no-state", "/state")
