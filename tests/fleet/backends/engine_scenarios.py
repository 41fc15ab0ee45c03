"""Fleets of containers on a real Docker engine. Run by test_docker.py in a network namespace of its own."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from carlad.config import DockerSection
from tests.fleet.processes import FAKE_SERVER, REPOSITORY, is_running, parent_of
from tests.fleet.scenario import NO_PROBE
from tests.fleet.test_adoption import earlier

IMAGE = "carlad-test"
_STARTED_MAX_S = 20.0
_FOLDERS = {"/usr", "/lib", "/lib64", "/bin", str(REPOSITORY), sys.prefix, sys.base_prefix, *sys.path}
_LENT = [f"--volume={path}:{path}:ro" for path in sorted(_FOLDERS) if os.path.isdir(path)]  # by the machine


@pytest.fixture(scope="module")
def engine() -> Iterator[dict[str, str]]:
    """What a client needs in its environment. Its image is empty: programs come from this machine."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("needs root and dockerd (Debian: docker.io, iptables)")
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:  # short: a socket's path is limited
        yield from _engine(Path(folder))


def _engine(folder: Path) -> Iterator[dict[str, str]]:
    where = {"DOCKER_HOST": f"unix://{folder}/sock"}
    command = ["dockerd", "-H", where["DOCKER_HOST"], "--pidfile", f"{folder}/pid"]
    command += ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
    log = (folder / "log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as daemon:
        try:
            _wait_for_engine(daemon, where, folder / "log")
            docker(where, "import", "-", IMAGE, data=_empty_root())
            yield where
        finally:
            daemon.terminate()
            daemon.wait(20)
    subprocess.run(["umount", folder / "exec/netns/default"], check=False, stderr=subprocess.DEVNULL)


def _wait_for_engine(daemon: subprocess.Popen[bytes], where: dict[str, str], log: Path) -> None:
    deadline = time.monotonic() + _STARTED_MAX_S
    while subprocess.run(["docker", "version"], env=os.environ | where, capture_output=True).returncode:
        if daemon.poll() is not None or time.monotonic() > deadline:
            pytest.skip(f"no engine can be started here: {log.read_text().splitlines()[-1:]}")
        time.sleep(0.1)


def _empty_root() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name in ("tmp", "etc", "proc", "dev", "sys"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
    return data.getvalue()


def docker(where: dict[str, str], *arguments: str, data: bytes = b"") -> str:
    done = subprocess.run(["docker", *arguments], env=os.environ | where, input=data, stdout=subprocess.PIPE)
    assert done.returncode == 0
    return done.stdout.decode().strip()


@pytest.fixture
def run(engine, run_fleet):
    """Runs a scenario on a fleet of containers; none of them is left."""

    def run_containers(scenario, *options, network="bridge", **config):
        section = DockerSection(
            image=IMAGE,
            command=(*FAKE_SERVER, "--host=0.0.0.0", *options),
            gpus="",
            network=network,
            run_args=(*_LENT, f"--workdir={REPOSITORY}", f"--env=PYTHONPATH={':'.join(sys.path)}"),
        )
        run_fleet(scenario, backend="docker", docker=section, **config)
        assert docker(engine, "ps", "--all", "--quiet", "--filter=label=io.carlad.runs") == ""

    run_fleet.environ.update(engine)
    return run_containers


def containers(engine: dict[str, str]) -> str:
    return docker(engine, "ps", "--format={{.Names}}")


@pytest.mark.parametrize("network", ["bridge", "host"])
def test_a_container_is_leased_probed_and_replaced_on_other_ports(run, engine, network):
    async def scenario(world):
        before = await world.ready()
        assert "fake_server" in command_line(before.pid)
        assert containers(engine) == f"carlad-{before.rpc_port}"
        await world.fleet.lease(0, "L1")
        await world.fleet.end(0, "L1", "released")
        after = await world.ready(incarnation=2)
        assert not is_running(before.pid)
        assert containers(engine) == f"carlad-{after.rpc_port}"
        assert f"ready {after.rpc_port} {after.rpc_port + 1}" in (await world.fleet.log(0, 50)).lines

    run(scenario, network=network)


def test_a_crash_inside_is_told_by_its_signal(run):
    async def scenario(world):
        before = await world.ready()
        os.kill(before.pid, signal.SIGSEGV)
        assert (await world.lost()).cause == "segmentation fault"
        await world.ready(incarnation=2)

    run(scenario, probe=NO_PROBE)


def test_a_hang_inside_is_seen_and_ended(run):
    async def scenario(world):
        before = await world.ready()
        os.kill(before.pid, signal.SIGSTOP)
        assert (await world.lost()).reason.startswith("hung: no answer to 3 probes")
        await world.ready(incarnation=2)
        assert not is_running(before.pid)

    run(scenario)


@pytest.mark.parametrize("victim", ["command line", "shim"])
def test_whoever_is_killed_the_container_goes(run, victim):
    async def scenario(world):
        command = (await world.until(lambda now: now.pid)).pid
        before = await world.ready()
        os.kill(command if victim == "command line" else parent_of(command), signal.SIGKILL)
        await world.lost()
        await world.ready(incarnation=2)
        assert not is_running(before.pid)

    run(scenario)


def test_a_daemon_that_is_killed_loses_no_container(run, run_fleet, engine):
    before = []

    def earlier_daemon(config, state_dir):
        with earlier(config, state_dir, run_fleet.environ, "--as-configured") as fleet:
            fleet.tell("until 0 READY")
            before.extend(fleet.tell("lease 0 L1"))
            fleet.kill()

    async def scenario(world):
        now = world.status()
        assert (now.state, now.lease_id) == ("LEASED", "L1")
        assert (now.pid, now.rpc_port) == (before[0].pid, before[0].rpc_port)
        assert containers(engine) == f"carlad-{now.rpc_port}"
        await world.fleet.end(0, "L1", "released")
        after = await world.ready(incarnation=2)
        assert not is_running(now.pid)
        assert containers(engine) == f"carlad-{after.rpc_port}"

    run(scenario, before=earlier_daemon)


def test_what_a_daemon_left_behind_is_removed_by_the_next_and_nobody_elses(run, engine, tmp_path):
    def left(name: str, owner: Path) -> None:
        label = f"--label=io.carlad.runs={owner}"
        docker(engine, "run", "--detach", f"--name={name}", label, *_LENT, IMAGE, "/bin/sleep", "1000")

    left("ours", tmp_path / "state" / "run")
    left("theirs", tmp_path / "other" / "run")

    async def scenario(world):
        await world.ready()
        assert "ours" not in containers(engine)
        assert "theirs" in containers(engine)
        docker(engine, "rm", "--force", "theirs")

    run(scenario)


def test_a_server_that_ignores_term_is_killed_with_its_container(run):
    async def scenario(world):
        before = await world.ready()
        await world.fleet.lease(0, "L1")
        await world.fleet.end(0, "L1", "released")
        await world.until(lambda now: now.state == "STARTING")
        assert not is_running(before.pid)

    run(scenario, "--ignore-sigterm")


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()
