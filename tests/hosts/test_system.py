"""Sessions of the real daemon on real stand-ins, with everything killed that can be, in every order."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pytest

import carlad
from carlad.client import Client
from carlad.messages import SlotStatus
from tests.daemon_process import DaemonProcess, all_ready, daemon_process, until, until_status

pytestmark = pytest.mark.system

ACTION = np.array([0.0, 0.3], np.float32)
TTL_S = 3.0
PROBE_S = 1.0  # the default of probe.period_s
ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"config": {"client_timeout_s": 3.0}}
_AT = f'path = ["{ROOT}"]'
_ROUTE = f'{{ env = "trainer.env.route_env:RouteEnv", {_AT} }}'
_SETTLING = f'{{ env = "tests.session.environments:Settling", {_AT} }}'
ENVS = f"envs = {{ route = {_ROUTE}, settling = {_SETTLING} }}"
# Drives until it is killed, or told that its session is over.
CLIENT = f"""
import sys
import numpy as np
import carlad

env = carlad.session("route", {CONFIG}, ttl_s={TTL_S}, endpoint=sys.argv[1])
env.reset(seed=1)
print(env.opened.session_id, flush=True)
try:
    while True:
        *_, terminated, truncated, info = env.step(np.array([0.0, 0.3], np.float32))
        if terminated or truncated:
            env.reset(seed=1)
except carlad.errors.CarladError as error:
    print(error, flush=True)
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    """Two servers, one of them a spare; no quarantine for what the tests do to them."""
    restart = "restarts_max = 100\nbackoff_s = 0.05\nbackoff_max_s = 0.1"
    with daemon_process(fleet="size = 2\nspares = 1", session=ENVS, restart=restart) as daemon:
        yield daemon


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[Client]:
    """At its end all is as it was at its beginning."""
    with Client(daemon.endpoint) as client:
        until_status(client, all_ready, 60.0)
        yield client
        until_status(client, lambda shown: not shown.sessions and not shown.leases and all_ready(shown))
        until(lambda: remains(daemon) == [], 60.0)


def remains(daemon: DaemonProcess) -> list[str]:
    """Of env hosts: processes, sockets, folders and secrets."""
    top = daemon.socket.parents[1]
    patterns = ("run/*.steps", "run/*.view", "state/session-*", "state/run/session-*")
    files = [path for pattern in patterns for path in top.glob(pattern)]
    words = [
        word for pid in daemon.descendants() for word in command_line(pid) if word.startswith("session-")
    ]
    return [*map(str, files), *words]


def command_line(pid: int) -> list[str]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).cmdline()
    return []


class Victims(NamedTuple):
    """The processes of the only session."""

    session_id: str
    host: int
    server: int
    slot: SlotStatus


def victims(client: Client) -> Victims:
    shown = client.status()
    (session,) = shown.sessions
    slot = next(slot for slot in shown.slots if slot.lease_id == session.lease_id)
    assert session.pid is not None
    assert slot.pid is not None
    return Victims(session.session_id, session.pid, slot.pid, slot)


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


@contextmanager
def driving_program(daemon: DaemonProcess) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A program with a session of its own, and that session's id."""
    argv = [sys.executable, "-c", CLIENT, daemon.endpoint]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as program:
        assert program.stdout is not None
        try:
            yield program, program.stdout.readline().strip()
        finally:
            program.kill()


def kill(order: Sequence[str], daemon: DaemonProcess, pids: dict[str, int]) -> None:
    """One right after the other; the daemon is started again behind the last."""
    for victim in order:
        if victim == "daemon":
            daemon.kill()
        else:
            with suppress(ProcessLookupError):  # an env host ends with its client
                os.kill(pids[victim], signal.SIGKILL)
    if "daemon" in order:
        daemon.start()


def test_no_step_is_lost_by_a_daemon_that_is_killed_and_started_anew(
    daemon: DaemonProcess, client: Client
) -> None:
    with carlad.session("route", endpoint=daemon.endpoint) as env:
        env.reset(seed=1)
        before = env.opened
        for _ in range(2):
            daemon.kill()
            assert lost_in(drive(env, 20)) == []
            daemon.start()
            assert lost_in(drive(env, 20)) == []
        (status,) = client.status().sessions
        assert (status.session_id, status.state, status.losses) == (before.session_id, "SERVING", 0)
        assert [lease.lease_id for lease in client.status().leases] == [status.lease_id]
        os.kill(status.pid or 0, signal.SIGKILL)  # and the new daemon looks after it as the old one did
        assert len(lost_in(drive(env, 5))) == 1


