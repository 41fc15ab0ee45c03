"""A real daemon, stand-ins, env hosts, holders and viewers, and a seeded schedule of blows at all of them.

What the blows are, and when they come, follows from the seed alone; whom they hit, of those who are there,
too, as far as real processes are the same. Nothing here judges: see history.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec
import psutil

from carlad.client import Client
from carlad.errors import CarladError
from carlad.messages import Status
from tests.daemon_process import DaemonProcess, until
from tests.system import processes
from tests.system.history import Failed, History, LeaseEnd, read_commands, read_entries
from tests.system.participants import TTL_S
from tests.system.schedule import Blow, schedule

ROOT = Path(__file__).resolve().parents[2]
SLOTS = 4
HOLDERS, STEPPERS, VIEWERS = 4, 2, 2
PORTS = 800  # so many that a block comes again only after minutes
DISK_MIB = 24
CALM_WITHIN_S = 300.0  # seconds on a quiet machine; what starts at once on a loaded one takes turns
_TICK_S = 0.05
_SAMPLE_S = 1.0
_FDS_MORE = 8  # of a daemon that took its servers back, and whose clients have just gone
_LEASE_ENDS = ("lease.released", "lease.expired", "lease.lost")

SECTIONS = {
    "daemon": "drain_s = 1",
    "fleet": f"size = {SLOTS}\nspares = 1",
    "lease": f"ttl_s = {TTL_S}",
    "probe": "period_s = 0.5\ntimeout_s = 1.0\nfailures = 3",
    "restart": "restarts_max = 1000\nbackoff_s = 0.05\nbackoff_max_s = 0.2",
    "logs": "file_mib = 0.5\nfiles_max = 2",
    "session": f'envs.marking = {{ env = "tests.system.environment:Marking", path = ["{ROOT}"] }}',
}


class Sample(msgspec.Struct, frozen=True):
    """Of the daemon, and of the folder with its state and logs. `runs`: how often it was started."""

    at_s: float
    runs: int
    rss_mib: float
    fds: int
    threads: int
    disk_mib: float


class Outcome(msgspec.Struct, frozen=True):
    history: History
    blows: dict[str, int]
    samples: tuple[Sample, ...]


def run(seed: int, seconds: float, folder: Path, every_s: float = 1.0) -> Outcome:
    """Ends all that it started. `folder` keeps what everybody wrote."""
    with _Stage(folder) as stage:
        blows = schedule(seed, seconds, every_s)
        struck = _strike(stage, blows, seconds)
        stage.calm_down()
        leftovers = stage.leave()
    history = History(
        entries=(*read_entries(sorted(stage.diaries.glob("*.jsonl"))), *stage.ends),
        commands=read_commands(stage.calls.glob("*.jsonl")),
        leftovers=tuple(leftovers),
    )
    return Outcome(history, dict(struck), tuple(stage.samples))


def _strike(stage: _Stage, blows: list[Blow], seconds: float) -> Counter[str]:
    """How many of each kind hit somebody."""
    began_s, struck = time.monotonic(), Counter[str]()
    waiting = list(reversed(blows))
    undo: list[tuple[float, Callable[[], None]]] = []
    while (passed_s := time.monotonic() - began_s) < seconds or undo:
        for due in [entry for entry in undo if entry[0] <= passed_s or passed_s > seconds]:
            undo.remove(due)
            due[1]()
        while waiting and waiting[-1].at_s <= passed_s:
            blow = waiting.pop()
            undoing = stage.blow(blow)
            if undoing is not None:
                struck[blow.kind] += 1
                undo.append((passed_s + blow.lasts_s, undoing))
        stage.respawn()
        time.sleep(_TICK_S)
    return struck


class _Stage:
    """All the processes, and what can be done to them."""

    def __init__(self, folder: Path) -> None:
        self.diaries, self.calls, self.faults, self.tmp, state = (
            folder / name for name in ("diaries", "calls", "faults", "tmp", "state")
        )
        for path in (self.diaries, self.calls, self.faults, self.tmp, state):
            path.mkdir()
        self.ends: list[LeaseEnd | Failed] = []
        self.samples: list[Sample] = []
        self._folder, self._state = folder, state
        extra = f'extra_args = ["--call-log={self.calls}", "--fault-file={self.faults}/{{port}}"]'
        sections = {**SECTIONS, "fleet": f"{SECTIONS['fleet']}\n{extra}"}
        self._environ = {"TMPDIR": str(self.tmp), "PYTHONPATH": str(ROOT)}
        self._daemon = DaemonProcess(folder, sections, self._environ, PORTS)
        self._runs = 0
        self._players: dict[str, subprocess.Popen[bytes]] = {}
        self._spawned = 0
        self._over = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> _Stage:
        try:
            self._has_small_disk = self._stack.enter_context(_small_disk(self._state))
            self._stack.callback(self._end_all)
            self._start_daemon()
            for watch in (self._watch_notices, self._sample):
                thread = threading.Thread(target=watch)
                thread.start()
                self._stack.callback(thread.join)
                self._stack.callback(self._over.set)
            self._until_ready()
            self._fds = self._fds_of_daemon()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, failure: type[BaseException] | None, *_error: object) -> None:
        if failure is not None:
            self._keep_state()
        self._stack.close()

    # --- blows: each returns how it is undone, or None where there is nobody to hit ------------------

    def blow(self, blow: Blow) -> Callable[[], None] | None:
        what, _, whom = blow.kind.partition(" ")
        if whom == "daemon":
            return self._hit_daemon(what, blow)
        if blow.kind == "corrupt journal":
            return self._corrupt_journal(blow)
        if blow.kind == "fill disk":
            return self._fill_disk()
        if blow.kind == "squat":
            return self._squat(blow)
        victims = self._victims(whom)
        if not victims:
            return None
        victim = victims[blow.which % len(victims)]
        if what == "flood":
            return self._flood(blow)
        return processes.kill(victim) if what == "kill" else processes.stop(victim)

    def _victims(self, whom: str) -> list[psutil.Process]:
        if whom in ("holder", "stepper", "viewer"):
            pids = [process.pid for name, process in sorted(self._players.items()) if name.startswith(whom)]
        elif (status := self._status()) is None:
            return []
        elif whom == "host":
            pids = [session.pid for session in status.sessions if session.pid is not None]
        else:
            pids = [slot.pid for slot in status.slots if slot.pid is not None]
        found = [process for pid in pids if (process := processes.running(pid)) is not None]
        if whom == "shim":
            found = [parent for process in found if (parent := processes.shim_of(process)) is not None]
        return found

    def _hit_daemon(self, what: str, blow: Blow) -> Callable[[], None] | None:
        process = processes.running(self._daemon.process.pid) if self._daemon.process else None
        if process is None or self._daemon.process is None or self._daemon.process.poll() is not None:
            return None
        if what == "stop":
            return processes.stop(process)
        if what != "kill":
            process.send_signal(signal.SIGUSR2 if what == "upgrade" else signal.SIGHUP)
            return lambda: None
        self._daemon.kill()
        time.sleep(min(blow.lasts_s, 2.0))
        self._start_daemon()
        return lambda: None

    def _corrupt_journal(self, blow: Blow) -> Callable[[], None] | None:
        journals = sorted(path for path in self._state.glob("journal*") if path.stat().st_size > 0)
        if not journals:
            return None
        self._daemon.kill()
        for path in journals:
            content = bytearray(path.read_bytes())
            at = blow.which % len(content)
            content[at : at + 4096] = os.urandom(len(content[at : at + 4096]))
            path.write_bytes(content)
        self._start_daemon()
        return lambda: None

    def _fill_disk(self) -> Callable[[], None] | None:
        if not self._has_small_disk:
            return None
        ballast = self._state / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        with suppress(OSError), ballast.open("ab", buffering=0) as file:
            while True:
                file.write(b"0")
        return lambda: ballast.unlink(missing_ok=True)

    def _squat(self, blow: Blow) -> Callable[[], None]:
        """Listens on the ports that are given out next."""
        status = self._status()
        newest = max((slot.rpc_port or 0 for slot in status.slots), default=0) if status else 0
        ports = self._daemon.ports
        first = ports[0] + (max(newest, ports[0]) + 4 - ports[0]) % (len(ports) - 9)
        sockets = []
        for port in (first + blow.which % 3, first + 4):
            with suppress(OSError):
                sockets.append(socket.create_server(("127.0.0.1", port)))

        def go() -> None:
            for one in sockets:
                one.close()

        return go

    def _flood(self, blow: Blow) -> Callable[[], None] | None:
        status = self._status()
        ports = [slot.rpc_port for slot in status.slots if slot.rpc_port] if status else []
        if not ports:
            return None
        fault = self.faults / str(ports[blow.which % len(ports)])
        fault.write_text("stderr-flood=4\n")
        return lambda: fault.unlink(missing_ok=True)

    # --- who takes part ------------------------------------------------------------------------------

    def respawn(self) -> None:
        """Whoever of the clients is gone is followed by another one, and so is a daemon, which should not."""
        self._revive_daemon()
        for role, count in (("holder", HOLDERS), ("stepper", STEPPERS), ("viewer", VIEWERS)):
            for number in range(count):
                name = f"{role}-{number}"
                player = self._players.get(name)
                if player is not None and player.poll() is None:
                    continue
                self._spawned += 1
                diary = self.diaries / f"{name}-{self._spawned}.jsonl"
                command = [sys.executable, "-m", "tests.system.participants", role]
                self._players[name] = subprocess.Popen(
                    [*command, self._daemon.endpoint, str(diary)],
                    env={**os.environ, **self._environ},
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                )

    def _revive_daemon(self) -> None:
        """As a service manager does. None of the blows is to make it end by itself."""
        if self._daemon.process is None or (code := self._daemon.process.poll()) is None:
            return
        last = self._daemon.log.read_text(errors="replace")[-2000:]
        self.ends.append(Failed(time.monotonic(), f"the daemon ended by itself, exit code {code}:\n{last}"))
        self._start_daemon()

    def calm_down(self) -> None:
        """The clients end, and the fleet is whole again."""
        for player in self._players.values():
            player.terminate()
        for player in self._players.values():
            player.wait(CALM_WITHIN_S)
        self._until_ready()

    def leave(self) -> list[str]:
        """The daemon ends. What is still there then, in words."""
        with suppress(AssertionError):
            until(lambda: self._fds_of_daemon() <= self._fds + _FDS_MORE, 10.0)
        fds = self._fds_of_daemon()
        code = self._daemon.terminate(CALM_WITHIN_S)
        self._over.set()
        with suppress(AssertionError):
            until(lambda: not self._daemon.descendants(), 10.0)
        self._keep_state()
        left = [f"the daemon's exit code {code}"] if code else []
        if fds > self._fds + _FDS_MORE:
            left += [f"{fds} descriptors of the daemon, which had {self._fds} before anybody came"]
        left += [f"process {processes.command(pid)}" for pid in self._daemon.descendants()]
        left += [f"port {port}" for port in self._daemon.busy_ports()]
        left += [f"file {path.relative_to(self._folder)}" for path in _strays(self._folder)]
        return left

    def _keep_state(self) -> None:
        """Its disk goes with the stage."""
        kept = self._folder / "state-left"
        with suppress(shutil.Error):  # what is written meanwhile may go meanwhile
            shutil.copytree(self._state, kept, ignore=shutil.ignore_patterns("ballast"), dirs_exist_ok=True)

    def _fds_of_daemon(self) -> int:
        assert self._daemon.process is not None
        return psutil.Process(self._daemon.process.pid).num_fds()

    def _until_ready(self) -> None:
        def is_ready() -> bool:
            self._revive_daemon()
            status = self._status()
            return status is not None and _is_calm(status)

        try:
            until(is_ready, CALM_WITHIN_S)
        except AssertionError:
            log = self._daemon.log.read_text()[-4000:]
            raise AssertionError(f"the fleet does not come to rest: {self._status()}\n{log}") from None

    def _status(self) -> Status | None:
        try:
            with Client(self._daemon.endpoint, 3.0) as client:
                return client.status()
        except CarladError:
            return None

    def _start_daemon(self) -> None:
        """As a service manager does: again, where it did not come up, as on a disk that is full."""
        deadline_s = time.monotonic() + CALM_WITHIN_S
        while True:
            with suppress(AssertionError):
                self._daemon.start()
                self._runs += 1
                return
            assert time.monotonic() < deadline_s, self._daemon.log.read_text()[-2000:]
            (self._state / "ballast").unlink(missing_ok=True)

    def _watch_notices(self) -> None:
        """Ends of leases, by any run of the daemon."""
        newest, run = 0, ""
        while not self._over.wait(_TICK_S):
            try:
                with Client(self._daemon.endpoint, 3.0) as client:
                    events = client.events(newest, run)
            except CarladError:
                continue
            if events.run != run:
                newest, run = 0, events.run
            since_epoch_s = time.time() - time.monotonic()
            for notice in events.notices:
                newest = max(newest, notice.number)
                if notice.event in _LEASE_ENDS and notice.lease_id is not None:
                    token = int(notice.lease_id.removeprefix("lease-"))
                    self.ends.append(LeaseEnd(notice.at_unix_s - since_epoch_s, token, notice.event))

    def _sample(self) -> None:
        began_s = time.monotonic()
        while not self._over.wait(_SAMPLE_S):
            with suppress(psutil.Error):
                process = psutil.Process(self._daemon.process.pid if self._daemon.process else 0)
                with process.oneshot():
                    self.samples.append(
                        Sample(
                            time.monotonic() - began_s,
                            self._runs,
                            process.memory_info().rss / (1 << 20),
                            process.num_fds(),
                            process.num_threads(),
                            psutil.disk_usage(str(self._state)).used / (1 << 20),
                        )
                    )

    def _end_all(self) -> None:
        """However it went."""
        for player in self._players.values():
            with suppress(ProcessLookupError):
                player.send_signal(signal.SIGCONT)
                player.kill()
            player.wait()
        process = self._daemon.process
        if process is not None and process.poll() is None:
            self._daemon.kill()
        for pid in self._daemon.descendants():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _is_calm(status: Status) -> bool:
    return (
        len(status.slots) == SLOTS
        and all(slot.state == "READY" for slot in status.slots)
        and not status.leases
        and not status.sessions
    )


def _strays(folder: Path) -> Iterator[Path]:
    """Sockets, secrets and temporary files that outlived everybody."""
    for path in sorted(folder.rglob("*")):
        is_temporary = path.is_relative_to(folder / "tmp") and path.is_file()
        if path.is_socket() or path.is_fifo() or is_temporary or path.suffix == ".secret":
            yield path


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """A disk of its own in `folder`; False where we may not mount one."""
    options = f"size={DISK_MIB}m,mode=0700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "chaos", str(folder)]
    is_mounted = subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
