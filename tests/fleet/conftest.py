from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.processes import eventually, pids_with
from tests.fleet.scenario import Runner


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    """An environment for servers; whoever still carries it after the test was left behind."""
    mark = f"CARLAD_TEST={secrets.token_hex(8)}"
    name, _, value = mark.partition("=")
    yield {**os.environ, name: value}
    try:
        eventually(lambda: not pids_with(mark))
    finally:
        for pid in pids_with(mark):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def run_fleet(tmp_path: Path, environ: dict[str, str]) -> Runner:
    """Runs a scenario on a fleet: of stand-ins, unless the test gives a launcher."""
    return Runner(tmp_path, environ)
