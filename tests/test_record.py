"""Benchmarks that are kept for the page: an interruption loses nothing and leaves nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.bench.record import INTERRUPTED
from tests.daemon_process import until
from tests.pages import ROOT

BENCH = """
import pathlib, sys, time
try:
    pathlib.Path(sys.argv[1], "started").touch()
    time.sleep(1000)
finally:
    time.sleep(0.5)
    pathlib.Path(sys.argv[1], "ended").touch()
"""
RUN = """
import sys
from tests.bench import record
record.end_on_signals()
sys.exit(record.run([sys.executable, "-c", *sys.argv[1:]]))
"""


def test_a_benchmark_that_is_interrupted_ends_what_it_has_started(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", RUN, BENCH, str(tmp_path)], cwd=ROOT)
    try:
        until((tmp_path / "started").exists, 60.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(60.0) == INTERRUPTED
        assert (tmp_path / "ended").exists()
    finally:
        process.kill()
        process.wait()


def test_a_name_that_is_no_benchmark_is_refused_with_those_that_are() -> None:
    command = [sys.executable, "-m", "tests.bench.record", "vectors"]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "no benchmark vectors" in refused.stderr
    assert "recovery, vector, trainer" in refused.stderr
