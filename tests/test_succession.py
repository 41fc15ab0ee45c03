"""A daemon is followed by another one, on purpose or not; holders go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import carlad
from carlad.client import Client
from carlad.errors import RequestError
from carlad.messages import Upgrade
from tests.daemon_process import DaemonProcess, all_ready, daemon_process, until, until_status

CLIENT = """
import sys, time
import carla, carlad
with carlad.lease(ttl_s=5.0) as server:
    client = carla.Client(server.host, server.port)
    client.set_timeout(5.0)
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    print("drives", flush=True)
    until = time.monotonic() + float(sys.argv[1])
    last, longest = time.monotonic(), 0.0
    while time.monotonic() < until:
        frame = world.tick()
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert not server.lost.is_set(), server.lost_reason
    print(f"longest {longest:.3f}", flush=True)
    settings.synchronous_mode = False
    world.apply_settings(settings)
"""


@pytest.fixture
def daemon() -> Iterator[DaemonProcess]:
    with daemon_process(fleet="size = 2", lease="ttl_s = 5") as daemon:
        yield daemon


@contextmanager
def driving(daemon: DaemonProcess, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A program that steps a leased server through the official client."""
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(seconds)],
        env={**os.environ, "CARLAD_ENDPOINT": daemon.endpoint},
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "drives\n"
            yield program
        finally:
            program.kill()


@pytest.mark.system
def test_a_program_drives_on_while_its_daemon_is_killed_and_then_upgraded(daemon: DaemonProcess) -> None:
    with Client(daemon.endpoint) as client:
        until_status(client, all_ready)
        with driving(daemon, 9.0) as program:
            before = client.status()
            daemon.kill()
            daemon.start()
            assert client.status().slots[0].lease_id == before.slots[0].lease_id
            client.operate(Upgrade())
            until(lambda: client.status().run not in (before.run, ""), 30.0)
            held = client.status().slots[0]  # a scrub that is slow on a busy machine may cost it afterwards
            assert (held.incarnation, held.pid) == (1, before.slots[0].pid)
            assert program.stdout is not None
            assert program.stdout.readline().startswith("longest ")
            assert program.wait(30) == 0
        after = until_status(client, all_ready, 60.0)
        assert after.daemon.pid != before.daemon.pid


def test_an_upgrade_keeps_process_servers_and_leases(daemon: DaemonProcess) -> None:
    with Client(daemon.endpoint) as client:
        until_status(client, all_ready)
        with carlad.lease(endpoint=daemon.endpoint) as held:
            before = client.status()
            command = [sys.executable, "-m", "carlad.cli", "--endpoint", daemon.endpoint, "upgrade"]
            said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
            assert said.startswith("carlad ")
            assert said.endswith(": 2 slots, 1 leases\n")
            after = until_status(client, lambda status: status.slots[1 - held.slot].state == "READY")
            assert after.daemon.pid == before.daemon.pid
            assert [slot.pid for slot in after.slots] == [slot.pid for slot in before.slots]
            assert after.run != before.run
            assert not held.lost.is_set()
        until_status(client, all_ready)
        pid = client.status().slots[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)  # of a child of the process, but not of this program
        until_status(client, lambda status: all_ready(status) and status.slots[0].incarnation == 2)
        assert daemon.terminate() == 0


def test_an_upgrade_to_what_would_not_start_is_refused_and_nothing_happens(daemon: DaemonProcess) -> None:
    with Client(daemon.endpoint) as client:
        until_status(client, all_ready)
        before = client.status()
        daemon.edit("size = 2", "sise = 2")
        with pytest.raises(RequestError, match=r"this daemon goes on: .*did you mean fleet\.size") as refused:
            client.operate(Upgrade())
        assert refused.value.code == "bad-config"
        daemon.signal(signal.SIGUSR2)
        until(lambda: "upgrade.refused" in daemon.log.read_text(), 60.0)
        assert client.status().run == before.run


def test_a_signal_that_comes_during_an_upgrade_is_obeyed_after_it(daemon: DaemonProcess) -> None:
    with Client(daemon.endpoint) as client:
        until_status(client, all_ready)
        daemon.signal(signal.SIGUSR2)
        until(lambda: "daemon.upgrading" in daemon.log.read_text(), 60.0)
        time.sleep(0.2)  # it executes now
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert daemon.descendants() == []


def test_who_asks_while_no_daemon_is_there_waits_for_the_next_one(daemon: DaemonProcess) -> None:
    with Client(daemon.endpoint) as client:
        until_status(client, all_ready)
        daemon.kill()
        starts = threading.Timer(0.3, daemon.start)
        starts.start()
        try:
            assert len(client.status().slots) == 2
        finally:
            starts.join()


def test_without_its_journal_a_daemon_ends_what_it_finds_and_begins_anew(daemon: DaemonProcess) -> None:
    with Client(daemon.endpoint) as client:
        until_status(client, all_ready)
        held, before = client.acquire(ttl_s=600), client.status()
        daemon.kill()
        state_dir = daemon.config.parent / "state"
        (state_dir / "journal.sqlite-wal").unlink()  # alone it restores the rest
        (state_dir / "journal.sqlite").write_bytes(b"garbage " * 2000)
        daemon.start()
        after = until_status(client, all_ready)
        assert {slot.pid for slot in after.slots}.isdisjoint(slot.pid for slot in before.slots)
        until(lambda: len(daemon.descendants()) == 5, 60.0)  # itself, two shims, two servers
        (notice,) = (notice for notice in client.events().notices if notice.event == "journal.lost")
        assert "not a database; it is kept as " in str(notice.reason)
        with pytest.raises(RequestError) as refused:
            client.renew(held.lease_id)
        assert refused.value.code == "no-such-lease"
        assert client.acquire().token > held.token
