from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from carlad.config import LogsSection
from carlad.errors import ServerError
from carlad.fleet import logs
from carlad.fleet.backends.interface import Launch
from carlad.fleet.server import running
from carlad.fleet.shim_link import describe_exit
from tests.fleet.processes import is_running, parent_of


@asynccontextmanager
async def started(tmp_path: Path, environ: dict[str, str], script: str, hurry: trio.Event | None = None):
    launch = Launch(("/bin/sh", "-c", script), environ, "/")
    hurry = trio.Event() if hurry is None else hurry
    async with running(
        launch, tmp_path / "run", tmp_path / "server.log", hurry, LogsSection(stamps=False)
    ) as server:
        yield server


def run(test, *arguments) -> None:
    async def bounded():
        with trio.fail_after(20):
            await test(*arguments)

    trio.run(bounded)


async def until_logged(path: Path, line: str) -> None:
    while line not in logs.tail(path, 10):  # noqa: ASYNC110
        await trio.sleep(0.01)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exited with status 0"),
        (1, "exited with status 1"),
        (-9, "was killed by SIGKILL"),
        (-11, "was killed by SIGSEGV"),
        (139, "exited with status 139 (SIGSEGV)"),
        (255, "exited with status 255"),
    ],
)
def test_the_end_of_a_process_is_put_into_words(status, words):
    assert describe_exit(status) == words


def test_a_server_is_told_to_have_ended_when_it_has(tmp_path, environ):
    async def scenario():
        async with started(tmp_path, environ, "exit 7") as server:
            assert await server.ended() == "exited with status 7"

    run(scenario)


def test_a_killed_server_is_told_to_have_been_killed(tmp_path, environ):
    async def scenario():
        async with started(tmp_path, environ, "sleep 1000") as server:
            os.kill(server.pid, signal.SIGKILL)
            assert await server.ended() == "was killed by SIGKILL"

    run(scenario)


def test_the_tree_is_known_while_it_lives_and_gone_afterwards(tmp_path, environ):
    async def scenario():
        async with started(tmp_path, environ, "setsid sleep 1000 & echo up; wait") as server:
            await until_logged(tmp_path / "server.log", "up")
            tree = server.tree()
            assert server.pid in tree
            assert len(tree) == 2
        assert not any(is_running(pid) for pid in tree)
        assert server.tree() == ()

    run(scenario)


def test_a_server_that_ignores_term_is_killed_after_its_grace(tmp_path, environ):
    async def scenario():
        async with started(tmp_path, environ, "trap '' TERM; echo up; sleep 1000") as server:
            await until_logged(tmp_path / "server.log", "up")
            ending_at = trio.current_time()
        assert not is_running(server.pid)
        assert trio.current_time() - ending_at >= 0.9

    run(scenario)


def test_hurry_skips_the_grace_also_of_an_end_that_has_begun(tmp_path, environ):
    async def scenario():
        hurry = trio.Event()

        async def hasten():
            await trio.sleep(0.1)
            hurry.set()

        deaf = "trap '' TERM; echo up; sleep 1000"
        async with trio.open_nursery() as nursery, started(tmp_path, environ, deaf, hurry) as server:
            await until_logged(tmp_path / "server.log", "up")
            nursery.start_soon(hasten)
            ending_at = trio.current_time()
        assert not is_running(server.pid)
        assert trio.current_time() - ending_at < 0.9

    run(scenario)


def test_what_cannot_be_executed_is_the_reason(tmp_path, environ):
    async def scenario():
        launch = Launch(("/no/such/server",), environ, "/")
        with pytest.raises(ServerError, match=r"cannot execute /no/such/server: .*No such file"):
            async with running(
                launch, tmp_path / "run", tmp_path / "log", trio.Event(), LogsSection(stamps=False)
            ):
                pass

    run(scenario)


def test_a_shim_that_is_killed_is_noticed_and_nothing_of_the_tree_stays(tmp_path, environ):
    async def scenario():
        async with started(tmp_path, environ, "trap '' TERM; setsid sleep 1000 & echo up; wait") as server:
            await until_logged(tmp_path / "server.log", "up")
            tree = server.tree()
            shim = parent_of(server.pid)
            os.kill(shim, signal.SIGKILL)
            assert await server.ended() == "its shim ended unexpectedly"
        assert not any(is_running(pid) for pid in tree)

    run(scenario)


def test_a_shim_that_hangs_does_not_keep_its_tree(tmp_path, environ, monkeypatch):
    monkeypatch.setattr("carlad.fleet.server.STOP_GRACE_S", 0.1)
    monkeypatch.setattr("carlad.fleet.server._GONE_MAX_S", 0.1)

    async def scenario():
        async with started(tmp_path, environ, "sleep 1000") as server:
            shim = parent_of(server.pid)
            os.kill(shim, signal.SIGSTOP)
        assert not is_running(server.pid)
        assert not is_running(shim)

    run(scenario)


def test_a_folder_longer_than_a_sockets_path_is_no_obstacle(tmp_path, environ):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()

    async def scenario():
        async with started(folder, environ, "exit 0") as server:
            assert await server.ended() == "exited with status 0"

    run(scenario)


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.01, 0.02, 0.03, 0.05])
def test_a_start_that_is_cancelled_leaves_nothing(tmp_path, environ, after_s):
    files = len(os.listdir("/proc/self/fd"))

    async def scenario():
        with trio.move_on_after(after_s):
            async with started(tmp_path, environ, "sleep 1000"):
                await trio.sleep_forever()

    run(scenario)
    assert not (tmp_path / "run").exists()
    assert len(os.listdir("/proc/self/fd")) == files


def test_many_servers_leave_no_open_file_behind(tmp_path, environ):
    counts = []

    async def scenario():
        for _ in range(3):
            async with started(tmp_path, environ, "sleep 1000"):
                pass
            counts.append(len(os.listdir("/proc/self/fd")))

    run(partial(scenario))
    assert len(set(counts)) == 1
