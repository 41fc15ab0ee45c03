"""What supervision costs, by the size of the fleet, and how quickly losses are made good.

`python -m tests.bench.fleet`. The servers are tiny fakes behind real shims; each size runs in a process of
its own, in which the fleet is all that runs, so its figures are the daemon's. The replacement is measured at
a real daemon with stand-ins.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import psutil
import trio

import carlad
from carlad.client import Client
from carlad.config import ProbeSection, RestartSection
from tests.bench.harness import Report
from tests.daemon_process import DaemonProcess, until_status
from tests.fleet.scenario import Runner, World, fake

SIZES = (1, 16, 64)
WATCH_S = 8.0
CRASHES = 10
REPLACEMENTS = 5
ALL_READY_S = 90.0


def main() -> None:
    report = Report("fleet")
    for size in SIZES:
        figures = _child(size)
        for case, unit in (
            ("CPU", "% of a core"),
            ("memory", "MiB"),
            ("memory of a shim", "MiB"),
            ("probe's answer", "ms"),
            ("crash seen", "ms"),
        ):
            first = f"{SIZES[0]} servers: {case}"
            report.add(f"{size} servers: {case}", figures[case], unit, first if size != SIZES[0] else None)
    with tempfile.TemporaryDirectory() as folder:
        report.add("replacement from a spare", 1000 * median(replacements(Path(folder))), "ms")
    report.write()


def _child(size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.fleet", str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(size: int) -> dict[str, float]:
    """Of `size` fakes under default probes, in this process."""
    figures: dict[str, float] = {}

    async def scenario(world: World) -> None:
        for slot in range(size):
            await world.ready(slot)
        figures.update(await _cost(world))
        figures["crash seen"] = 1000 * median([await _crash_seen_s(world, k % size) for k in range(CRASHES)])

    environ = {**os.environ, "CARLAD_TEST": f"bench-{os.getpid()}"}
    with tempfile.TemporaryDirectory() as folder:
        run = Runner(Path(folder), environ)
        run.limit_s = ALL_READY_S + WATCH_S + CRASHES * 10.0
        run(
            scenario,
            fake(environ),
            probe=ProbeSection(),
            restart=RestartSection(backoff_s=0.05, restarts_max=1000),
            size=size,
        )
    return figures


async def _cost(world: World) -> dict[str, float]:
    me = psutil.Process()
    before, began = me.cpu_times(), time.perf_counter()
    await trio.sleep(WATCH_S)
    after, elapsed_s = me.cpu_times(), time.perf_counter() - began
    cpu_s = after.user + after.system - before.user - before.system
    shims = [child for child in me.children() if "shim" in " ".join(child.cmdline())]
    answers = [vitals.answer_s for vitals in world.fleet.vitals() if vitals.answer_s is not None]
    return {
        "CPU": 100 * cpu_s / elapsed_s,
        "memory": me.memory_info().rss / (1 << 20),
        "memory of a shim": median(shim.memory_full_info().uss for shim in shims) / (1 << 20),
        "probe's answer": 1000 * median(answers) if answers else 0.0,
    }


async def _crash_seen_s(world: World, slot: int) -> float:
    status = await world.ready(slot)
    assert status.pid is not None
    os.kill(status.pid, signal.SIGKILL)
    killed_at = time.perf_counter()
    await world.until(lambda now: now.state != "READY", slot)
    seen_s = time.perf_counter() - killed_at
    await world.ready(slot, incarnation=status.incarnation + 1)
    return seen_s


def replacements(folder: Path) -> list[float]:
    """From the kill of a leased server until its holder has another one, in seconds."""
    daemon = DaemonProcess(folder, {"fleet": "size = 2\nspares = 1", "restart": "restarts_max = 1000"}, {})
    daemon.start()
    try:
        with Client(daemon.endpoint) as client:
            found = [_replacement_s(client) for _ in range(REPLACEMENTS)]
    finally:
        daemon.terminate()
    return found


def _replacement_s(client: Client) -> float:
    until_status(client, lambda now: {slot.state for slot in now.slots} == {"READY"}, 60.0)
    replaced = threading.Event()
    with carlad.lease(
        endpoint=client.endpoint, replace=True, on_replaced=lambda _lease: replaced.set()
    ) as lease:
        pid = client.status().slots[lease.slot].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        killed_at = time.perf_counter()
        assert replaced.wait(30.0)
        return time.perf_counter() - killed_at


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
    else:
        main()
