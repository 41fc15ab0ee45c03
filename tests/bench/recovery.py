"""`make bench NAME=recovery`: what a crash and a hang cost, under carlad and under the loops that are in use.

Two environments (Route-v0 on stand-ins) are stepped by a learner that does not learn; a server is killed, or
stopped, and each way brings the learner back as it does. After carla-roach: the whole training ends with its
environment, and everything is killed and started again, with its pauses (train_rl.sh, utils/server_utils.py).
After CaRL: processes are looked at every 30 s, and if one has gone, all are killed and started again
(team_code_roach/train_parallel.py); it waits 360 s before that, and here 10. Both lose what they have not
saved, which is not counted here, and all start stand-ins, which are ready in a second, where CARLA takes ten
and more. Of a hang roach's clients hear after 60 s, here after 10; CaRL does not see it, and is left out.

Each window is a minute with one fault, from the first step on; all ways take turns. `share` is what is left
of the way's own rate before the fault. Arguments: rounds, seconds of a window.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

from carlad.client import Client
from tests.bench.harness import Report, progress
from tests.daemon_process import DaemonProcess, all_ready, until, until_status
from tests.ports import free_port

ENVIRONMENTS = 2
ROUNDS, WINDOW_S = 1, 60.0
FAULT_AFTER_S = 10.0
FAULTS = {"crash": signal.SIGKILL, "hang": signal.SIGSTOP}
_FIRST_STEP_WITHIN_S = 120.0
_BACK_WITHIN_S = 300.0  # beyond the window
# Of carla-roach: after its training has ended; after a killall; after the servers are started.
_ROACH_S = {"again": 2.0, "killed": 1.0, "started": 5.0}
# Of CaRL: between two looks; before everything is killed (in place of 360); after that.
_CARL_S = {"look": 30.0, "grace": 10.0, "killed": 10.0}


class Window(NamedTuple):
    """`rate`: steps a second before the fault; `goodput`: within the window, fault and all."""

    rate: float
    goodput: float
    recovery_s: float


class Way(ABC):
    """Of keeping a training going. `over` ends it."""

    def __init__(self, folder: Path) -> None:
        self.record = folder / "record"
        self.record.touch()
        self.over = threading.Event()
        self._log = (folder / "log").open("ab")

    @abstractmethod
    def run(self) -> None:
        """Until `over`."""

    @abstractmethod
    def victim(self) -> int:
        """A server that is in use."""

    def learner(self, *where: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.bench.peers.stepping", str(self.record), *where]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, "TMPDIR": str(self.record.parent)},  # it is killed, and cleans up nothing
            start_new_session=True,
        )

    def close(self) -> None:
        self._log.close()


class Carlad(Way):
    """A daemon with as many servers, and no spare."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._daemon = DaemonProcess(folder, {"fleet": f"size = {ENVIRONMENTS}"}, {})
        self._daemon.start()
        self._client = Client(self._daemon.endpoint)
        until_status(self._client, all_ready)

    def run(self) -> None:
        learner = self.learner("--daemon", self._daemon.endpoint, str(ENVIRONMENTS))
        self.over.wait()
        _kill_group(learner)

    def victim(self) -> int:
        return next(slot.pid for slot in self._client.status().slots if slot.lease_id and slot.pid)

    def close(self) -> None:
        self._client.close()
        self._daemon.close()
        super().close()


class Loop(Way):
    """Servers that are started and killed by hand, always on the same ports."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._ports = [free_port() for _ in range(ENVIRONMENTS)]
        self._servers: list[subprocess.Popen[bytes]] = []
        self._learner: subprocess.Popen[bytes] | None = None

    def victim(self) -> int:
        return self._servers[0].pid

    def start_servers(self) -> None:
        command = [sys.executable, "-m", "carlad.standin"]
        self._servers = [
            subprocess.Popen([*command, f"-carla-rpc-port={port}"], stdout=self._log, stderr=self._log)
            for port in self._ports
        ]

    def start_learner(self) -> subprocess.Popen[bytes]:
        self._learner = self.learner(*map(str, self._ports))
        return self._learner

    def kill_all(self) -> None:
        for process in self._servers:
            process.kill()
            process.wait()
        if self._learner is not None:
            _kill_group(self._learner)

    def close(self) -> None:
        self.kill_all()
        super().close()


class Roach(Loop):
    """Until its training has ended well: kill, sleep, start, sleep, train."""

    def run(self) -> None:
        while not self.over.is_set():
            self.kill_all()
            self.over.wait(_ROACH_S["killed"])
            self.start_servers()
            self.over.wait(_ROACH_S["started"])
            learner = self.start_learner()
            while learner.poll() is None and not self.over.wait(0.05):
                pass
            self.over.wait(_ROACH_S["again"])


class Carl(Loop):
    """Looks every now and then whether all run, and starts all anew where one does not."""

    def run(self) -> None:
        while not self.over.is_set():
            self.start_servers()
            learner = self.start_learner()
            while all(process.poll() is None for process in (*self._servers, learner)):
                if self.over.wait(_CARL_S["look"]):
                    return
            self.over.wait(_CARL_S["grace"])
            self.kill_all()
            self.over.wait(_CARL_S["killed"])


def _kill_group(learner: subprocess.Popen[bytes]) -> None:
    """With its environments' processes, which wait for it for ever. Python's resource tracker is left to take
    their semaphores out of /dev/shm, after which it ends."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            is_tracker = "multiprocessing.resource_tracker" in " ".join(process.cmdline())
            if os.getpgid(process.pid) == learner.pid and not is_tracker:
                process.kill()
    learner.wait()


