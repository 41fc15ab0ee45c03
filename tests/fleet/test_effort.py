from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from carlad.fleet.effort import Effort, effort_of
from tests.fleet.processes import bystander, eventually

IDLE = Effort(cpu_s=10.0, read_bytes=1 << 30)


@pytest.mark.parametrize(
    ("later", "busy"),
    [
        (IDLE, False),
        (Effort(cpu_s=10.3, read_bytes=IDLE.read_bytes), False),  # threads that idle beside a stuck one
        (Effort(cpu_s=11.9, read_bytes=IDLE.read_bytes), True),
        (Effort(cpu_s=10.0, read_bytes=IDLE.read_bytes + (1 << 20)), False),
        (Effort(cpu_s=10.0, read_bytes=IDLE.read_bytes + (100 << 20)), True),
    ],
)
def test_work_is_cpu_time_or_reading(later, busy):
    assert later.is_busy_since(IDLE, seconds=2.0) is busy


def test_the_effort_of_a_process_grows_with_its_work(environ):
    spin = "while True: open('/proc/self/maps').read()"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", spin]) as worker:
        try:
            before, started = effort_of([worker.pid]), time.monotonic()
            eventually(lambda: effort_of([worker.pid]).cpu_s - before.cpu_s >= 0.05)
            assert effort_of([worker.pid]).read_bytes > before.read_bytes
            assert effort_of([worker.pid]).cpu_s <= time.monotonic() - started + 1
        finally:
            worker.kill()


def test_a_process_that_is_gone_counts_as_nothing(environ):
    with bystander(environ) as sleeper:
        pass
    assert effort_of([sleeper.pid]) == Effort(0.0, 0)
    assert effort_of([os.getpid(), sleeper.pid]).cpu_s > 0
