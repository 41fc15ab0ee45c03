"""What stands before a server's command line, and that the kernel was told so."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import pytest
import trio

from carlad.config import DockerSection, LogsSection, ResourcesSection
from carlad.errors import ConfigError
from carlad.fleet.backends import conditions
from carlad.fleet.backends.aim import Ticket, binary_aim
from carlad.fleet.backends.conditions import container_conditions, near_the_card, under_conditions
from carlad.fleet.backends.interface import Launch
from carlad.fleet.gpu.devices import PciBus
from carlad.fleet.gpu.placement import Seat
from carlad.fleet.ports import Ports
from carlad.fleet.server import running

FREE = ResourcesSection(oom_score_adj=0)
SEAT = Seat(PciBus(0, 5, 0), "GPU-0", 0)


def launch(_ports: Ports) -> Launch:
    return Launch(("/bin/sleep", "1000"), dict(os.environ), "/")


def test_without_conditions_a_command_line_stays_as_it_is():
    assert under_conditions(launch, FREE)(Ports(2000)) == launch(Ports(2000))


def test_a_server_runs_under_its_conditions_and_is_the_process_that_was_started(tmp_path):
    cpu = min(os.sched_getaffinity(0))
    resources = ResourcesSection(nice=5, oom_score_adj=321, cpus=str(cpu), files_max=123)
    started = under_conditions(launch, resources)(Ports(2000))

    async def scenario():
        with trio.fail_after(20):
            async with running(
                started, tmp_path / "run", tmp_path / "log", trio.Event(), LogsSection()
            ) as server:
                while not command_line(server.pid).startswith("/bin/sleep"):  # noqa: ASYNC110
                    await trio.sleep(0.01)
                assert os.getpriority(os.PRIO_PROCESS, server.pid) == 5
                assert os.sched_getaffinity(server.pid) == {cpu}
                assert oom_score_adj(server.pid) == 321
                assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE) == (123, 123)

    trio.run(scenario)


def test_a_server_may_stay_near_its_card():
    aim = near_the_card(binary_aim, ResourcesSection(cpus="gpu"))
    aimed = aim(launch(Ports(2000)), Ticket(SEAT, 1, cpus="8-15"))
    assert aimed.argv == (shutil.which("taskset"), "-c", "8-15", "/bin/sleep", "1000", "-graphicsadapter=1")
    assert aim(launch(Ports(2000)), Ticket(SEAT, 1)).argv[0] == "/bin/sleep"  # not known which are near
    assert near_the_card(binary_aim, FREE) is binary_aim


def test_containers_get_them_from_the_engine():
    resources = ResourcesSection(nice=5, cpus="0-3", memory_max_mb=4096, files_max=9000)
    docker = container_conditions(DockerSection(run_args=("--privileged",)), resources)
    given = ("--oom-score-adj=300", "--cpuset-cpus=0-3", "--ulimit=nofile=9000", "--memory=4096m")
    assert docker.run_args == (*given, "--privileged")
    assert docker.command == ("nice", "-n", "5", "bash", "CarlaUE4.sh")
    with pytest.raises(ConfigError, match=r'resources\.cpus: "gpu" is for processes'):
        container_conditions(DockerSection(), ResourcesSection(cpus="gpu"))


def test_what_cannot_be_kept_is_said_before_anything_is_started(monkeypatch):
    with pytest.raises(ConfigError, match=r"resources\.files_max: 2000000000 exceeds [0-9]+, .*; raise"):
        under_conditions(launch, ResourcesSection(files_max=2_000_000_000))
    monkeypatch.setattr(conditions.shutil, "which", lambda _name: None)
    with pytest.raises(ConfigError, match=r"resources\.cpus: needs the command taskset, which is missing"):
        under_conditions(launch, ResourcesSection(oom_score_adj=0, cpus="0-3"))


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def oom_score_adj(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())
