"""Real processes while the machine is suspended. Run by `test_suspend.py`, in a kernel of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import carlad
from carlad.client import Client
from carlad.messages import Holder, Notice, Status
from tests.daemon_process import DaemonProcess, all_ready, daemon_process, until_status
from tests.fleet.processes import REPOSITORY

SLEEP_FOR = "suspend_s"  # a file in TEST_FOLDER: seconds
TTL_S = 10.0
ACTION = np.array([0.5, -0.5], np.float32)
HOLDER = """
import sys, carlad
with carlad.lease(ttl_s=float(sys.argv[2]), endpoint=sys.argv[1]) as server:
    print(server.lease_id, flush=True)
    for line in sys.stdin:
        if line.startswith("wait"):
            server.lost.wait(60)
        print(server.lost_reason or "held", flush=True)
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    quiet = f'envs.quiet = {{ env = "tests.session.environments:Quiet", path = ["{REPOSITORY}"] }}'
    with daemon_process(fleet="size = 2", session=quiet) as running:
        with Client(running.endpoint) as client:
            until_status(client, all_ready, 300.0)
        yield running


def suspend(seconds: int) -> None:
    """Returns when the machine is awake again. Fails where its clocks did not go as in a suspend."""
    (Path(os.environ["TEST_FOLDER"]) / SLEEP_FOR).write_text(str(seconds))
    before = _ahead_s()
    Path("/sys/power/state").write_text("mem")
    slept_s = _ahead_s() - before
    assert seconds - 0.5 < slept_s < seconds + 5.0, "CLOCK_BOOTTIME alone goes on in a suspend"


def _ahead_s() -> float:
    """What CLOCK_BOOTTIME has of suspends that CLOCK_MONOTONIC has not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


@contextmanager
def holder(daemon: DaemonProcess) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", HOLDER, daemon.endpoint, str(TTL_S)]
    with subprocess.Popen(
        argv, text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process
        process.communicate()


def said(process: subprocess.Popen[str], asked: str | None = None) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    if asked is not None:
        print(asked, file=process.stdin)
    return process.stdout.readline().strip()


def told(client: Client, before: Status) -> list[Notice]:
    return client.events(before.notice, before.run).notices


def test_a_suspend_that_is_shorter_than_the_time_to_live_is_survived(daemon: DaemonProcess) -> None:
    """Though with the time that was left until the next renewal it is longer."""
    with Client(daemon.endpoint) as client, holder(daemon) as process:
        lease_id = said(process)
        before = until_status(client, lambda status: len(status.leases) == 1)
        for _ in range(2):
            until_status(client, lambda status: status.leases[0].expires_in_s > TTL_S - 1)  # just renewed
            suspend(int(TTL_S) - 4)
            until_status(client, lambda status: status.leases[0].expires_in_s > TTL_S - 1)
            assert said(process, "?") == "held"
        after = client.status()
        assert [lease.lease_id for lease in after.leases] == [lease_id]
        assert [slot.incarnation for slot in after.slots] == [slot.incarnation for slot in before.slots]
        assert not [notice for notice in told(client, before) if notice.event == "slot.lost"]


def test_a_lease_whose_time_to_live_passes_in_a_suspend_has_ended_and_its_server_is_fenced(
    daemon: DaemonProcess,
) -> None:
    with Client(daemon.endpoint) as client, holder(daemon) as process:
        lease_id = said(process)
        before = until_status(client, lambda status: len(status.leases) == 1)
        suspend(int(TTL_S) + 4)
        after = until_status(client, lambda status: not status.leases and all_ready(status), 120.0)
        assert "expired" in said(process, "wait")
        held, free = before.leases[0].slot, 1 - before.leases[0].slot
        assert after.slots[held].incarnation == before.slots[held].incarnation + 1
        assert after.slots[held].rpc_port != before.slots[held].rpc_port
        assert (after.slots[free].incarnation, after.slots[free].pid) == (
            before.slots[free].incarnation,
            before.slots[free].pid,
        )
        (expired,) = [notice for notice in told(client, before) if notice.event == "lease.expired"]
        assert expired.lease_id == lease_id
        assert not [notice for notice in told(client, before) if "hang" in (notice.reason or "")]
        with carlad.lease(endpoint=daemon.endpoint) as server:
            assert server.token > before.leases[0].token


def test_a_session_survives_a_suspend_and_has_another_server_where_its_lease_ended(
    daemon: DaemonProcess,
) -> None:
    with Client(daemon.endpoint) as client:
        before = until_status(client, all_ready, 120.0)
        with carlad.session("quiet", {"length": 1 << 30}, ttl_s=TTL_S, endpoint=daemon.endpoint) as env:
            env.reset(seed=1)
            suspend(int(TTL_S / 2))
            assert env.step(ACTION)[1:4] == (0.5, False, False)
            first = env.opened
            suspend(int(TTL_S) + 4)
            lost: dict[str, str] = {}
            while not lost:  # until the daemon has told the host of it, steps are taken still
                _, _, terminated, truncated, info = env.step(ACTION)
                lost = info.get("sim_lost", {})
                assert (terminated, truncated) == (False, bool(lost))
            assert "expired" in lost["cause"]
            assert (env.opened.session_id, env.opened.host) == (first.session_id, first.host + 1)
            env.reset(seed=2)
            assert env.step(ACTION)[1:4] == (0.5, False, False)
        told_of = [notice.event for notice in told(client, before) if notice.session_id is not None]
        assert told_of == ["session.opened", "session.lost", "session.recovered", "session.closed"]


def test_a_lease_that_nobody_renews_ends_by_the_time_that_passed_in_suspends_too(
    daemon: DaemonProcess,
) -> None:
    with Client(daemon.endpoint) as client:
        before = until_status(client, all_ready, 120.0)
        nobodys = client.acquire(ttl_s=20.0, holder=Holder(user="root", host="here", program="nobody"))
        for _ in range(2):
            suspend(6)
        left_s = client.status().leases[0].expires_in_s
        assert 0.0 < left_s < 9.0
        suspend(9)
        until_status(client, lambda status: not status.leases and all_ready(status), 120.0)
        (expired,) = [notice for notice in told(client, before) if notice.event == "lease.expired"]
        assert expired.lease_id == nobodys.lease_id
