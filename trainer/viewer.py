"""The viewer as a process of its own, beside a training."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from carlad.cli.execute import die_with_parent
from carlad.log import get_logger

log = get_logger("carlad.trainer")

_SESSIONS_WITHIN_S = 600.0  # of the training's start; it may have to wait for a server
_END_WITHIN_S = 5.0


@contextmanager
def watching(run: Path) -> Iterator[None]:
    """A window on the run, closed at the end if it is still open. The training goes on without it, too."""
    command = [sys.executable, "-m", "viz", "--run", str(run), "--wait", str(_SESSIONS_WITHIN_S)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent) as window:
        log.info("viewer.started", pid=window.pid)
        try:
            yield
        finally:
            _end(window)


def _end(window: subprocess.Popen[bytes]) -> None:
    ended = window.poll()
    if ended is not None:
        log.info("viewer.ended", code=ended)
        return
    window.terminate()
    try:
        window.wait(_END_WITHIN_S)
    except subprocess.TimeoutExpired:
        window.kill()
