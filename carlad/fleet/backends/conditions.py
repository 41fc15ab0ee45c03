"""Under which conditions servers run beside learners: priority, processors, open files. Pure but for looking
what the machine offers. (A limit of memory is a cgroup's: see fleet/cgroup.py.)

Each is a well-known command that sets one thing and replaces itself by what follows, so that a server's
process is the one that was started.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit

import msgspec

from carlad.config import DockerSection, ResourcesSection
from carlad.errors import ConfigError
from carlad.fleet.backends.aim import Aim, Ticket
from carlad.fleet.backends.interface import Launch, Launcher
from carlad.fleet.ports import Ports

NEAR_THE_CARD = "gpu"
_FILES_MAX = Path("/proc/sys/fs/nr_open")


def under_conditions(launch: Launcher, resources: ResourcesSection) -> Launcher:
    """Raises ConfigError where a command is missing."""
    prefix = _prefix(resources)
    return partial(_launch_with, launch, prefix) if prefix else launch


def near_the_card(aim: Aim, resources: ResourcesSection) -> Aim:
    """`aim`, and on the processors that the card is attached to, where that is wanted."""
    if resources.cpus != NEAR_THE_CARD:
        return aim
    return partial(_aim_near, aim, _command("taskset", "resources.cpus"))


def container_conditions(docker: DockerSection, resources: ResourcesSection) -> DockerSection:
    """The same by what the engine offers; the priority is set inside."""
    if resources.cpus == NEAR_THE_CARD:
        raise ConfigError('resources.cpus: "gpu" is for processes; give docker a list, such as "0-7"')
    arguments = (
        f"--oom-score-adj={resources.oom_score_adj}",
        *((f"--cpuset-cpus={resources.cpus}",) if resources.cpus else ()),
        *((f"--ulimit=nofile={resources.files_max}",) if resources.files_max else ()),
        *((f"--memory={resources.memory_max_mb}m",) if resources.memory_max_mb else ()),
    )
    nice = ("nice", "-n", str(resources.nice)) if resources.nice else ()
    return msgspec.structs.replace(
        docker, run_args=(*arguments, *docker.run_args), command=(*nice, *docker.command)
    )


def _prefix(resources: ResourcesSection) -> tuple[str, ...]:
    prefix: tuple[str, ...] = ()
    if resources.oom_score_adj:
        choom = _command("choom", "resources.oom_score_adj")
        prefix += (choom, "-n", str(resources.oom_score_adj), "--")
    if resources.cpus not in ("", NEAR_THE_CARD):
        prefix += (_command("taskset", "resources.cpus"), "-c", resources.cpus)
    if resources.nice:
        prefix += (_command("nice", "resources.nice"), "-n", str(resources.nice))
    if resources.files_max:
        _check_files(resources.files_max)
        prefix += (_command("prlimit", "resources.files_max"), f"--nofile={resources.files_max}")
    return prefix


def _check_files(wanted: int) -> None:
    """Raises ConfigError where the kernel would refuse it: at each start, and only in the server's log."""
    if os.geteuid() == 0:
        ceiling, whose = int(_FILES_MAX.read_text()), f"{_FILES_MAX}; raise it with sysctl fs.nr_open"
    else:
        ceiling, whose = getrlimit(RLIMIT_NOFILE)[1], "carlad's own limit; raise that with LimitNOFILE="
    if ceiling not in (RLIM_INFINITY, -1) and wanted > ceiling:
        raise ConfigError(f"resources.files_max: {wanted} exceeds {ceiling}, {whose}")


def _launch_with(launch: Launcher, prefix: tuple[str, ...], ports: Ports) -> Launch:
    started = launch(ports)
    return msgspec.structs.replace(started, argv=(*prefix, *started.argv))


def _aim_near(aim: Aim, taskset: str, launch: Launch, ticket: Ticket) -> Launch:
    aimed = aim(launch, ticket)
    if not ticket.cpus:
        return aimed
    return msgspec.structs.replace(aimed, argv=(taskset, "-c", ticket.cpus, *aimed.argv))


def _command(name: str, key: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ConfigError(f"{key}: needs the command {name}, which is missing; install util-linux")
    return found
