"""A daemon with servers for as long as a command runs: what `carlactl local` trains on."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from carlad import config, toml
from carlad.cli import execute
from carlad.errors import CarladError
from carlad.gateway.endpoint import answers

_START_MAX_S = 60.0  # an interpreter with its imports, on a loaded machine
_LOOK_AGAIN_S = 0.05
_LAST_WORDS = 5  # lines of its log


@contextmanager
def pool(fleet: Mapping[str, object]) -> Iterator[str]:
    """The endpoint of a daemon that takes requests; servers may still be starting. Nothing of it is left, not
    even its logs. Raises ConfigError, and CarladError where it does not start."""
    with tempfile.TemporaryDirectory(prefix="carlad-local-") as name:
        folder = Path(name)
        control, file, log = folder / "control.sock", folder / "carlad.toml", folder / "carlad.log"
        daemon: dict[str, object] = {
            "endpoint": str(control),
            "state_dir": str(folder / "state"),
            "log_dir": str(folder / "logs"),
            "drain_s": 0,
        }
        file.write_text(toml.dumps({"daemon": daemon, "fleet": dict(fleet)}))
        config.load(file)  # so that a bad value is told before anything is started
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "carlad", "--config", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=execute.die_with_parent,
                cwd="/",
            )
        try:
            _await(process, control, log)
            yield f"ipc://{control}"
        finally:
            process.terminate()
            _wait(process)


def _await(process: subprocess.Popen[bytes], control: Path, log: Path) -> None:
    deadline_s = time.monotonic() + _START_MAX_S
    while not answers(control):
        if process.poll() is not None or time.monotonic() > deadline_s:
            words = log.read_text(errors="replace").splitlines()[-_LAST_WORDS:]
            raise CarladError("carlad does not start:\n" + "\n".join(f"  {line}" for line in words))
        time.sleep(_LOOK_AGAIN_S)


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Who interrupts again is in a hurry, and so is the daemon then."""
    with suppress(KeyboardInterrupt):
        process.wait()
    if process.poll() is None:
        process.terminate()
        process.wait()
