"""The stand-in as a process: start, end, and what a supervisor sees."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from tests.ports import free_port, free_ports
from tests.standin.process import StandIn, eventually, standin_process
from tests.standin.raw import raw_client


def start_fails(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "carlad.standin", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_with_exit_code_0(number: signal.Signals) -> None:
    with standin_process("-RenderOffScreen", "-quality-level=Low") as server:
        assert f"rpc_port={server.rpc_port} streaming_port={server.streaming_port}" in server.stderr()
        assert "ignored: -RenderOffScreen -quality-level=Low" in server.stderr()
        with raw_client(server.rpc_port) as client:
            assert client.call("version") == "0.9.16"
            server.process.send_signal(number)
            assert server.wait(5.0) == 0


@pytest.mark.parametrize("which", ["rpc", "streaming"])
def test_a_port_in_use_is_one_clear_message_and_exit_code_1(which: str) -> None:
    rpc_port, streaming_port = free_ports(2)
    taken = rpc_port if which == "rpc" else streaming_port
    with socket.create_server(("127.0.0.1", taken)):
        result = start_fails(f"-carla-rpc-port={rpc_port}")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{taken}: Address already in use" in result.stderr


def test_an_unknown_map_is_one_clear_message_and_exit_code_1() -> None:
    result = start_fails(f"-carla-rpc-port={free_port()}", "--map", "Atlantis")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "'Atlantis'" in result.stderr
    assert "Town01" in result.stderr


def test_a_bad_flag_is_exit_code_2() -> None:
    result = start_fails("--fault=melt")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


def test_help_tells_the_flags() -> None:
    result = start_fails("--help")
    assert result.returncode == 0
    assert "-carla-rpc-port" in result.stdout


def test_any_free_streaming_port_is_told_in_the_log_and_in_the_token() -> None:
    from carlad.wire.streaming import Token

    with standin_process("-carla-streaming-port=0") as server, raw_client(server.rpc_port) as client:
        port = Token.decode(client.call("get_episode_info").token.token).port
        assert f"streaming_port={port}" in server.stderr()
        socket.create_connection(("127.0.0.1", port), 2.0).close()


def test_synchronous_mode_without_ticks_costs_no_cpu(server: StandIn) -> None:
    from carlad.wire.types import EpisodeSettings

    with raw_client(server.rpc_port) as client:
        client.call("set_episode_settings", EpisodeSettings(synchronous_mode=True))
        process = psutil.Process(server.process.pid)
        before = sum(process.cpu_times()[:2])
        time.sleep(0.5)
        assert sum(process.cpu_times()[:2]) - before < 0.05
        client.call("set_episode_settings", EpisodeSettings())


def test_kill_leaves_ports_that_the_next_server_takes() -> None:
    with standin_process() as first:
        first.process.kill()
        assert first.wait() == -signal.SIGKILL
        with standin_process(rpc_port=first.rpc_port) as second, raw_client(second.rpc_port) as client:
            assert client.call("version") == "0.9.16"


def test_descriptors_do_not_grow_with_connections(server: StandIn) -> None:
    process = psutil.Process(server.process.pid)
    with raw_client(server.rpc_port) as client:
        client.call("version")
        before = process.num_fds()
        for _ in range(50):
            with raw_client(server.rpc_port) as other:
                other.call("version")
        eventually(lambda: process.num_fds() <= before)
