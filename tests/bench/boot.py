"""`make bench NAME=boot`: how long it takes until there are servers, from nothing.

A daemon from its start until so many stand-ins are READY, checked and leasable, against as many stand-ins
that are merely started at once, until the last one listens. Then from a lease's request until the official
client has its world. They take turns; medians.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

import carla

import carlad
from carlad.client import Client
from tests.bench.harness import Report, progress
from tests.daemon_process import DaemonProcess, all_ready, until, until_status
from tests.ports import free_port, listens

SIZES = (1, 2, 4, 8)
ROUNDS = 5


def main() -> None:
    report = Report("boot")
    found: dict[str, list[float]] = {}
    for number in range(1, ROUNDS + 1):
        progress(f"round {number} of {ROUNDS}: {', '.join(map(str, SIZES))} servers")
        for size in SIZES:
            found.setdefault(f"{size} stand-ins listen", []).append(_bare_s(size))
            ready_s, lease_s, world_s = _carlad_s(size)
            found.setdefault(f"{size} servers READY", []).append(ready_s)
            found.setdefault("lease granted", []).append(lease_s)
            found.setdefault("lease and carla.Client's world", []).append(world_s)
    for size in SIZES:
        bare, ours = f"{size} stand-ins listen", f"{size} servers READY"
        report.add(bare, median(found[bare]), "s")
        report.add(ours, median(found[ours]), "s", bare)
    for name in ("lease granted", "lease and carla.Client's world"):
        report.add(name, 1000 * median(found[name]), "ms")
    report.write()


def _bare_s(size: int) -> float:
    ports = [free_port() for _ in range(size)]
    command = [sys.executable, "-m", "carlad.standin"]
    with ExitStack() as stack:
        started_s = time.perf_counter()
        for port in ports:
            process = subprocess.Popen([*command, f"-carla-rpc-port={port}"], stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
        until(lambda: all(map(listens, ports)), 120.0)
        return time.perf_counter() - started_s


def _carlad_s(size: int) -> tuple[float, float, float]:
    """Until all are READY; until a lease is granted; until its world is there as well."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="carlad-boot-")))
        daemon = stack.enter_context(closing(DaemonProcess(folder, {"fleet": f"size = {size}"}, {})))
        started_s = time.perf_counter()
        daemon.start()
        with Client(daemon.endpoint) as client:
            until_status(client, all_ready)
        ready_s = time.perf_counter() - started_s
        asked_s = time.perf_counter()
        with carlad.lease(endpoint=daemon.endpoint) as lease:
            granted_s = time.perf_counter() - asked_s
            carla.Client(lease.host, lease.port).get_world()
            return ready_s, granted_s, time.perf_counter() - asked_s


if __name__ == "__main__":
    main()
