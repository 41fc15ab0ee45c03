"""What a run of the tests leaves behind is found, and nobody else's."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests import leftovers
from tests.daemon_process import until
from tests.leftovers import MARK, Leftovers


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Leftovers]:
    """Of its own, within this one."""
    monkeypatch.setattr(leftovers, "ENDS_WITHIN_S", 0.0)
    (tmp_path / "temporary").mkdir()
    found = Leftovers(tmp_path, tmp_path / "temporary")
    found.enter(monkeypatch)
    yield found
    assert found.found() == []


def test_a_process_is_found_by_its_mark(run: Leftovers) -> None:
    with sleeping() as process:
        until(lambda: run.found() == [f"process {process.pid}: sleep 1000"], 10.0)


def test_a_process_without_an_environment_is_found_by_its_files(run: Leftovers, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log, sleeping({}, log) as process:
        until(lambda: run.found() == [f"process {process.pid}: sleep 1000"], 10.0)


def test_other_peoples_processes_are_theirs(run: Leftovers) -> None:
    with sleeping({MARK: "another run's"}):
        assert run.found() == []


def test_temporary_files_are_found_but_for_caches(run: Leftovers) -> None:
    Path(tempfile.gettempdir(), ".tensorboard-info").mkdir()
    with tempfile.NamedTemporaryFile(prefix="left-") as file, tempfile.TemporaryDirectory() as folder:
        names = sorted([f"temporary file {Path(file.name).name}", f"temporary folder {Path(folder).name}"])
        assert sorted(run.found()) == names


def test_shared_memory_is_found_once_nobody_has_it(run: Leftovers) -> None:
    path = Path("/dev/shm", f"left-{os.getpid()}")
    with path.open("w"):
        assert run.found() == []
    try:
        assert run.found() == [f"shared memory {path.name}"]
    finally:
        path.unlink()


@contextmanager
def sleeping(
    environ: Mapping[str, str] | None = None, output: IO[str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing; `environ`: instead of this one's."""
    process = subprocess.Popen(["sleep", "1000"], env=environ, stdout=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
