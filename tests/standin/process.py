"""Stand-in servers as processes of their own, for any test that needs one.

with standin_process() as server:
    client = carla.Client("127.0.0.1", server.rpc_port)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from tests.ports import free_port

READY_S = 60.0  # on a machine that is busy with other tests


@dataclass(frozen=True)
class StandIn:
    """A server that runs; `stderr()` is all that it has written so far."""

    process: subprocess.Popen[bytes]
    rpc_port: int
    streaming_port: int
    _log: BinaryIO

    def stderr(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def wait(self, seconds: float = 60.0) -> int:
        """The exit code, once it ends."""
        return self.process.wait(seconds)


@contextmanager
def standin_process(*flags: str, wait_ready: bool = True, rpc_port: int | None = None) -> Iterator[StandIn]:
    """Start a server, wait until it is ready, and see that it is gone at the end."""
    port = rpc_port if rpc_port is not None else free_port()
    command = [sys.executable, "-m", "carlad.standin", f"-carla-rpc-port={port}", *flags]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        server = StandIn(process, port, port + 1, log)
        try:
            if wait_ready:
                eventually(lambda: "ready" in server.stderr() or process.poll() is not None, READY_S)
                assert process.poll() is None, server.stderr()
            yield server
        finally:
            _end(process)


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until `condition` holds; fails where it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.005)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5.0)
    # Whoever was forked is in the same group.
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        return
