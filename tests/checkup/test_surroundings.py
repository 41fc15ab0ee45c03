"""`carlactl doctor`: what it finds on this machine, and what it says where something is amiss."""

from __future__ import annotations

import io
import json
import socket
from pathlib import Path

import pytest
from rich.console import Console

from carlad import cli
from carlad.checkup.finding import Finding
from carlad.checkup.machine import enough, room_on_disk
from carlad.checkup.tables import findings
from tests.ports import free_ports

Found = dict[str, list[Finding]]


def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str], fleet: str, code: int) -> Found:
    """What was found, by name."""
    file = tmp_path / "carlad.toml"
    file.write_text(f'[daemon]\nstate_dir = "{tmp_path}"\nendpoint = "{tmp_path}/c.sock"\n[fleet]\n{fleet}\n')
    assert cli.carlactl(["doctor", "--config", str(file), "--json"]) == code
    found: Found = {}
    for finding in json.loads(capsys.readouterr().out):
        assert finding["level"] in ("fine", "note") or finding["remedy"]
        found.setdefault(finding["name"], []).append(Finding(**finding))
    return found


def test_a_fleet_of_stand_ins_can_run_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ports = free_ports(100)
    found = doctor(tmp_path, capsys, f"size = 1\nports = [{ports[0]}, {ports[-1]}]", code=0)
    assert {
        "Python",
        "stand-in",
        "ports",
        "disk",
        "memory",
        "open files",
        "clock",
        "cgroup",
        "systemd",
    } <= set(found)
    assert found["ports"][0].found == f"{ports[0]} to {ports[7]} are free"


def test_a_port_that_somebody_has_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ports = free_ports(100)
    with socket.create_server(("127.0.0.1", ports[2])):
        found = doctor(tmp_path, capsys, f"size = 1\nports = [{ports[0]}, {ports[-1]}]", code=0)
    assert found["ports"][0].level == "warning"
    assert str(ports[2]) in found["ports"][0].found


def test_a_carla_that_is_not_there_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = doctor(tmp_path, capsys, f'backend = "binary"\ncarla_root = "{tmp_path}"', code=1)
    (backend,) = found['backend "binary"']
    assert backend.level == "wrong"
    assert f"there is no CarlaUE4.sh in {tmp_path}" in backend.found


@pytest.mark.parametrize(
    ("free", "needed", "level"),
    [(100 << 30, 1 << 30, "fine"), (1 << 30, 1 << 30, "warning"), (0, 0, "warning")],
)
def test_logs_need_room_on_the_disk(free: int, needed: int, level: str) -> None:
    assert room_on_disk("/logs", free, needed).level == level


@pytest.mark.parametrize(("limit", "level"), [(-1, "fine"), (288, "fine"), (287, "warning")])
def test_a_limit_that_is_too_low_is_told_with_what_raises_it(limit: int, level: str) -> None:
    finding = enough("open files", limit, 288, "ulimit -n")
    assert finding.level == level
    assert ("ulimit -n" in finding.remedy) == (level == "warning")


def test_remedies_stand_below_what_they_cure() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(
        findings([Finding("GPU", "wrong", "silent", "look at dmesg"), Finding("disk", "fine", "9 GiB")])
    )
    assert console.export_text() == (
        "wrong    GPU   silent\n               → look at dmesg\nfine     disk  9 GiB\n"
    )
