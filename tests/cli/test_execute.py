"""`carlactl lease --exec`: whoever dies, the command and the lease end together."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from carlad.client import Client
from tests.cli.terminal import at_terminal
from tests.daemon_process import until, until_status
from tests.gateway.daemons import FakeDaemon, fake_daemon


@pytest.fixture(scope="module")
def daemon() -> Iterator[FakeDaemon]:
    with fake_daemon(size=1) as running:
        yield running


@pytest.fixture
def client(daemon: FakeDaemon) -> Iterator[Client]:
    with Client(daemon.endpoint) as client:
        until_status(client, lambda status: status.slots[0].state == "READY")
        yield client


def command(daemon: FakeDaemon, *words: str) -> list[str]:
    options = ["--endpoint", daemon.endpoint, "lease", "--wait", "10", "--ttl", "60", "--exec"]
    return [sys.executable, "-m", "carlad.cli", *options, *words]


@contextmanager
def running(daemon: FakeDaemon, script: str) -> Iterator[subprocess.Popen[str]]:
    """A shell's `script` on a lease, at the time when it has printed its first line."""
    process = subprocess.Popen(
        command(daemon, "bash", "-c", script), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "begun\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_command_finds_its_server_and_its_exit_code_counts(daemon: FakeDaemon, client: Client) -> None:
    script = 'echo "$CARLA_HOST $CARLA_PORT $CARLA_TM_PORT $CARLAD_LEASE"; exit 7'
    done = subprocess.run(command(daemon, "sh", "-c", script), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (7, "")
    host, port, traffic_manager, lease_id = done.stdout.split()
    assert (host, int(traffic_manager) - int(port)) == ("127.0.0.1", 3)
    assert client.status().leases == ()
    assert any(n.event == "lease.released" and n.lease_id == lease_id for n in client.events().notices)


@pytest.mark.parametrize("word", ["--help", "--endpoint", "--"])
def test_options_behind_exec_are_the_command_s(daemon: FakeDaemon, client: Client, word: str) -> None:
    assert subprocess.check_output(command(daemon, "echo", "-", word), text=True) == f"- {word}\n"


def test_while_the_command_runs_the_lease_is_its_own(daemon: FakeDaemon, client: Client) -> None:
    with running(daemon, "echo begun; read -r _") as carlactl:
        (lease,) = client.status().leases
        assert lease.holder.endswith(f" bash[{carlactl.pid}]")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_goes_to_the_command_which_may_take_its_time(
    daemon: FakeDaemon, client: Client, number: signal.Signals
) -> None:
    script = f"trap 'sleep 0.3; echo heard; exit 9' {number.value}; echo begun; while :; do sleep 0.1; done"
    with running(daemon, script) as carlactl:
        carlactl.send_signal(number)
        out, err = carlactl.communicate(timeout=10)
    assert (carlactl.returncode, out, err) == (9, "heard\n", "")
    until_status(client, lambda status: not status.leases)


def test_a_command_that_is_killed_gives_its_server_back(daemon: FakeDaemon, client: Client) -> None:
    with running(daemon, "echo begun; kill -KILL $$") as carlactl:
        assert carlactl.wait(10) == 128 + signal.SIGKILL
    assert client.status().leases == ()


def test_a_carlactl_that_is_killed_takes_its_command_with_it(daemon: FakeDaemon, client: Client) -> None:
    with running(daemon, "echo begun; exec sleep 600") as carlactl:
        (child,) = psutil.Process(carlactl.pid).children()
        carlactl.kill()
        child.wait(5)
        until_status(client, lambda status: not status.leases, 5.0)


def test_a_lease_that_is_lost_ends_the_command_and_what_it_started(
    daemon: FakeDaemon, client: Client, tmp_path: Path
) -> None:
    left = tmp_path / "pid"
    script = f"(setsid sleep 600 & echo $! > {left}); echo begun; sleep 600"
    with running(daemon, script) as carlactl:
        daemon.crash(0)
        _, err = carlactl.communicate(timeout=10)
    assert carlactl.returncode == 5
    assert "is lost: " in err
    assert "its server was lost: killed by signal 9" in err  # or told so when it is to be renewed
    until(lambda: not psutil.pid_exists(int(left.read_text())), 5.0)


def test_a_command_that_ignores_its_loss_is_killed(daemon: FakeDaemon, client: Client) -> None:
    with running(daemon, "trap '' TERM; echo begun; sleep 600 & wait; sleep 600") as carlactl:
        daemon.crash(0)
        assert carlactl.wait(20) == 5


def test_a_command_that_cannot_be_run_takes_no_lease(
    daemon: FakeDaemon, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    newest = client.events().notices[-1].number
    for name, code in (("no-such-command", 127), (str(tmp_path / "file"), 126)):
        done = subprocess.run(command(daemon, name), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith(f"carlactl: cannot run {name}: ")
    assert client.events(newest).notices == ()


def test_a_command_that_is_no_program_gives_its_server_back(
    daemon: FakeDaemon, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"rubbish")
    (tmp_path / "file").chmod(0o755)
    words = command(daemon, str(tmp_path / "file"))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 126
    assert done.stderr == f"carlactl: cannot run {tmp_path}/file: Exec format error\n"
    assert client.status().leases == ()


def test_ctrl_c_in_a_terminal_reaches_the_command_once(daemon: FakeDaemon, client: Client) -> None:
    """The terminal tells the whole foreground group."""
    script = "trap 'echo once' INT; echo begun; for _ in 1 2 3 4 5 6 7 8; do sleep 0.1; done; echo over"
    with at_terminal(command(daemon, "bash", "-c", script)) as terminal:
        terminal.read_until("begun")
        terminal.type("\x03")
        assert terminal.read_until("over").count("once") == 1
        assert terminal.process.wait(10) == 0
