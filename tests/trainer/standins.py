"""Stand-in servers for tests, on ports of their own."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from carlad.session.environment import Server
from tests.ports import free_port

_READY_WITHIN_S = 30.0


@contextmanager
def standin(port: int | None = None) -> Iterator[Server]:
    """A ready stand-in, ended afterwards."""
    chosen = port or free_port()
    with started_standin(chosen):
        yield Server("127.0.0.1", chosen, 8000)


@contextmanager
def started_standin(port: int) -> Iterator[subprocess.Popen[str]]:
    """The process of a ready stand-in, killed afterwards."""
    with start_standin(port) as process:
        try:
            yield process
        finally:
            process.kill()


def start_standin(port: int) -> subprocess.Popen[str]:
    """A stand-in process that is ready; the caller ends it."""
    command = [sys.executable, "-m", "carlad.standin", f"-carla-rpc-port={port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    _wait_for_ready(process.stderr)
    return process


def _wait_for_ready(stderr: IO[str]) -> None:
    deadline_s = time.monotonic() + _READY_WITHIN_S
    while True:
        assert select.select([stderr], [], [], max(0.0, deadline_s - time.monotonic()))[0], (
            "not ready in time"
        )
        line = stderr.readline()
        assert line, "the stand-in ended before it was ready"
        if "ready" in line:
            return
