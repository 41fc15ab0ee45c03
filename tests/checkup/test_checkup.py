from __future__ import annotations

import json
import subprocess
import sys

import pytest
from msgspec import structs

from carlad.checkup.report import Measure, proposals
from carlad.config import Config
from tests.fleet.processes import REPOSITORY, eventually, pids_with
from tests.ports import free_ports, is_free

MEASURED = (
    Measure("ready after", 21.0, "s"),
    Measure("map load", 1.0, "s"),
    Measure("memory", 2**30, "bytes"),
)


def proposed(config: Config, free_bytes: int) -> dict[str, str]:
    return {found.line: found.why for found in proposals(config, MEASURED, free_bytes)}


def test_limits_leave_room_beyond_what_was_measured():
    lines = proposed(Config(), free_bytes=64 << 30)
    assert lines == {"start_max_s = 110.0": "ready after 21.0 s", "load_max_s = 30.0": "a map took 1.0 s"}


def test_a_fleet_that_does_not_fit_into_memory_is_made_smaller():
    config = structs.replace(Config(), fleet=structs.replace(Config().fleet, size=8))
    assert "size = 5" in proposed(config, free_bytes=5 << 30)
    assert not any(line.startswith("size") for line in proposed(config, free_bytes=10 << 30))


def test_what_a_server_took_of_its_card_is_proposed_with_room_for_cameras():
    taken = (Measure("GPU memory", 2000 * 2**20, "bytes"),)
    (proposal,) = proposals(Config(), taken, free_bytes=0)
    assert (proposal.section, proposal.line) == ("gpu", "memory_mib = 2500")


def test_what_is_as_proposed_already_is_not_proposed():
    probe = structs.replace(Config().probe, start_max_s=110.0, load_max_s=30.0)
    assert proposed(structs.replace(Config(), probe=probe), free_bytes=64 << 30) == {}


# --- as a user runs it


@pytest.fixture
def doctor(tmp_path, environ):
    """Runs `carlactl doctor --server` with this configuration; afterwards nothing of it is left."""

    def run(fleet: str, *arguments: str, probe: str = "") -> subprocess.CompletedProcess[str]:
        ports = free_ports(8)
        file = tmp_path / "carlad.toml"
        limits = f"period_s = 0.1\ntimeout_s = 0.5\n{probe}"
        file.write_text(f"[fleet]\nsize = 1\nports = [{ports[0]}, {ports[-1]}]\n{fleet}\n[probe]\n{limits}\n")
        command = [
            sys.executable,
            "-m",
            "carlad.cli",
            "doctor",
            "--server",
            "--config",
            str(file),
            *arguments,
        ]
        done = subprocess.run(
            command, env=environ, cwd=REPOSITORY, text=True, capture_output=True, check=False
        )
        mark = f"CARLAD_TEST={environ['CARLAD_TEST']}"
        eventually(lambda: not pids_with(mark))
        assert all(is_free(port) for port in ports)
        return done

    return run


@pytest.mark.system
def test_the_stand_in_is_fit_and_its_transcript_can_be_replayed(doctor, tmp_path):
    transcript = tmp_path / "transcript.json"
    done = doctor('extra_args = ["--fault", "fork"]', "--json", "--transcript", str(transcript))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert (report["failures"], report["differences"]) == ([], [])
    measures = {measure["name"]: measure["value"] for measure in report["measures"]}
    assert measures["processes"] == 2  # the launcher, and the server that it forked
    assert measures["memory"] > 50 << 20
    assert {"ready after", "map load", "scrub", "hang seen after", "gone after"} <= measures.keys()
    asked = json.loads(transcript.read_text())["asked"]
    assert {"version", "spawn_actor", "spawn_actor_with_parent", "apply_batch"} <= {
        one["call"] for one in asked
    }
    assert "asks it everything" in done.stderr


@pytest.mark.system
@pytest.mark.parametrize(
    ("fault", "limit_s", "says"),
    [
        ("crash-at-start", 20, "the server was killed by SIGSEGV"),
        ("crash-after=1", 20, "the server was killed by SIGSEGV"),
        ("never-ready", 2, "not ready 2 s after its start"),
        ("wrong-version=0.9.15", 20, "it is CARLA 0.9.15, carlad speaks to 0.9.16 only"),
    ],
)
def test_a_server_that_is_not_fit_is_told_with_what_it_did(doctor, fault, limit_s, says):
    done = doctor(f'extra_args = ["--fault", "{fault}"]', probe=f"start_max_s = {limit_s}")
    assert done.returncode == 1
    assert "not fit for a fleet" in done.stdout
    assert says in done.stdout


def test_a_configuration_that_cannot_work_starts_nothing(doctor):
    done = doctor('backend = "binary"\ncarla_root = "/nowhere"')
    assert (done.returncode, done.stdout) == (2, "")
    assert "carlactl: fleet.carla_root: there is no folder /nowhere" in done.stderr
