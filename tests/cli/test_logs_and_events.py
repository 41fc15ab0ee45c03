"""What is read and followed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.cli.calling import carlactl
from tests.gateway.daemons import FakeDaemon


def test_logs_are_the_last_lines_and_a_slot_that_is_not_there_is_refused(daemon: FakeDaemon) -> None:
    assert carlactl(daemon.endpoint, "logs", "1", "-n", "2") == "line 0\nline 1\n"
    assert "slots are 0 to 1" in carlactl(daemon.endpoint, "logs", "7", code=1)


def test_a_followed_log_goes_on_where_it_stopped(daemon: FakeDaemon) -> None:
    command = f"{sys.executable} -m carlad.cli --endpoint {daemon.endpoint} logs 0 -f -n 2 | head -9"
    shown = subprocess.check_output(["bash", "-c", command], text=True, timeout=20)
    assert shown == "".join(f"line {number}\n" for number in range(9))


def test_events_are_lines_for_people_and_json_for_programs(daemon: FakeDaemon) -> None:
    lease_id = json.loads(carlactl(daemon.endpoint, "lease", "--json", "--wait", "5"))["lease_id"]
    carlactl(daemon.endpoint, "release", lease_id)
    events = [json.loads(line) for line in carlactl(daemon.endpoint, "events", "--json").splitlines()]
    of_lease = [event["event"] for event in events if event["lease_id"] == lease_id]
    assert of_lease == ["lease.granted", "lease.released"]
    assert f"lease.granted      slot {events[-1]['slot']}    {lease_id}" in carlactl(
        daemon.endpoint, "events"
    )


@pytest.mark.parametrize(
    ("command", "signs"), [("events", b"lease.granted"), ("status", b"carlad"), ("logs 0", b"line 0")]
)
def test_following_ends_with_an_interrupt_and_without_a_traceback(
    daemon: FakeDaemon, command: str, signs: bytes
) -> None:
    lease_id = json.loads(carlactl(daemon.endpoint, "lease", "--json", "--wait", "5"))["lease_id"]
    flags = {"events": ["-f", "--json"], "status": ["-w", "--json"], "logs 0": ["-f"]}[command]
    with subprocess.Popen(
        [sys.executable, "-m", "carlad.cli", "--endpoint", daemon.endpoint, *command.split(), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as follower:
        assert follower.stdout is not None
        assert signs in follower.stdout.readline() or command == "status"
        follower.send_signal(signal.SIGINT)
        _, said = follower.communicate(timeout=10)
    assert follower.returncode == 130
    assert said == b""
    carlactl(daemon.endpoint, "release", lease_id)


def test_output_into_a_closed_pipe_is_no_error(daemon: FakeDaemon) -> None:
    command = f"{sys.executable} -m carlad.cli --endpoint {daemon.endpoint} logs 0 -n 10000 | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"line 0\n", b"")
