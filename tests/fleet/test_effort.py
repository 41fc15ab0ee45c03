from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from msgspec.structs import replace

from carlad.fleet.effort import Effort, Work, effort_of
from tests.fleet.processes import bystander, eventually

IDLE = Effort(cpu_s=10.0, read_bytes=1 << 30, faults=5000)


@pytest.mark.parametrize(
    ("later", "work"),
    [
        (IDLE, Work.NONE),
        (replace(IDLE, cpu_s=10.3), Work.NONE),  # threads that idle beside a stuck one
        (replace(IDLE, cpu_s=11.9), Work.COMPUTES),
        (replace(IDLE, read_bytes=IDLE.read_bytes + (1 << 20)), Work.NONE),
        (replace(IDLE, read_bytes=IDLE.read_bytes + (100 << 20)), Work.LOADS),
        (replace(IDLE, cpu_s=11.9, read_bytes=IDLE.read_bytes + (100 << 20)), Work.LOADS),
        (replace(IDLE, cpu_s=11.9, faults=IDLE.faults + 10_000), Work.LOADS),
    ],
)
def test_a_server_that_loads_is_told_from_one_that_only_computes(later, work):
    assert later.work_since(IDLE, seconds=2.0) is work


def test_the_effort_of_a_process_grows_with_its_work(environ):
    spin = "while True: open('/proc/self/maps').read()"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", spin]) as worker:
        try:
            before, started = effort_of([worker.pid]), time.monotonic()
            eventually(lambda: effort_of([worker.pid]).cpu_s - before.cpu_s >= 0.05)
            assert effort_of([worker.pid]).read_bytes > before.read_bytes
            assert effort_of([worker.pid]).cpu_s <= time.monotonic() - started + 1  # it has one thread
        finally:
            worker.kill()


def test_a_process_that_is_gone_counts_as_nothing(environ):
    with bystander(environ) as sleeper:
        pass
    assert effort_of([sleeper.pid]) == Effort(0.0, 0, 0)
    assert effort_of([os.getpid(), sleeper.pid]).cpu_s > 0
