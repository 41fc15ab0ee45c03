"""Real processes while the time of day is set: leases and servers live by another clock."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from carlad.client import Client, this_process
from carlad.messages import Holder
from tests.daemon_process import DaemonProcess, all_ready, daemon_process, until_status
from tests.wall_clock import WallClock

pytestmark = pytest.mark.system

TTL_S = 4.0
DAY_S = 86_400
HOLDER = f"""
import sys, time, carlad
with carlad.lease(ttl_s={TTL_S}, endpoint=sys.argv[1]) as server:
    print(server.lease_id, flush=True)
    for line in sys.stdin:
        print(server.lost_reason or "held", round(time.time()), flush=True)
"""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> WallClock:
    return WallClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def daemon(clock: WallClock) -> Iterator[DaemonProcess]:
    with daemon_process(clock.environ, fleet="size = 2") as running:
        yield running


@pytest.mark.parametrize("step_s", [DAY_S, -DAY_S, 20 * 365 * DAY_S], ids=["day on", "day back", "years on"])
def test_a_step_of_the_clock_ends_no_lease_and_prolongs_none(
    clock: WallClock, daemon: DaemonProcess, step_s: int
) -> None:
    """One lease is renewed by its holder, for another process; the other by nobody."""
    clock.set_ahead(0)
    argv, environ = [sys.executable, "-c", HOLDER, daemon.endpoint], {**os.environ, **clock.environ}
    with Client(daemon.endpoint) as client:
        before = until_status(client, lambda shown: all_ready(shown) and not shown.leases)
        with subprocess.Popen(
            argv, env=environ, text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            held = _said(holder).strip()
            asked_at_s = time.monotonic()
            forgotten = client.acquire(ttl_s=TTL_S, wait_s=30.0, holder=_nobody()).lease_id
            granted_at_s = time.monotonic()
            clock.set_ahead(step_s)
            until_status(client, lambda shown: [lease.lease_id for lease in shown.leases] == [held])
            ended_after_s = time.monotonic() - granted_at_s
            assert ended_after_s > TTL_S - (granted_at_s - asked_at_s) - 0.1
            until_status(client, lambda _: time.monotonic() > granted_at_s + 2 * TTL_S)
            assert [lease.lease_id for lease in client.status().leases] == [held]
            assert holder.stdin is not None
            print("?", file=holder.stdin)
            said, at_unix_s = _said(holder).rsplit(maxsplit=1)
            assert said == "held"
            assert abs(int(at_unix_s) - time.time() - step_s) < 60  # its clock was set, indeed
            holder.communicate()
        told = client.events(before.notice, before.run).notices
        (expired,) = [notice for notice in told if notice.event == "lease.expired"]
        assert expired.lease_id == forgotten
        assert abs(expired.at_unix_s - time.time() - step_s) < 60
        assert not [notice for notice in told if notice.event == "slot.lost"]


def _said(holder: subprocess.Popen[str]) -> str:
    assert holder.stdout is not None
    return holder.stdout.readline()


def _nobody() -> Holder:
    ours = this_process()
    return Holder(user=ours.user, host=ours.host, program="nobody")
