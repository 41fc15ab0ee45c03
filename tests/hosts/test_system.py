"""Sessions of the real daemon on real stand-ins, with everything killed that can be."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import carlad
from carlad.client import Client
from tests.daemon_process import DaemonProcess, all_ready, daemon_process, until, until_status

pytestmark = pytest.mark.system

ACTION = np.array([0.0, 0.3], np.float32)
ROOT = Path(__file__).resolve().parents[2]
ENVS = f'envs = {{ route = {{ env = "trainer.env.route_env:RouteEnv", path = ["{ROOT}"] }} }}'


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    with daemon_process(fleet="size = 2", session=ENVS) as daemon:
        with Client(daemon.endpoint) as client:
            until_status(client, all_ready, 60.0)
        yield daemon


def drive(env: carlad.session.client.SessionEnv, steps: int) -> list[dict[str, object]]:
    """The infos of so many steps; a new episode where one ends."""
    infos = []
    for _ in range(steps):
        *_, terminated, truncated, info = env.step(ACTION)
        infos.append(info)
        if terminated or truncated:
            env.reset(seed=1)
    return infos


def lost_in(infos: list[dict[str, object]]) -> list[dict[str, object]]:
    return [info["sim_lost"] for info in infos if "sim_lost" in info]  # type: ignore[misc]


def test_no_step_is_lost_by_a_daemon_that_is_killed_and_started_anew(daemon: DaemonProcess) -> None:
    with carlad.session("route", endpoint=daemon.endpoint) as env:
        env.reset(seed=1)
        before = env.opened
        for _ in range(2):
            daemon.kill()
            assert lost_in(drive(env, 20)) == []
            daemon.start()
            assert lost_in(drive(env, 20)) == []
        with Client(daemon.endpoint) as client:
            (status,) = client.status().sessions
            assert (status.session_id, status.state, status.losses) == (before.session_id, "SERVING", 0)
            assert [lease.lease_id for lease in client.status().leases] == [status.lease_id]
            os.kill(status.pid or 0, signal.SIGKILL)  # and the new daemon looks after it as the old one did
            assert len(lost_in(drive(env, 5))) == 1
    with Client(daemon.endpoint) as client:
        until(lambda: not client.status().sessions and not client.status().leases, 10.0)


@pytest.mark.parametrize("order", [("host", "server"), ("server", "daemon"), ("daemon", "host"), ("server",)])
def test_whatever_is_killed_costs_one_truncated_step(daemon: DaemonProcess, order: tuple[str, ...]) -> None:
    with carlad.session("route", {"config": {"client_timeout_s": 5.0}}, endpoint=daemon.endpoint) as env:
        env.reset(seed=1)
        with Client(daemon.endpoint) as client:
            (status,) = client.status().sessions
            slot = next(slot for slot in client.status().slots if slot.lease_id == status.lease_id)
        for victim in order:
            if victim == "daemon":
                daemon.kill()
                daemon.start()
            elif (pid := {"host": status.pid, "server": slot.pid}[victim]) and psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)
        infos = drive(env, 20)
        assert 1 <= len(lost_in(infos)) <= len(order)
        assert env.opened.session_id == status.session_id
        assert lost_in(drive(env, 20)) == []
    with Client(daemon.endpoint) as client:
        until_status(client, lambda shown: not shown.sessions and not shown.leases)
