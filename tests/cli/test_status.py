"""What the fleet looks like."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from carlad.cli import tables
from carlad.cli.tables import duration
from carlad.messages import DaemonStatus, SlotStatus, Status
from tests.cli.calling import carlactl
from tests.gateway.daemons import FakeDaemon


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


def test_below_the_reason_of_a_lost_server_stand_its_last_words() -> None:
    lost = SlotStatus(
        slot=3,
        state="QUARANTINED",
        incarnation=6,
        pid=None,
        host="127.0.0.1",
        rpc_port=None,
        streaming_port=None,
        traffic_manager_port=None,
        map=None,
        lease_id=None,
        restarts=5,
        reason="failed too often, lastly: GPU lost",
        cause="GPU lost",
        last_words=("[bold]no markup[/bold]", "Signal 11 caught.\x07"),
    )
    console = Console(width=80, file=io.StringIO())
    console.print(
        tables.status(Status(daemon=DaemonStatus(pid=1, version="1", uptime_s=1.0), slots=(lost,), leases=()))
    )
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    at = lines.index("slot 3: failed too often, lastly: GPU lost")
    assert lines[at + 1 : at + 3] == ["  | [bold]no markup[/bold]", "  | Signal 11 caught."]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3725, "1 h 2 min"), (90000, "1 d 1 h")],
)
def test_durations_are_read_at_a_glance(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_top_is_a_table_for_people_and_json_for_programs(daemon: FakeDaemon) -> None:
    assert "CORES" in carlactl(daemon.endpoint, "top", "--once")
    assert set(json.loads(carlactl(daemon.endpoint, "top", "--once", "--json"))) == {"slots"}


def test_several_fleets_are_shown_one_below_the_other_and_one_that_is_down_too(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    both = f"{daemon.endpoint},{tmp_path}/none.sock"
    shown = carlactl(both, "status")
    assert f"pid {daemon.pid}" in shown
    assert "no daemon answers" in shown
    assert "choose one" in carlactl(both, "events", code=2)
    (line,) = carlactl(f"{daemon.endpoint},", "status", "--json").splitlines()
    assert json.loads(line)["endpoint"] == daemon.endpoint
