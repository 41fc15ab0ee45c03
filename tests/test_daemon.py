"""The daemon as an operator runs it: real processes, real stand-ins, real signals."""

from __future__ import annotations

import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import carlad
from carlad.client import Client
from carlad.errors import RequestError
from carlad.rpc import connect
from tests.daemon_process import DaemonProcess, all_ready, daemon_process, until, until_status


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    """Two servers, for tests that give them back."""
    with daemon_process(lease="ttl_s = 5") as running:
        yield running


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[Client]:
    with Client(daemon.endpoint) as client:
        until_status(client, all_ready)
        yield client


def version_of(server: carlad.Lease) -> object:
    """What the server itself answers, by CARLA's own protocol."""

    async def ask() -> object:
        with trio.fail_after(5):
            async with connect(server.host, server.rpc_port) as rpc:
                return await rpc.call("version")

    return trio.run(ask)


def test_a_lease_is_a_checked_server_which_is_scrubbed_for_the_next_one_when_it_is_released(
    daemon: DaemonProcess, client: Client
) -> None:
    with carlad.lease(endpoint=daemon.endpoint) as server:
        assert version_of(server) == "0.9.16"
        before = client.status().slots[server.slot]
        assert (before.state, before.lease_id) == ("LEASED", server.lease_id)
    after = until_status(client, all_ready).slots[server.slot]
    assert (after.incarnation, after.pid, after.rpc_port) == (
        before.incarnation,
        before.pid,
        before.rpc_port,
    )
    events = [notice.event for notice in client.events().notices if notice.lease_id == server.lease_id]
    assert events == ["slot.leased", "lease.granted", "lease.released", "slot.scrubbing"]


def test_a_holder_that_is_killed_loses_its_server_which_is_replaced(
    daemon: DaemonProcess, client: Client
) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import carlad\nheld = carlad.lease(ttl_s=1)\nprint(held.slot, flush=True)\ninput()",
        ],
        env={**os.environ, "CARLAD_ENDPOINT": daemon.endpoint},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    slot = int(holder.stdout.readline())
    before = client.status().slots[slot]
    holder.kill()
    holder.communicate()
    killed_at = time.monotonic()
    after = until_status(client, lambda status: not status.leases and all_ready(status)).slots[slot]
    assert after.incarnation > before.incarnation
    assert time.monotonic() - killed_at < 6.0


def test_a_holder_whose_server_is_killed_hears_of_it_and_gets_another(
    daemon: DaemonProcess, client: Client
) -> None:
    with carlad.lease(ttl_s=30, endpoint=daemon.endpoint) as server:
        version_of(server)
        pid = client.status().slots[server.slot].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert server.lost.wait(30.0)
        assert "signal 9" in str(server.lost_reason) or "SIGKILL" in str(server.lost_reason)
        with carlad.lease(endpoint=daemon.endpoint) as another:
            assert version_of(another) == "0.9.16"


def test_a_map_that_no_server_runs_is_loaded_and_one_that_none_has_is_refused(
    daemon: DaemonProcess, client: Client
) -> None:
    running = {slot.map for slot in client.status().slots}
    (wanted, *_) = {"Town01", "Town02"} - running
    with carlad.lease(map=wanted, endpoint=daemon.endpoint) as server:
        assert server.map == wanted
        assert client.status().slots[server.slot].map == wanted
    with pytest.raises(RequestError, match="Town01") as refused:
        carlad.lease(map="Atlantis", endpoint=daemon.endpoint)
    assert refused.value.code == "unknown-map"


def test_clients_at_once_never_hold_one_server(daemon: DaemonProcess, client: Client) -> None:
    held: dict[int, str] = {}
    clashes: list[str] = []
    served: list[str] = []

    def hold() -> None:
        for _ in range(2):
            with carlad.lease(ttl_s=10.0, wait_s=60.0, endpoint=daemon.endpoint) as server:
                pid = client.status().slots[server.slot].pid or 0
                if (other := held.setdefault(pid, server.lease_id)) != server.lease_id:
                    clashes.append(f"{server.lease_id} and {other}")
                version_of(server)
                served.append(held.pop(pid))

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clashes == []
    assert len(set(served)) == 8


def test_the_log_of_a_server_is_readable_while_it_runs(client: Client) -> None:
    assert any("ready" in line for line in client.logs(0).lines)


