"""A cgroup for each incarnation: by the kernel where this user may divide one, else on a lookalike."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio

from carlad.config import LogsSection, ResourcesSection
from carlad.errors import ServerError
from carlad.fleet.autopsy import autopsy
from carlad.fleet.backends.interface import Launch
from carlad.fleet.cgroup import Found, MemoryLimit, NotDelegatedError, claim, obstacle, own_cgroup
from carlad.fleet.leftovers import end_leftovers, read, state_directory
from carlad.fleet.server import adopted, running
from carlad.fleet.shim_link import find
from tests.fleet.cgroups import Undivided, controller, delegated, lookalike, members
from tests.fleet.processes import REPOSITORY, eventually, is_running, parent_of
from tests.fleet.scenario import NO_PROBE, fake

of_the_kernel = pytest.mark.skipif(not controller(), reason="this user may divide no cgroup of version 2")
with_memory = pytest.mark.skipif(controller() != "memory", reason="no cgroup of version 2 with memory")

# A daemon that starts a server in a cgroup of its own, says so and is killed.
DAEMON = """
import os, sys, trio
from pathlib import Path
from carlad.config import LogsSection
from carlad.fleet.backends.interface import Launch
from carlad.fleet.server import adopted, running
from carlad.fleet.shim_link import find
from tests.fleet.cgroups import Undivided

async def main(runs):
    launch = Launch(("/bin/sleep", "1000"), dict(os.environ), "/")
    log, hurry, limits = runs.parent / "log", trio.Event(), LogsSection()
    async with running(launch, runs / "0-1", log, hurry, limits, Undivided(64)) as server:
        print(server.pid, flush=True)
        await trio.sleep_forever()

