"""The shim as a process of its own, with this test as its daemon."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from carlad.fleet import shim as shim_module
from tests.fleet.processes import eventually, is_running, pids_with

# A tree as bad as they come: children in sessions of their own, orphans, all deaf to TERM.
DEAF_TREE = """
trap '' TERM
setsid sh -c 'trap "" TERM; sleep 1000 & wait' &
(setsid sleep 1000 &)
echo growing; wait
"""


class ShimProcess:
    def __init__(self, folder: Path, environ: dict[str, str], argv: list[str], **limits: float) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        path = str(folder / "shim.sock")
        order = {
            "argv": argv,
            "environ": environ,
            "cwd": "/",
            "run_dir": str(folder),
            "log_path": str(self.log),
            "log_bytes_max": 64 << 10,
            "log_files_max": 3,
            "log_age_max_s": 0.0,
            "log_compress": True,
            "log_stamps": False,
            "stop_grace_s": 0.2,
        } | limits
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", shim_module.__file__, str(listener.fileno())],
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,
                env=environ,
            )
        self.path = path
        assert self.process.stdin is not None
        with self.process.stdin as stdin:
            stdin.write(json.dumps(order).encode())

    def events(self, command: bytes = b"") -> Iterator[dict[str, object]]:
        """A connection as the daemon's: what the shim says until it closes."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(10)
            link.connect(self.path)
            link.sendall(command)
            with link.makefile("rb") as lines:
                for line in lines:
                    yield json.loads(line)

    def last_lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []


@pytest.fixture
def start(tmp_path, environ) -> Iterator[object]:
    started: list[ShimProcess] = []

    def start_shim(*argv: str, **limits: float) -> ShimProcess:
        started.append(ShimProcess(tmp_path, environ, list(argv), **limits))
        return started[-1]

    yield start_shim
    for shim in started:
        shim.process.terminate()
        try:
            shim.process.wait(10)
        finally:
            shim.process.kill()


def marks(environ: dict[str, str]) -> list[int]:
    return pids_with(f"CARLAD_TEST={environ['CARLAD_TEST']}")


def test_a_run_is_told_from_its_start_to_the_last_process(start, tmp_path):
    shim = start("/bin/sh", "-c", "echo to stdout; echo to stderr >&2; exit 3")
    started, exited, gone = shim.events()
    assert started["event"] == "started"
    assert (exited["event"], exited["status"]) == ("exited", 3)
    assert gone == {"event": "gone"}
    assert shim.process.wait(5) == 0
    assert shim.last_lines()[1:] == ["to stdout", "to stderr"]
    record = json.loads((tmp_path / "exit.json").read_text())
    assert (record["pid"], record["status"], record["dropped_bytes"]) == (started["pid"], 3, 0)


def test_a_signal_is_recorded_as_such(start, tmp_path):
    shim = start("/bin/sh", "-c", "kill -SEGV $$")
    assert [event.get("status") for event in shim.events()] == [None, -signal.SIGSEGV, None]
    assert json.loads((tmp_path / "exit.json").read_text())["status"] == -signal.SIGSEGV


def test_what_cannot_be_executed_is_said(start):
    failed, exited, _gone = start("/no/such/server").events()
    assert "cannot execute /no/such/server" in failed["why"]
    assert exited["status"] == 127


def test_stop_ends_a_deaf_tree_with_all_who_left_its_session(start, environ):
    shim = start("/bin/sh", "-c", DEAF_TREE)
    eventually(lambda: "growing" in shim.last_lines())
    eventually(lambda: len(marks(environ)) == 5)  # the shim's own environment has the mark too
    events = list(shim.events(b'{"stop": 0.1}\n'))
    assert [event["event"] for event in events] == ["started", "exited", "gone"]
    assert shim.process.wait(5) == 0
    assert marks(environ) == []


def test_the_tree_goes_when_its_main_process_goes(start, environ):
    shim = start("/bin/sh", "-c", "setsid sleep 1000 & sleep 1000 & exit 0", stop_grace_s=100.0)
    assert [event["event"] for event in shim.events()] == ["started", "exited", "gone"]
    assert shim.process.wait(5) == 0
    assert marks(environ) == []


def test_term_is_given_its_grace(start):
    shim = start("/bin/sh", "-c", "trap 'echo saved; exit 0' TERM; echo up; while :; do sleep 0.01; done")
    eventually(lambda: "up" in shim.last_lines())
    assert [event.get("status") for event in shim.events(b'{"stop": 30}\n')] == [None, 0, None]
    assert shim.last_lines()[-1] == "saved"


