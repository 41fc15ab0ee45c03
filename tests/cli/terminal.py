"""A program at a terminal of its own, as a person has it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

_PATIENCE_S = 30.0


class Terminal:
    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def read_until(self, end: str) -> str:
        """What was shown since the last reading."""
        shown = b""
        while end.encode() not in shown:
            assert select.select([self._descriptor], [], [], _PATIENCE_S)[0], shown
            shown += os.read(self._descriptor, 4096)
        return shown.decode(errors="replace")


@contextmanager
def at_terminal(command: Sequence[str], environ: Mapping[str, str] | None = None) -> Iterator[Terminal]:
    """Running in the terminal's foreground; killed at the end of the block if it still runs."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
