"""carlactl and carlad as their users call them, judged by output and exit code."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from carlad import cli
from carlad.cli.commands import new_lines
from carlad.cli.tables import duration
from carlad.client import Client
from tests.daemon_process import until_status
from tests.gateway.daemons import FakeDaemon, fake_daemon

EXAMPLES_OF = ["status", "lease", "renew", "release", "logs", "events"]


@pytest.fixture(scope="module")
def daemon() -> Iterator[FakeDaemon]:
    with fake_daemon(size=2, ttl_s=30.0) as running:
        yield running


def carlactl(endpoint: str, *arguments: str, code: int = 0) -> str:
    """What it printed on stdout; on stderr where it failed, which is then one line."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        returned = cli.carlactl(["--endpoint", endpoint, *arguments])
    assert returned == code, err.getvalue()
    if code == 0:
        assert err.getvalue() == ""
        return out.getvalue()
    assert out.getvalue() == ""
    assert err.getvalue().count("\n") == 1
    assert err.getvalue().startswith("carlactl: ")
    return err.getvalue()


def test_a_lease_is_taken_renewed_and_released(daemon: FakeDaemon) -> None:
    granted = json.loads(carlactl(daemon.endpoint, "lease", "--json", "--map", "Town01", "--ttl", "60"))
    assert {
        "lease_id",
        "token",
        "host",
        "rpc_port",
        "streaming_port",
        "traffic_manager_port",
        "map",
        "ttl_s",
    } <= set(granted)
    assert (granted["map"], granted["ttl_s"]) == ("Town01", 60.0)
    lease_id, token = granted["lease_id"], str(granted["token"])
    assert "60 s" in carlactl(daemon.endpoint, "renew", lease_id)
    assert "stale" in carlactl(daemon.endpoint, "release", lease_id, "--token", "0", code=1)
    assert lease_id in carlactl(daemon.endpoint, "release", lease_id, "--token", token)
    assert "released" in carlactl(daemon.endpoint, "renew", lease_id, code=1)


def test_status_is_json_for_programs_and_a_table_for_people(daemon: FakeDaemon) -> None:
    lease_id = json.loads(carlactl(daemon.endpoint, "lease", "--json", "--wait", "5"))["lease_id"]
    shown = json.loads(carlactl(daemon.endpoint, "status", "--json"))
    assert set(shown["daemon"]) == {"pid", "version", "uptime_s"}
    assert shown["daemon"]["pid"] == daemon.pid
    assert set(shown["slots"][0]) >= {
        *("slot", "state", "incarnation", "pid", "host", "rpc_port", "streaming_port", "map"),
        *("lease_id", "restarts", "reason"),
    }
    lease = next(lease for lease in shown["leases"] if lease["lease_id"] == lease_id)
    assert set(lease) == {"lease_id", "token", "slot", "holder", "expires_in_s"}
    assert "carlactl" in lease["holder"]
    assert shown["sessions"] == []
    table = carlactl(daemon.endpoint, "status")
    assert "LEASED" in table
    assert lease_id in table
    carlactl(daemon.endpoint, "release", lease_id)


def test_without_a_free_server_the_exit_code_is_4(daemon: FakeDaemon) -> None:
    held = [json.loads(carlactl(daemon.endpoint, "lease", "--json", "--wait", "5"))["lease_id"] for _ in "ab"]
    assert "no server is free" in carlactl(daemon.endpoint, "lease", code=4)
    assert "within 0.2 s" in carlactl(daemon.endpoint, "lease", "--wait", "0.2", code=4)
    for lease_id in held:
        carlactl(daemon.endpoint, "release", lease_id)


def test_an_unknown_map_is_refused_and_the_known_ones_named(daemon: FakeDaemon) -> None:
    assert "known are Town01, Town02" in carlactl(daemon.endpoint, "lease", "--map", "Atlantis", code=1)