def test_a_later_stop_brings_the_kill_forward(start):
    shim = start("/bin/sh", "-c", DEAF_TREE)
    eventually(lambda: "growing" in shim.last_lines())
    assert list(shim.events(b'{"stop": 1000}\n{"stop": 0}\n'))[1]["status"] == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_shim_ends_the_tree(start, environ, number):
    shim = start("/bin/sh", "-c", DEAF_TREE)
    eventually(lambda: "growing" in shim.last_lines())
    shim.process.send_signal(number)
    assert shim.process.wait(5) == 0
    assert marks(environ) == []


def test_a_server_outlives_its_daemons_and_each_is_told_all(start):
    shim = start("/bin/sleep", "1000")
    pids = []
    for _ in range(3):
        told = next(events := shim.events())
        pids.append(told["pid"])
        events.close()
        assert is_running(pids[0])
    assert len(set(pids)) == 1
    assert list(shim.events(b'{"stop": 1}\n'))[-1] == {"event": "gone"}


def test_what_happens_without_a_daemon_is_on_disk(start, tmp_path):
    shim = start("/bin/sh", "-c", "sleep 0.2; echo last words; exit 7")
    next(events := shim.events())
    events.close()
    assert shim.process.wait(5) == 0
    assert shim.last_lines()[-1] == "last words"
    assert json.loads((tmp_path / "exit.json").read_text())["status"] == 7


def test_the_kernel_names_the_shim_at_the_other_end_and_not_who_opened_the_socket(start):
    shim = start("/bin/sleep", "1000")
    assert next(shim.events())["event"] == "started"
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(shim.path)
        peer = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    assert peer[0] == shim.process.pid


@pytest.mark.parametrize("garbage", [b"\xff\n", b"{}\n", b"[]\n", b'{"stop": null}\n', b'{"stop": "soon"}\n'])
def test_garbage_costs_the_connection_and_nothing_else(start, garbage):
    shim = start("/bin/sleep", "1000")
    assert [event["event"] for event in shim.events(garbage)] == ["started"]
    assert [event["event"] for event in shim.events(b'{"stop": 1}\n')] == ["started", "exited", "gone"]


def test_kill_9_of_the_shim_kills_the_servers_main_process(start):
    shim = start("/bin/sleep", "1000")
    pid = next(shim.events())["pid"]
    shim.process.kill()
    shim.process.wait(5)
    eventually(lambda: not is_running(pid))


def test_a_flood_neither_stalls_the_server_nor_fills_the_disk(start, tmp_path):
    flood = (
        "import os\nfor _ in range(2000): os.write(2, (b'x' * 99 + b'\\n') * 400)\nos.write(1, b'through\\n')"
    )
    shim = start(sys.executable, "-I", "-S", "-c", flood)  # 80 MB
    exited = list(shim.events())[1]
    assert exited["status"] == 0
    shim.process.wait(5)
    assert sum(file.stat().st_size for file in tmp_path.glob("server.log*")) <= 3 * (64 << 10)
    dropped = json.loads((tmp_path / "exit.json").read_text())["dropped_bytes"]
    assert 0 < dropped < 80_000_008


def test_a_full_disk_does_not_stall_the_server(start, tmp_path):
    (tmp_path / "server.log").symlink_to("/dev/full")
    shim = start("/bin/sh", "-c", "for i in 1 2 3; do echo $i; done; exit 4")
    assert [event.get("status") for event in shim.events()] == [None, 4, None]


def test_a_server_has_its_own_session_no_core_dumps_and_no_inherited_files(start):
    show = "ps -o sid= -p $$; ulimit -c; ls /proc/self/fd | tr '\\n' ' '; cat; kill -PIPE $$"
    shim = start("/bin/sh", "-c", show)
    started, exited, _gone = shim.events()
    session, core, fds = (line.split() for line in shim.last_lines()[1:])
    assert session == [str(started["pid"])]
    assert core == ["0"]
    assert sorted(fds) == ["0", "1", "2", "3"]  # 3 is ls's own
    assert exited["status"] == -signal.SIGPIPE


def test_a_shim_is_small(start):
    shim = start("/bin/sleep", "1000")
    next(shim.events())
    status = Path(f"/proc/{shim.process.pid}/status").read_text()
    anonymous_kib = int(status.partition("RssAnon:")[2].split()[0])
    assert anonymous_kib < 8 << 10
    assert os.getpgid(shim.process.pid) != os.getpgid(int(next(shim.events())["pid"]))