@pytest.mark.parametrize(
    "order",
    [order for count in (1, 2, 3) for order in permutations(("host", "server", "daemon"), count)],
    ids="-".join,
)
def test_whatever_is_killed_costs_a_truncated_step_at_most(
    daemon: DaemonProcess, client: Client, order: tuple[str, ...]
) -> None:
    with carlad.session("route", CONFIG, endpoint=daemon.endpoint) as env:
        env.reset(seed=1)
        struck, shown = victims(client), client.status()
        kill(order, daemon, {"host": struck.host, "server": struck.server})
        fatal = [victim for victim in order if victim != "daemon"]
        assert min(len(fatal), 1) <= len(lost_in(drive(env, 20))) <= len(fatal)
        assert env.opened.session_id == struck.session_id
        assert lost_in(drive(env, 20)) == []
        events = [notice.event for notice in client.events(shown.notice, shown.run).notices]
        assert "lease.expired" not in events  # no server was given out and forgotten


@pytest.mark.parametrize(
    "order",
    [
        ("client",),
        *permutations(("client", "host")),
        *permutations(("client", "server")),
        *permutations(("client", "daemon")),
        ("client", "host", "server", "daemon"),
        ("daemon", "server", "host", "client"),
    ],
    ids="-".join,
)
def test_with_its_client_a_session_is_gone_whatever_else_is_killed(
    daemon: DaemonProcess, client: Client, order: tuple[str, ...]
) -> None:
    with driving_program(daemon) as (program, session_id):
        struck = victims(client)
        assert struck.session_id == session_id
        assert session_id in remains(daemon)  # as long as it lives
        kill(order, daemon, {"client": program.pid, "host": struck.host, "server": struck.server})
    until_status(client, lambda shown: not shown.sessions and not shown.leases, TTL_S - 0.5)  # by its death


def test_sessions_that_cannot_be_read_are_over_and_keep_no_daemon_from_starting(
    daemon: DaemonProcess, client: Client
) -> None:
    """As those of another version may be."""
    with driving_program(daemon) as (program, session_id):
        daemon.kill()
        path = daemon.socket.parents[1] / "state" / "journal.sqlite"
        with closing(sqlite3.connect(path)) as journal, journal:
            spoiled = journal.execute("UPDATE record SET value = x'00' WHERE kind = 'session'")
            assert spoiled.rowcount == 1
        daemon.start()
        assert program.stdout is not None
        assert f"{session_id}: there is no such session" in program.stdout.readline()
    assert not client.status().sessions


def test_a_lost_server_is_replaced_from_the_spares_while_another_client_waits(
    daemon: DaemonProcess, client: Client
) -> None:
    with Client(daemon.endpoint) as other, ThreadPoolExecutor(1) as pool:
        with carlad.session("route", CONFIG, endpoint=daemon.endpoint) as env:
            env.reset(seed=1)
            before, struck = env.opened, victims(client)
            waiting = pool.submit(other.acquire, wait_s=60.0)
            until_status(client, lambda shown: shown.waiting == 1)
            os.kill(struck.server, signal.SIGKILL)
            assert len(lost_in(drive(env, 20))) == 1
            assert (env.opened.session_id, env.opened.map) == (before.session_id, before.map)
            assert victims(client).slot.slot != struck.slot.slot
            until_status(client, lambda shown: shown.slots[struck.slot.slot].state == "READY")
            assert client.status().waiting == 1  # that one is the spare now
        client.release(waiting.result(30.0).lease_id)


def test_an_env_host_finds_a_replacement_as_it_finds_any_server(
    daemon: DaemonProcess, client: Client
) -> None:
    """Without the settings of the lost one, which are the environment's to make: in a world that is already
    synchronous carla's client waits a second for a tick that nobody takes, as busy as it can be."""
    with carlad.session("settling", {"length": 10_000}, endpoint=daemon.endpoint) as env:
        env.reset(seed=1)
        time.sleep(2.5 * PROBE_S)  # the daemon sees the settings that a replacement is given
        os.kill(victims(client).server, signal.SIGKILL)
        while not lost_in(drive(env, 1)):  # its steps do not ask the server
            pass
        env.reset(seed=1)
        assert env.step(ACTION)[4]["was_synchronous"] is False


def test_a_server_that_stands_still_costs_one_truncated_step(daemon: DaemonProcess, client: Client) -> None:
    with carlad.session("route", CONFIG, endpoint=daemon.endpoint) as env:
        env.reset(seed=1)
        struck = victims(client)
        os.kill(struck.server, signal.SIGSTOP)
        assert len(lost_in(drive(env, 20))) == 1
        assert env.opened.session_id == struck.session_id
        until(lambda: not psutil.pid_exists(struck.server), 60.0)


def test_a_client_that_sleeps_past_its_time_to_live_is_told_when_it_wakes_up(
    daemon: DaemonProcess, client: Client
) -> None:
    with driving_program(daemon) as (program, session_id):
        program.send_signal(signal.SIGSTOP)
        until_status(client, lambda shown: not shown.sessions and not shown.leases, TTL_S + 10.0)
        program.send_signal(signal.SIGCONT)
        assert program.stdout is not None
        said = program.stdout.readline()
        assert f"{session_id}: it expired {TTL_S:g} s after its last renewal" in said
        assert program.wait(10.0) == 0
