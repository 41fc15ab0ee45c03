"""The real daemon with real stand-ins, as a process that leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from carlad.client import Client
from carlad.gateway.endpoint import answers
from carlad.messages import Status
from tests.ports import free_ports, is_free


class DaemonProcess:
    """`python -m carlad` on a folder of its own; started anew it finds its state again."""

    def __init__(
        self, folder: Path, sections: dict[str, str], environ: dict[str, str], ports: int = 40
    ) -> None:
        self.ports = free_ports(ports)
        self.socket = folder / "run" / "control.sock"
        self.endpoint = f"ipc://{self.socket}"
        self.config = folder / "carlad.toml"
        self.log = folder / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._seen: set[psutil.Process] = set()
        self._mark = f"CARLAD_TEST={secrets.token_hex(8)}"
        self._environ = {**os.environ, "CARLAD_TEST": self._mark.partition("=")[2], **environ}
        daemon = f'endpoint = "{self.socket}"\nstate_dir = "{folder / "state"}"\n'
        if "drain_s" not in sections.get("daemon", ""):
            daemon += "drain_s = 0\n"  # tests hold servers while they end a daemon
        fleet = f"ports = [{self.ports[0]}, {self.ports[-1]}]\n"
        texts = {"daemon": daemon, "fleet": fleet}
        for section, text in sections.items():
            texts[section] = texts.get(section, "") + text + "\n"
        self.config.write_text("".join(f"[{section}]\n{text}" for section, text in texts.items()))

    def start(self) -> None:
        """Returns when it answers; its servers may still be starting."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "carlad", "--config", str(self.config)], stderr=log, env=self._environ
            )
        until(self._answers, 60.0)

    def terminate(self, within_s: float = 60.0) -> int:
        """Its exit code after SIGTERM."""
        assert self.process is not None
        self.descendants()  # shims carry no mark: they are remembered
        self.process.terminate()
        return self.process.wait(within_s)

    def wait(self, within_s: float = 60.0) -> int:
        """Its exit code, once somebody has told it to end."""
        assert self.process is not None
        return self.process.wait(within_s)

    def kill(self) -> None:
        assert self.process is not None
        self.descendants()
        self.process.kill()
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def edit(self, old: str, new: str) -> None:
        """Changes the configuration file; the daemon is not told."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def descendants(self) -> list[int]:
        """The daemon, its shims and its servers, whoever is their parent now."""
        assert self.process is not None
        if self.process.poll() is None:
            self._seen.update(psutil.Process(self.process.pid).children(recursive=True))
        marked = {pid for pid in psutil.pids() if self._mark.encode() in _environment(pid)}
        return sorted(marked | {process.pid for process in self._seen if _is_alive(process)})

    def busy_ports(self) -> list[int]:
        return [port for port in self.ports if not is_free(port)]

    def close(self) -> None:
        """Fails where something was left behind, and ends it."""
        try:
            if self.process is not None and self.process.poll() is None:
                self.terminate()
            until(lambda: not self.descendants(), 60.0)
        finally:
            for pid in self.descendants():
                os.kill(pid, signal.SIGKILL)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        return answers(self.socket)


@contextmanager
def daemon_process(environ: dict[str, str] | None = None, **sections: str) -> Iterator[DaemonProcess]:
    """Running; `sections` are added to its configuration, such as `fleet="size = 1"`."""
    with tempfile.TemporaryDirectory(prefix="carlad-") as folder:
        daemon = DaemonProcess(Path(folder), sections, environ or {})
        try:
            daemon.start()
            yield daemon
        finally:
            daemon.close()


def until(condition: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def until_status(client: Client, condition: Callable[[Status], bool], within_s: float = 60.0) -> Status:
    """The first status that fulfils `condition`."""
    deadline = time.monotonic() + within_s
    while not condition(status := client.status()):
        assert time.monotonic() < deadline, status
        time.sleep(0.02)
    return status


def all_ready(status: Status) -> bool:
    return all(slot.state == "READY" for slot in status.slots)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
