from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from carlad.config import Config, DaemonSection
from carlad.fleet.backends.choice import choose
from carlad.fleet.ledger import Ledger
from carlad.fleet.looks import Looks
from carlad.fleet.outbreak import Outbreak
from carlad.fleet.plan import plan_of
from carlad.fleet.ports import PortRegistry
from carlad.fleet.situation import Situation
from carlad.journal import Journal
from carlad.runtime import Changes
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


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other tests may take longer for a scrub than a server is worth."""
    monkeypatch.setattr("carlad.fleet.scrub.MAX_S", 20.0)


@pytest.fixture
def run_fleet(tmp_path: Path, environ: dict[str, str]) -> Runner:
    """Runs a scenario on a fleet: of stand-ins, unless the test gives a launcher."""
    return Runner(tmp_path, environ)


@pytest.fixture
def situation(tmp_path: Path) -> Iterator[Situation]:
    """Of a slot that has not run, nor does."""
    config = Config(daemon=DaemonSection(log_dir=str(tmp_path)))
    backend = choose(config, {}, PortRegistry(2000, 2100), "test")
    plan = plan_of(config, backend, Outbreak(), Looks(), trio.Event(), tmp_path)
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        yield Situation(0, plan, lambda *_, **__: None, Changes(), Ledger(journal))
