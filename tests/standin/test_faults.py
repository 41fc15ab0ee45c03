"""Each fault, on a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from carlad.wire.types import EpisodeSettings
from tests.ports import free_port, listens
from tests.standin.process import eventually, standin_process
from tests.standin.raw import RawClient, RawSubscriber, raw_client, raw_subscriber


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
        assert not listens(server.rpc_port)


def test_slow_start_is_ready_later() -> None:
    started = time.monotonic()
    with standin_process("--fault=slow-start=1.0"):
        assert time.monotonic() - started > 1.0


def test_a_flood_of_stderr_stalls_a_server_whose_pipe_nobody_reads() -> None:
    port = free_port()
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
        eventually(lambda: not listens(server.rpc_port))


def test_fork_passes_on_how_its_child_ended() -> None:
    with standin_process("--fault=fork", "--fault=crash-after=0.1") as server:
        assert server.wait() == 139


@pytest.mark.parametrize("fault", ["hang-after=0", "crash-after=0"])
def test_a_fault_due_at_once_still_lets_the_server_become_ready(fault: str) -> None:
    with standin_process(f"--fault={fault}", wait_ready=False) as server:
        eventually(lambda: "ready" in server.stderr(), 20.0)
        server.process.kill()


def test_crash_after_some_ticks_ends_by_segmentation_fault() -> None:
    with standin_process("--fault=crash-after=5ticks") as server, raw_client(server.rpc_port) as client:
        client.call("set_episode_settings", EpisodeSettings(synchronous_mode=True))
        with suppress(OSError):
            for _ in range(50):
                client.call("tick_cue")
        assert server.wait() == -signal.SIGSEGV


def test_a_hung_game_thread_that_goes_on_answers_what_it_was_asked(tmp_path: Path) -> None:
    orders = tmp_path / "faults"
    with standin_process(f"--fault-file={orders}") as server, raw_client(server.rpc_port) as client:
        orders.write_text("hang-game-after=0\n")
        eventually(lambda: "faults by file: hang-game-after" in server.stderr())
        asked = [client.send("get_episode_info"), client.send("get_map_info")]
        version = client.send("version")
        assert client.receive().msgid == version
        orders.write_text("")
        assert [client.receive().msgid, client.receive().msgid] == asked


def test_a_stuck_tick_ends_with_synchronous_mode() -> None:
    with (
        standin_process("--fault=stuck-tick-after=3ticks") as server,
        raw_client(server.rpc_port) as client,
        raw_client(server.rpc_port) as rescuer,
    ):
        client.call("set_episode_settings", EpisodeSettings(synchronous_mode=True))
        client.sock.settimeout(0.3)
        assert _answers_until_stuck(client, 1000)
        client.sock.settimeout(5.0)
        assert rescuer.call("get_episode_settings").synchronous_mode
        rescuer.call("set_episode_settings", EpisodeSettings())
        client.receive()
        assert client.call("get_episode_info")


def test_slow_load_answers_only_its_version_until_the_map_is_there() -> None:
    with standin_process("--fault=slow-load=0.6") as server, raw_client(server.rpc_port) as client:
        before = client.call("get_episode_info").episode_id
        client.call("load_new_episode", "Town02", True, 0xFFFF)
        started = time.monotonic()
        asked, version = client.send("get_episode_info"), client.send("version")
        assert client.receive().msgid == version
        assert client.receive().msgid == asked
        assert time.monotonic() - started > 0.5
        assert client.call("get_episode_info").episode_id == before + 1
        assert client.call("get_map_info").name == "Carla/Maps/Town02"


def test_a_leak_grows_and_ends_with_its_order(tmp_path: Path) -> None:
    orders = tmp_path / "faults"
    with standin_process(f"--fault-file={orders}") as server:
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        orders.write_text("leak=200")
        eventually(lambda: process.memory_info().rss > before + 40e6)
        orders.unlink()
        eventually(lambda: "faults by file: none" in server.stderr())


def test_sigterm_can_end_by_segmentation_fault() -> None:
    with standin_process("--fault=crash-at-sigterm") as server:
        server.process.terminate()
        assert server.wait() == -signal.SIGSEGV


def test_forked_and_terminated_whole_it_exits_with_139() -> None:
    with standin_process("--fault=fork", "--fault=crash-at-sigterm") as server:
        (child,) = psutil.Process(server.process.pid).children()
        child.terminate()
        assert server.wait() == 139


def test_a_wrong_version_is_what_the_client_sees() -> None:
    with standin_process("--fault=wrong-version=0.9.15") as server, raw_client(server.rpc_port) as client:
        assert client.call("version") == "0.9.15"


def test_dropped_streams_end_and_may_be_had_again(tmp_path: Path) -> None:
    orders = tmp_path / "faults"
    with standin_process(f"--fault-file={orders}") as server:
        with raw_subscriber(server.streaming_port, 1) as reader:
            reader.payload()
            orders.write_text("drop-streams-after=0")
            with pytest.raises(ConnectionError):
                _read_for_ever(reader)
        with raw_subscriber(server.streaming_port, 1) as reader:
            for _ in range(5):
                reader.payload()


def test_mute_streams_stay_open_and_send_nothing() -> None:
    with (
        standin_process("--fault=mute-streams-after=5ticks") as server,
        raw_client(server.rpc_port) as client,
        raw_subscriber(server.streaming_port, 1) as reader,
    ):
        reader.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            _read_for_ever(reader)
        assert client.call("get_episode_info")


def test_a_signal_puts_its_faults_into_force() -> None:
    with standin_process("--fault-on-signal=crash-after=0") as server, raw_client(server.rpc_port) as client:
        assert client.call("version") == "0.9.16"
        server.process.send_signal(signal.SIGUSR1)
        assert server.wait() == -signal.SIGSEGV


def test_a_fault_file_named_by_port_is_read_at_the_start_already(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / str(port)).write_text("# of this server only\nwrong-version=1.2.3  # a text\n")
    with (
        standin_process(f"--fault-file={tmp_path}/{{port}}", rpc_port=port),
        raw_client(port) as client,
    ):
        assert client.call("version") == "1.2.3"


def test_an_order_that_makes_no_sense_is_told_and_the_others_hold(tmp_path: Path) -> None:
    orders = tmp_path / "faults"
    with standin_process(f"--fault-file={orders}") as server, raw_client(server.rpc_port) as client:
        orders.write_text("melt\nfork\nwrong-version=0.1\n")
        eventually(lambda: client.call("version") == "0.1")
        assert "cannot make the fault 'melt'" in server.stderr()
        assert "the start is over: fork" in server.stderr()


def test_faults_on_demand_cost_nothing_in_an_idle_server(tmp_path: Path) -> None:
    with standin_process(f"--fault-file={tmp_path}/none") as server, raw_client(server.rpc_port) as client:
        client.call("set_episode_settings", EpisodeSettings(synchronous_mode=True))
        process = psutil.Process(server.process.pid)
        before = sum(process.cpu_times()[:2])
        time.sleep(1.0)
        assert sum(process.cpu_times()[:2]) - before < 0.05


def _read_for_ever(reader: RawSubscriber) -> None:
    while True:
        reader.payload()


def _answers_until_stuck(client: RawClient, ticks_max: int) -> bool:
    """Whether a tick stays unanswered."""
    return any(not _answers(client, "tick_cue") for _ in range(ticks_max))


def _answers(client: RawClient, call: str) -> bool:
    try:
        client.call(call)
    except TimeoutError:
        return False
    return True