def test_a_second_daemon_on_the_same_state_or_socket_is_refused(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    other = tmp_path / "carlad.toml"
    other.write_text(daemon.config.read_text().replace("/state", "/other-state"))
    for config, says in (
        (daemon.config, "in use by the carlad with pid"),
        (other, "a daemon answers there already"),
    ):
        assert says in refusal_to_start(config)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[fleet]\nsise = 1", "line 2: fleet.sise: no such key; did you mean fleet.size?"),
        ('[fleet]\nsize = "1"', "line 2: fleet.size: expected `int`, got `str`"),
        ("[fleet]\nports = [28000, 28004]", "line 2: fleet.ports: 28000 to 28004 holds 1 blocks"),
        (
            '[fleet]\nbackend = "binary"\ncarla_root = "/nowhere"',
            "line 3: fleet.carla_root: there is no folder /nowhere",
        ),
        ('[fleet]\nbackend = "binary"', 'line 1: fleet.carla_root: backend "binary" needs the folder'),
        ('[fleet]\nbackend = "docker"', 'line 2: fleet.backend: "docker" cannot reach the engine'),
        ('[daemon]\nstate_dir = "/proc/none"', "line 2: daemon.state_dir: cannot use /proc/none"),
    ],
)
def test_a_bad_configuration_is_refused_before_anything_starts(text: str, says: str, tmp_path: Path) -> None:
    config = tmp_path / "carlad.toml"
    config.write_text(text)
    refusal = refusal_to_start(config, {"XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)})
    assert f"cannot use configuration {config}, {says}" in refusal
    assert not (tmp_path / "carlad" / "control.sock").exists()


def refusal_to_start(config: Path, environ: dict[str, str] | None = None) -> str:
    """The one line that carlad says before it exits with 2."""
    done = subprocess.run(
        [sys.executable, "-m", "carlad", "--config", str(config)],
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("carlad: ")
    return done.stderr


def test_sigterm_ends_everything_and_leaves_nothing() -> None:
    with daemon_process() as daemon:
        with Client(daemon.endpoint) as client:
            until_status(client, all_ready)
        with carlad.lease(ttl_s=60, endpoint=daemon.endpoint) as server:
            until(lambda: len(daemon.descendants()) == 5, 60.0)  # itself, two shims, two servers
            assert daemon.terminate() == 0
            assert server.lost.wait(30.0)
            assert "stopping" in str(server.lost_reason)
        assert daemon.descendants() == []
        assert daemon.busy_ports() == []
        assert list(daemon.socket.parent.iterdir()) == []


def test_a_second_sigterm_does_not_wait_for_servers_that_ignore_the_first() -> None:
    with daemon_process(fleet='size = 1\nextra_args = ["--fault", "ignore-sigterm"]') as daemon:
        with Client(daemon.endpoint) as client:
            until_status(client, all_ready)
            assert daemon.process is not None
            daemon.process.terminate()
            until_status(client, lambda status: status.slots[0].state == "STOPPING")
        asked_at = time.monotonic()
        assert daemon.terminate() == 0
        assert time.monotonic() - asked_at < 2.0
        assert daemon.descendants() == []


def test_a_daemon_that_was_killed_loses_neither_servers_nor_leases() -> None:
    with daemon_process(fleet="size = 2") as daemon, Client(daemon.endpoint) as client:
        until_status(client, all_ready)
        held = client.acquire(ttl_s=600)
        before = client.status().slots
        daemon.kill()
        daemon.start()
        after = until_status(client, lambda status: status.slots[1 - held.slot].state == "READY").slots
        assert [slot.pid for slot in after] == [slot.pid for slot in before]
        assert after[held.slot] == before[held.slot]
        until(lambda: len(daemon.descendants()) == 5, 60.0)  # itself, two shims, two servers
        client.renew(held.lease_id, held.token)
        assert client.acquire().token > held.token
        client.release(held.lease_id, held.token)
        until_status(client, lambda status: status.slots[held.slot].state == "READY")


def test_a_service_manager_hears_ready_status_and_stopping(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        with daemon_process(environ, fleet="size = 1") as daemon:
            missing = {"READY=1", "WATCHDOG=1", "STATUS=servers: 1 "}
            while missing:
                line = _heard(systemd)
                missing = {beginning for beginning in missing if not line.startswith(beginning)}
            daemon.process.terminate()  # type: ignore[union-attr]
            until(lambda: _heard(systemd).startswith("STOPPING=1"), 60.0)


def _heard(systemd: socket.socket) -> str:
    assert select.select([systemd], [], [], 60.0)[0], "nothing is said"
    return systemd.recv(4096).decode()


def test_a_fleet_without_free_ports_says_so_in_its_status() -> None:
    with daemon_process(fleet="size = 1") as daemon, Client(daemon.endpoint) as client:
        until_status(client, all_ready)
        squatters = [
            socket.create_server(("127.0.0.1", port))
            for port in daemon.ports
            if port not in daemon.busy_ports()
        ]
        try:
            client.release(client.acquire().lease_id)
            slot = until_status(
                client, lambda status: "no free block" in (status.slots[0].reason or "")
            ).slots[0]
            assert slot.state in ("BACKOFF", "QUARANTINED")
        finally:
            for squatter in squatters:
                squatter.close()
        until_status(client, all_ready)


def test_status_of_the_command_is_that_of_the_daemon(daemon: DaemonProcess, client: Client) -> None:
    command = functools.partial(subprocess.check_output, text=True, timeout=60)
    shown = json.loads(
        command([sys.executable, "-m", "carlad.cli", "--endpoint", daemon.endpoint, "status", "--json"])
    )
    assert daemon.process is not None
    assert shown["daemon"]["pid"] == daemon.process.pid
    assert [slot["pid"] for slot in shown["slots"]] == [slot.pid for slot in client.status().slots]
