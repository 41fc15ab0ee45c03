"""Each fault, on a real process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from tests.standin.process import eventually, free_ports, standin_process
from tests.standin.raw import raw_client


def test_crash_at_start_ends_by_segmentation_fault() -> None:
    with standin_process("--fault=crash-at-start", wait_ready=False) as server:
        assert server.wait() == -signal.SIGSEGV


def test_crash_after_some_seconds_ends_by_segmentation_fault() -> None:
    with standin_process("--fault=crash-after=0.2") as server:
        assert server.wait() == -signal.SIGSEGV


def test_crash_on_load_ends_by_segmentation_fault() -> None:
    with standin_process("--fault=crash-on-load") as server, raw_client(server.rpc_port) as client:
        assert client.call("version") == "0.9.16"
        client.send("load_new_episode", "Town02", True, 0xFFFF)
        assert server.wait() == -signal.SIGSEGV


def test_a_hang_answers_nothing_and_ignores_sigterm() -> None:
    with standin_process("--fault=hang-after=0.1") as server:
        with raw_client(server.rpc_port) as client:
            client.sock.settimeout(0.2)
            eventually(lambda: not _answers(client, "version"))
            server.process.terminate()
            assert not _answers(client, "version")
        assert server.process.poll() is None
        server.process.kill()


def test_a_hung_game_thread_still_tells_its_version() -> None:
    with standin_process("--fault=hang-game-after=0.1") as server, raw_client(server.rpc_port) as client:
        client.sock.settimeout(0.2)
        eventually(lambda: not _answers(client, "get_episode_info"))
        assert client.call("version") == "0.9.16"
        assert client.call("get_available_maps")
        assert not _answers(client, "get_episode_settings")


def test_never_ready_opens_no_port() -> None:
    with standin_process("--fault=never-ready", wait_ready=False) as server:
        process = psutil.Process(server.process.pid)
        eventually(lambda: process.status() == psutil.STATUS_SLEEPING and process.cpu_times().user > 0)
        assert "ready" not in server.stderr()
        assert not _listens(server.rpc_port)


def test_slow_start_is_ready_later() -> None:
    started = time.monotonic()
    with standin_process("--fault=slow-start=1.0"):
        assert time.monotonic() - started > 1.0


def test_a_flood_of_stderr_stalls_a_server_whose_pipe_nobody_reads() -> None:
    port = free_ports()[0]
    command = [sys.executable, "-m", "carlad.standin", f"-carla-rpc-port={port}", "--fault=stderr-flood=5"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            seen = b""
            while b"ready" not in seen or len(seen) < 1_000_000:
                seen += os.read(process.stderr.fileno(), 1 << 16)
            with raw_client(port) as client:
                assert client.call("version") == "0.9.16"
        finally:
            process.kill()


def test_ignored_sigterm_needs_sigkill() -> None:
    with standin_process("--fault=ignore-sigterm") as server, raw_client(server.rpc_port) as client:
        server.process.terminate()
        assert client.call("version") == "0.9.16"
        assert server.process.poll() is None
        server.process.kill()


def test_fork_leaves_the_server_behind_when_its_parent_is_terminated() -> None:
    with standin_process("--fault=fork") as server:
        (child,) = psutil.Process(server.process.pid).children()
        server.process.terminate()
        assert server.wait() == -signal.SIGTERM
        with raw_client(server.rpc_port) as client:
            assert client.call("version") == "0.9.16"
        child.terminate()
        eventually(lambda: not _listens(server.rpc_port))


def test_fork_passes_on_how_its_child_ended() -> None:
    with standin_process("--fault=fork", "--fault=crash-after=0.1") as server:
        assert server.wait() == 139


@pytest.mark.parametrize("fault", ["hang-after=0", "crash-after=0"])
def test_a_fault_due_at_once_still_lets_the_server_become_ready(fault: str) -> None:
    with standin_process(f"--fault={fault}", wait_ready=False) as server:
        eventually(lambda: "ready" in server.stderr(), 20.0)
        server.process.kill()


def _answers(client: object, call: str) -> bool:
    try:
        client.call(call)  # type: ignore[attr-defined]
    except TimeoutError:
        return False
    return True


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