@pytest.mark.parametrize(
    "arguments", [("status",), ("lease", "--wait", "60"), ("events", "-f"), ("logs", "0")]
)
def test_without_a_daemon_the_exit_code_is_3(tmp_path: Path, arguments: Sequence[str]) -> None:
    said = carlactl(f"{tmp_path}/none.sock", *arguments, code=3)
    assert "start it with `carlad` or set CARLAD_ENDPOINT" in said


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fly",),
        ("lease", "--ttl", "soon"),
        ("lease", "--wait", "-1"),
        ("lease", "--wait", "nan"),
        ("logs",),
        ("logs", "zero"),
        ("logs", "0", "-n", "0"),
        ("release",),
        ("status", "--frobnicate"),
    ],
)
def test_bad_usage_has_exit_code_2(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        cli.carlactl(arguments)
    assert exit.value.code == 2
    assert "usage: carlactl" in capsys.readouterr().err


@pytest.mark.parametrize("endpoint", ["ipc:///" + "x" * 200, "tcp://127.0.0.1:5555", "http://here"])
def test_an_endpoint_that_cannot_be_one_has_exit_code_2(
    endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.carlactl(["--endpoint", endpoint, "status"]) == 2
    assert capsys.readouterr().err.startswith("carlactl: endpoint: ")


@pytest.mark.parametrize("before", [True, False])
def test_the_endpoint_may_come_before_or_after_the_command(daemon: FakeDaemon, before: bool) -> None:
    option = ("--endpoint", daemon.endpoint.removeprefix("ipc://"))
    arguments = (*option, "status") if before else ("status", *option)
    command = [sys.executable, "-m", "carlad.cli", *arguments]
    assert str(daemon.pid) in subprocess.check_output(command, text=True, timeout=20)


def test_logs_are_the_last_lines_and_a_slot_that_is_not_there_is_refused(daemon: FakeDaemon) -> None:
    assert carlactl(daemon.endpoint, "logs", "1", "-n", "2") == "line 0\nline 1\n"
    assert "slots are 0 to 1" in carlactl(daemon.endpoint, "logs", "7", code=1)


def test_events_are_lines_for_people_and_json_for_programs(daemon: FakeDaemon) -> None:
    lease_id = json.loads(carlactl(daemon.endpoint, "lease", "--json", "--wait", "5"))["lease_id"]
    carlactl(daemon.endpoint, "release", lease_id)
    events = [json.loads(line) for line in carlactl(daemon.endpoint, "events", "--json").splitlines()]
    of_lease = [event["event"] for event in events if event["lease_id"] == lease_id]
    assert of_lease == ["lease.granted", "lease.released"]
    assert f"lease.granted      slot {events[-1]['slot']}    {lease_id}" in carlactl(
        daemon.endpoint, "events"
    )


@pytest.mark.parametrize(("command", "signs"), [("events", b"lease.granted"), ("status", b"carlad")])
def test_following_ends_with_an_interrupt_and_without_a_traceback(
    daemon: FakeDaemon, command: str, signs: bytes
) -> None:
    lease_id = json.loads(carlactl(daemon.endpoint, "lease", "--json", "--wait", "5"))["lease_id"]
    flag = "-f" if command == "events" else "-w"
    with subprocess.Popen(
        [sys.executable, "-m", "carlad.cli", "--endpoint", daemon.endpoint, command, flag, "--json"],
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_is_interrupted_while_waiting_leaves_the_queue(daemon: FakeDaemon, number: int) -> None:
    with Client(daemon.endpoint) as client:
        held = [client.acquire(wait_s=5.0).lease_id for _ in "ab"]
        with subprocess.Popen(
            [sys.executable, "-m", "carlad.cli", "--endpoint", daemon.endpoint, "lease", "--wait", "60"]
        ) as waiter:
            until_status(client, lambda status: status.waiting == 1)
            waiter.send_signal(number)
        until_status(client, lambda status: status.waiting == 0, 2.0)
        for lease_id in held:
            client.release(lease_id)


def test_output_into_a_closed_pipe_is_no_error(daemon: FakeDaemon) -> None:
    command = f"{sys.executable} -m carlad.cli --endpoint {daemon.endpoint} logs 0 -n 10000 | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"line 0\n", b"")


@pytest.mark.parametrize("command", EXAMPLES_OF)
def test_help_has_examples_and_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.carlactl([command, "--help"])
    shown = capsys.readouterr().out
    assert f"carlactl {command}" in shown.partition("examples:")[2]
    assert "4 waited in vain" in shown


def test_the_endpoint_may_come_from_the_environment(daemon: FakeDaemon) -> None:
    shown = subprocess.check_output(
        [sys.executable, "-m", "carlad.cli", "status", "--json"],
        env={**os.environ, "CARLAD_ENDPOINT": daemon.endpoint},
        timeout=20,
    )
    assert json.loads(shown)["daemon"]["pid"] == daemon.pid


def test_versions_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.carlactl(["--version"])
    assert capsys.readouterr().out.startswith("carlactl 0.")
    told = subprocess.check_output([sys.executable, "-m", "carlad", "--version"], text=True)
    assert told.startswith("carlad 0.")


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ("abc", "abcd", "d"),
        ("abc", "abc", ""),
        ("", "ab", "ab"),
        ("abc", "cd", "d"),
        ("abc", "xyz", "xyz"),
        ("abab", "ababab", ""),
        ("aaa", "aaaa", ""),
    ],
)
def test_new_lines_of_a_log_are_those_that_its_earlier_end_has_not(before: str, now: str, new: str) -> None:
    assert "".join(new_lines(list(before), list(now))) == new


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3725, "1 h 2 min"), (90000, "1 d 1 h")],
)
def test_durations_are_read_at_a_glance(seconds: float, words: str) -> None:
    assert duration(seconds) == words