trio.run(main, Path(sys.argv[1]))
"""
HUNGRY = "pieces = []\nwhile True: pieces.append(bytearray(b'x') * (8 << 20))"


def found(**seen: object) -> Found:
    whole = Found(folder=Path("/c"), controllers=frozenset({"memory"}), is_writable=True, strangers=0)
    return msgspec.structs.replace(whole, **seen)


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ({}, None),
        ({"controllers": {"cpu"}}, "/c has no controller memory"),
        ({"is_writable": False}, "/c is not delegated to carlad's user"),
        ({"strangers": 3}, "/c is shared with 3 other processes"),
    ],
)
def test_a_cgroup_is_divided_only_where_it_is_ours_alone(seen, why):
    assert obstacle(found(**seen), "memory") == why


def test_a_machine_without_version_2_has_none_to_divide(tmp_path, monkeypatch):
    with lookalike(tmp_path, monkeypatch) as ours:
        assert own_cgroup() == ours
        (tmp_path / "mounts").write_text("cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n")
        with pytest.raises(NotDelegatedError, match="no cgroups of version 2"):
            own_cgroup()


def test_where_none_is_delegated_it_is_said_once_and_servers_run_without_a_limit(
    tmp_path, monkeypatch, caplog, environ
):
    async def scenario() -> None:
        for name in ("one", "two"):
            async with started(tmp_path / name, environ, "sleep 1000", memory):
                assert read(tmp_path / name / "run").cgroup == ""

    memory = MemoryLimit(64)
    with lookalike(tmp_path, monkeypatch) as ours:
        (ours / "cgroup.controllers").write_text("cpu\n")
        run(scenario)
    assert caplog.text.count("memory.not_limited") == 1
    assert "has no controller memory" in caplog.text
    assert "Delegate=yes" in caplog.text


def test_a_server_enters_its_cgroup_before_it_is_executed(tmp_path, monkeypatch, environ):
    async def scenario() -> None:
        async with started(tmp_path, environ, "sleep 1000", MemoryLimit(64)) as server:
            own = Path(read(tmp_path / "run").cgroup)
            assert own.parent == ours
            assert (own / "memory.max").read_text() == str(64 << 20)
            assert (own / "memory.oom.group").read_text() == "1"
            assert (own / "memory.swap.max").read_text() == "0"
            assert members(own) == {server.pid}
        assert (ours / "cgroup.subtree_control").read_text() == "+memory"

    with lookalike(tmp_path, monkeypatch) as ours:
        run(scenario)


def test_what_a_daemon_without_a_limit_had_started_is_no_stranger(tmp_path, monkeypatch, environ):
    async def scenario() -> None:
        async with started(tmp_path, environ, "sleep 1000") as server:
            (ours / "cgroup.procs").write_text(f"{server.pid}\n{os.getpid()}\n{parent_of(server.pid)}\n")
            assert claim() == ours
            (ours / "cgroup.procs").write_text(f"{os.getppid()}\n")
            (ours / "cgroup.subtree_control").write_text("")
            with pytest.raises(NotDelegatedError, match="shared with 1 other"):
                claim()

    with lookalike(tmp_path, monkeypatch) as ours:
        run(scenario)


def test_a_server_without_its_cgroup_does_not_start(tmp_path, monkeypatch, environ):
    async def scenario() -> None:
        monkeypatch.setattr(MemoryLimit, "make", lambda _self, _cgroup: None)  # somebody removes it at once
        with pytest.raises(ServerError, match=r"cannot execute /bin/sh: .*cgroup\.procs"):
            async with started(tmp_path, environ, "sleep 1000", MemoryLimit(64)):
                pass
        assert not (tmp_path / "run").exists()

    with lookalike(tmp_path, monkeypatch):
        run(scenario)


def test_a_death_by_the_limit_is_told_as_such(run_fleet, tmp_path, monkeypatch):
    async def scenario(world) -> None:
        before = await world.ready()
        [own] = ours.glob("server-*")
        (own / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 1\noom_kill 4\noom_group_kill 1\n")
        os.kill(before.pid, signal.SIGKILL)
        status = await world.lost()
        assert "was killed by SIGKILL: out of memory; " in status.reason
        assert "resources.memory_max_mb" in status.reason

    with lookalike(tmp_path, monkeypatch) as ours:
        resources = ResourcesSection(memory_max_mb=64)
        # It is the shim that sees it, however busy the machine is.
        run_fleet(scenario, launch=fake(run_fleet.environ), resources=resources, probe=NO_PROBE)


@of_the_kernel
def test_the_daemon_makes_way_and_limits_can_be_set_below():
    with delegated() as ours:
        assert own_cgroup() == ours
        assert claim(controller()) == ours
        assert own_cgroup() == ours / "daemon"
        assert (ours / "cgroup.subtree_control").read_text().split() == [controller()]
        assert claim(controller()) == ours  # by the daemon's successor


@of_the_kernel
def test_a_cgroup_with_strangers_is_left_as_it_is():
    with delegated() as ours:
        subprocess.run(["setsid", "--fork", "sleep", "1000"], check=True)
        [stranger] = members(ours) - {os.getpid()}
        try:
            with pytest.raises(NotDelegatedError, match="shared with 1 other"):
                claim(controller())
        finally:
            os.kill(stranger, signal.SIGKILL)
            eventually(lambda: members(ours) == {os.getpid()})
        assert own_cgroup() == ours
        assert list(ours.glob("*/")) == []


@of_the_kernel
def test_a_server_and_all_below_it_are_in_their_cgroup_and_the_shim_is_not(tmp_path, environ):
    async def scenario() -> None:
        async with started(tmp_path, environ, "setsid sleep 1000 & sleep 1000", Undivided(64)) as server:
            own = Path(read(tmp_path / "run").cgroup)
            while len(server.tree()) < 3:  # noqa: ASYNC110
                await trio.sleep(0.01)
            assert members(own) == set(server.tree())
            assert members(own.parent / "daemon") == {os.getpid(), parent_of(server.pid)}
            assert not server.ran_out_of_memory()
        assert [folder.name for folder in ours.glob("*/")] == ["daemon"]

    with delegated() as ours:
        run(scenario)


@of_the_kernel
def test_the_cgroup_of_a_server_that_a_killed_daemon_left_goes_with_it(tmp_path, environ):
    with delegated() as ours, state_directory(tmp_path) as runs:
        pid, own = killed_daemon(ours, runs, environ)
        trio.run(end_leftovers, runs)
        assert not is_running(pid)
        assert not own.exists()


@of_the_kernel
def test_a_server_that_is_taken_back_keeps_its_cgroup_to_its_end(tmp_path, environ):
    async def scenario() -> None:
        folder = runs / "0-1"
        async with adopted(await find(folder), folder, trio.Event()) as server:
            assert members(own) == {server.pid} == {pid}
        assert not own.exists()

    with delegated() as ours, state_directory(tmp_path) as runs:
        pid, own = killed_daemon(ours, runs, environ)
        run(scenario)


@with_memory
def test_a_server_that_wants_more_memory_than_its_limit_is_killed_and_nothing_else(tmp_path, environ):
    async def scenario() -> None:
        async with started(
            tmp_path, environ, f'{sys.executable} -c "{HUNGRY}"; sleep 1000', MemoryLimit(64)
        ) as server:
            how = await server.ended()
            assert autopsy(how, [], out_of_memory=server.ran_out_of_memory()).cause.value == "out of memory"

    with delegated():
        run(scenario)


def killed_daemon(ours: Path, runs: Path, environ: dict[str, str]) -> tuple[int, Path]:
    """The server that it left, and the server's cgroup."""
    claim(controller())  # it begins in the leaf, as with DelegateSubgroup=
    command = [sys.executable, "-c", DAEMON, str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, cwd=REPOSITORY) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        daemon.kill()
    [own] = ours.glob("server-*")
    assert members(own) == {pid}
    return pid, own


def started(folder: Path, environ: dict[str, str], script: str, memory: MemoryLimit | None = None):
    folder.mkdir(exist_ok=True)
    launch = Launch(("/bin/sh", "-c", script), environ, "/")
    return running(launch, folder / "run", folder / "log", trio.Event(), LogsSection(), memory)


def run(scenario) -> None:
    async def bounded() -> None:
        with trio.fail_after(20):
            await scenario()

    trio.run(bounded)
