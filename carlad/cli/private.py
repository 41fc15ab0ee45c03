"""A private daemon with one server on a given port: what `carlactl server` starts, finds and ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from carlad.cli import execute
from carlad.client import Client
from carlad.config import PORTS_PER_SLOT, default_state_dir
from carlad.endpoints import default_endpoint
from carlad.errors import CarladError, NoDaemonError
from carlad.gateway.endpoint import answers
from carlad.messages import Shutdown, SlotStatus, Status

_LOOK_AGAIN_S = 0.1
_END_MAX_S = 30.0  # its server has a few seconds after TERM
_LAST_WORDS = 5  # lines of the daemon's log


class Private:
    """Whatever there is of it: settings that were written, a daemon that runs."""

    def __init__(self, port: int, environ: Mapping[str, str] = os.environ) -> None:
        self.port = port
        self.folder = _folder(environ) / str(port)
        self.config = self.folder / "carlad.toml"
        self.log = self.folder / "carlad.log"
        control = Path(default_endpoint(environ).removeprefix("ipc://"))
        self.socket = control.with_name(f"server-{port}.sock")
        self.endpoint = f"ipc://{self.socket}"

    @property
    def runs(self) -> bool:
        return answers(self.socket)

    def write(self, fleet: Mapping[str, object]) -> None:
        """Its configuration: `fleet` and what makes it private."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        last = self.port + PORTS_PER_SLOT - 1
        daemon: dict[str, object] = {"endpoint": str(self.socket), "state_dir": str(self.folder / "state")}
        daemon |= {"log_dir": str(self.folder / "logs"), "drain_s": 0}
        ports = {"size": 1, "open": True, "ports": [self.port, last]}
        sections: dict[str, dict[str, object]] = {"daemon": daemon, "fleet": {**ports, **fleet}}
        lines = ["# Written by `carlactl server start`."]
        for section, keys in sections.items():
            lines += ["", f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        self.config.write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [sys.executable, "-m", "carlad", "--config", str(self.config)]

    def run(self) -> int:
        """In the foreground; carlad's exit code. An interrupt ends it, and so does our own end."""
        carlad = subprocess.Popen(self.command(), start_new_session=True, preexec_fn=execute.die_with_parent)
        try:
            return carlad.wait()
        except KeyboardInterrupt:
            carlad.terminate()
            return carlad.wait()

    def start_in_background(self) -> Iterator[str]:
        """Yields how it goes until the server is ready. Raises CarladError, and then nothing runs."""
        with self.log.open("ab") as log:
            daemon = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
        while daemon.poll() is None:
            slot = self.slot()
            if slot is not None and slot.state == "LEASED":
                return
            if slot is not None and slot.state == "QUARANTINED":
                self.stop()
                raise CarladError(f"the server does not start: {slot.reason}")
            yield "starting carlad" if slot is None else f"{slot.state} {slot.reason or ''}"
            time.sleep(_LOOK_AGAIN_S)
        words = self.log.read_text(errors="replace").splitlines()[-_LAST_WORDS:]
        raise CarladError("carlad ended at once:\n" + "\n".join(f"  {line}" for line in words))

    def status(self) -> Status | None:
        """None where no daemon answers."""
        try:
            with Client(self.endpoint) as client:
                return client.status()
        except NoDaemonError:
            return None

    def slot(self) -> SlotStatus | None:
        status = self.status()
        return None if status is None else status.slots[0]

    def stop(self) -> bool:
        """Ends daemon and server; False where none ran. Raises CarladError where that takes too long."""
        try:
            with Client(self.endpoint) as client:
                client.operate(Shutdown())
        except NoDaemonError:
            return False
        deadline_s = time.monotonic() + _END_MAX_S
        while self.runs:
            if time.monotonic() > deadline_s:
                raise CarladError(f"the server on port {self.port} does not end; see {self.log}")
            time.sleep(_LOOK_AGAIN_S)
        return True


def all_private(environ: Mapping[str, str] = os.environ) -> list[Private]:
    """That were ever started, by port."""
    folder = _folder(environ)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return [Private(port, environ) for port in sorted(int(name) for name in names if name.isdigit())]


def _folder(environ: Mapping[str, str]) -> Path:
    return default_state_dir(environ) / "servers"
