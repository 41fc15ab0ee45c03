"""Processes for the tests of servers; whatever is started here is ended here."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port

REPOSITORY = Path(__file__).parents[2]
FAKE_SERVER = (sys.executable, "-m", "tests.fleet.fake_server")


@contextmanager
def fake_server(*options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A ready fake server and its RPC port."""
    port = free_port()
    with server_on(port, *options) as process:
        yield process, port


@contextmanager
def server_on(port: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A ready fake server on that RPC port and the next one."""
    command = [*FAKE_SERVER, f"-carla-rpc-port={port}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready")
            yield process
        finally:
            process.kill()


@contextmanager
def bystander(environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of carlad's business."""
    with subprocess.Popen(["/bin/sleep", "1000"], env=environ) as process:
        try:
            yield process
        finally:
            process.kill()


def eventually(condition: Callable[[], object], within_s: float = 5.0) -> None:
    """Waits until `condition` holds; the deadline is for a machine that is busy."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {condition}"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether a process of that id is there and not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def pids_with(marker: str) -> list[int]:
    """The processes whose environment names `marker`."""
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if marker.encode() in _environ(pid) and is_running(pid)]


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
