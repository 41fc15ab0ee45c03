"""Folders for sockets, and what becomes of those whose owners were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from carlad.session.folders import Folder

_OWNER = """
import sys
from carlad.session.folders import Folder
folder = Folder()
(folder.path / "step").touch()
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@contextmanager
def owner() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    command = [sys.executable, "-c", _OWNER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())


def test_a_folder_goes_with_its_owner(tmp_path: Path) -> None:
    folder = Folder()
    (folder.path / "step").touch()
    folder.close()
    folder.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_that_of_a_killed_process_goes_with_the_next_and_those_of_others_stay(
    tmp_path: Path, number: signal.Signals
) -> None:
    with owner() as (_lives, kept), owner() as (dies, left):
        dies.send_signal(number)
        dies.wait()
        assert (left / "step").exists()
        folder = Folder()
        assert sorted(tmp_path.iterdir()) == sorted([kept, folder.path])
        assert (kept / "step").exists()
        folder.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to another user")
def test_another_user_s_is_left_alone(tmp_path: Path) -> None:
    theirs = Path(tempfile.mkdtemp(prefix="carlad-session-"))
    os.chown(theirs, 1, 1)
    Folder().close()
    assert list(tmp_path.iterdir()) == [theirs]