WAYS: dict[str, type[Way]] = {"carlad": Carlad, "after carla-roach": Roach, "after CaRL": Carl}


def main(rounds: int = ROUNDS, window_s: float = WINDOW_S) -> None:
    cases = [(fault, way) for fault in FAULTS for way in WAYS if (fault, way) != ("hang", "after CaRL")]
    windows: dict[tuple[str, str], list[Window]] = {case: [] for case in cases}
    for _ in range(rounds):
        for fault, way in cases:
            progress(f"{fault}, {way}: {window_s:g} s from the first step on")
            windows[fault, way].append(_window(WAYS[way], FAULTS[fault], window_s))
    _report(windows).write()


def _report(windows: dict[tuple[str, str], list[Window]]) -> Report:
    report = Report("recovery")
    for (fault, way), found in windows.items():
        base = None if way == "carlad" else f"{fault}: stepping again, carlad"
        report.add(f"{fault}: stepping again, {way}", median(w.recovery_s for w in found), "s", base)
    for (fault, way), found in windows.items():
        name = "goodput-one-crash-a-minute" if fault == "crash" else "goodput-one-hang-a-minute"
        against = None if way == "carlad" else f"{name}, carlad"
        report.add(f"{name}, {way}", median(w.goodput for w in found), "steps/s", against)
        against = None if way == "carlad" else f"{name}, share, carlad"
        report.add(f"{name}, share, {way}", median(w.goodput / w.rate for w in found), "", against)
    return report


def _window(kind: type[Way], fault: signal.Signals, window_s: float) -> Window:
    with tempfile.TemporaryDirectory(prefix="carlad-recovery-") as folder:
        way = kind(Path(folder))
        running = threading.Thread(target=way.run)
        running.start()
        try:
            until(lambda: bool(_steps(way.record)), _FIRST_STEP_WITHIN_S)
            began_s = time.monotonic()
            _sleep_until(began_s + FAULT_AFTER_S)
            victim, struck_s = way.victim(), time.monotonic()
            os.kill(victim, fault)
            _sleep_until(began_s + window_s)
            until(
                lambda: _recovery_s(_steps(way.record), struck_s, time.monotonic()) is not None,
                _BACK_WITHIN_S,
            )
        finally:
            way.over.set()
            running.join()
            way.close()
        return _measured(_steps(way.record), began_s, struck_s, began_s + window_s)


def _measured(steps: list[tuple[float, int]], began_s: float, struck_s: float, ended_s: float) -> Window:
    before = sum(count for at_s, count in steps if began_s <= at_s < struck_s)
    whole = sum(count for at_s, count in steps if began_s <= at_s < ended_s)
    recovery_s = _recovery_s(steps, struck_s, time.monotonic())
    assert recovery_s is not None
    return Window(before / (struck_s - began_s), whole / (ended_s - began_s), recovery_s)


def _recovery_s(steps: list[tuple[float, int]], struck_s: float, now_s: float) -> float | None:
    """From the fault until all take part again: after the longest time in which not all of them did.

    None: they do not yet.
    """
    whole = [at_s for at_s, count in steps if count == ENVIRONMENTS and at_s > struck_s - 1.0]
    gaps = [(later - before, later) for before, later in pairwise(whole)]
    longest_s, again_s = max(gaps, default=(0.0, 0.0))
    if not whole or now_s - whole[-1] > longest_s:
        return None
    return again_s - struck_s


def _steps(record: Path) -> list[tuple[float, int]]:
    lines = record.read_text().split("\n")[:-1]
    return [(float(at_s), int(count)) for at_s, count in map(str.split, lines)]


def _sleep_until(at_s: float) -> None:
    time.sleep(max(0.0, at_s - time.monotonic()))


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, float), sys.argv[1:], strict=False)))
