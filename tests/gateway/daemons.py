"""Fake daemons as processes, for tests of clients."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FakeDaemon:
    """Started anew it has the same endpoint and journal. See tests/gateway/fake_daemon.py."""

    def __init__(
        self,
        folder: Path,
        size: int,
        ttl_s: float,
        restart_s: float,
        listen: str,
        keys_dir: Path | None,
        session_port: int,
    ) -> None:
        self.endpoint = f"ipc://{folder}/run/control.sock"
        self._command = [sys.executable, "-m", "tests.gateway.fake_daemon", self.endpoint, listen]
        self._command += [
            str(session_port),
            str(keys_dir or ""),
            str(folder),
            str(size),
            str(ttl_s),
            str(restart_s),
        ]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    @property
    def pid(self) -> int:
        return self._process.pid

    def crash(self, slot: int) -> None:
        """The server of that slot dies."""
        self.command(f"crash {slot}")

    def command(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")

    def hold_down(self, slot: int) -> None:
        """The server of that slot dies, and no other takes its place."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"hold-down {slot}\n")

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.communicate()  # closes its stdin
        assert self._process.returncode in (0, -9)


@contextmanager
def fake_daemon(
    size: int = 2,
    ttl_s: float = 30.0,
    restart_s: float = 0.2,
    listen: str = "",
    keys_dir: Path | None = None,
    session_port: int = 0,
) -> Iterator[FakeDaemon]:
    """In a short folder, as socket paths must be."""
    with tempfile.TemporaryDirectory(prefix="carlad-") as folder:
        daemon = FakeDaemon(Path(folder), size, ttl_s, restart_s, listen, keys_dir, session_port)
        try:
            yield daemon
        finally:
            daemon.stop()
