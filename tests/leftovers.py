"""What a run of the tests leaves behind on the machine: processes, mounts, shared memory, temporary files.

Others may run tests here at the same time. A process is the run's own if it carries its mark in its
environment, or has to do with a file in the run's folder: shims have no environment of ours, but logs.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

MARK = "CARLAD_TEST_RUN"
ENDS_WITHIN_S = 10.0  # what was killed or told to end
_SHARED_MEMORY = Path("/dev/shm")
# Of other people's libraries (torch, TensorBoard, numba, stable-baselines3, onnxruntime), and where the
# stand-in, like CARLA, keeps recordings for whoever asks for them.
_CACHES = re.compile(
    r"torch(inductor|elastic)_\w+|\.tensorboard-info|numba-\w+|SB3-[\d-]+|\.ses|carlad-recordings-\d+"
)


class Leftovers:
    """`folder`: where this run has its files. `temporary`: where all that it starts is to have its temporary
    files. Both are there already."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self._temporary = temporary
        self._places = (f"{folder}/", f"{temporary}/")
        self._mark = secrets.token_hex(8)
        self._shared = _names(_SHARED_MEMORY)
        self._began_s = time.time()

    def enter(self, patch: pytest.MonkeyPatch) -> None:
        """From now on what is started carries the mark, and has its temporary files there."""
        patch.setenv(MARK, self._mark)
        patch.setenv("TMPDIR", str(self._temporary))
        patch.setattr("tempfile.tempdir", None)  # it is asked for anew

    def found(self) -> list[str]:
        """In words, once it is not about to go."""
        deadline_s = time.monotonic() + ENDS_WITHIN_S
        while (found := [*self._look()]) and time.monotonic() < deadline_s:
            time.sleep(0.1)
        return found

    def _look(self) -> Iterator[str]:
        for process in psutil.process_iter():
            if process.pid != os.getpid() and self._is_ours(process):
                yield f"process {process.pid}: {_command(process)}"
        for mount in Path("/proc/self/mounts").read_text().splitlines():
            if (where := mount.split(" ")[1]).startswith(self._places):
                yield f"mount {where}"
        used = _in_use(_SHARED_MEMORY)
        for name in sorted(_names(_SHARED_MEMORY) - self._shared - used):
            yield f"shared memory {name}"
        for path in sorted(self._temporary.iterdir()):
            if not _CACHES.fullmatch(path.name):
                yield f"temporary {'folder' if path.is_dir() else 'file'} {path.name}"

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            is_older = process.create_time() < self._began_s - 1.0
            if is_older or process.status() == psutil.STATUS_ZOMBIE or _ends_with_us(process):
                return False
            return process.environ().get(MARK) == self._mark or any(
                path.startswith(self._places) for path in _files(process)
            )
        except psutil.Error:
            return False


def _ends_with_us(process: psutil.Process) -> bool:
    """A helper of Python's `multiprocessing`, which stays as long as this process."""
    return process.ppid() == os.getpid() and "from multiprocessing." in " ".join(process.cmdline())


def _files(process: psutil.Process) -> Iterator[str]:
    """What it was started with, where it is, and what it has open."""
    yield from process.cmdline()
    yield process.cwd()
    yield from _open_files(process.pid)


def _open_files(pid: int) -> Iterator[str]:
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for descriptor in descriptors:
        with suppress(OSError):
            yield os.readlink(f"/proc/{pid}/fd/{descriptor}")


def _in_use(folder: Path) -> set[str]:
    """The names in `folder` that a process has mapped or open: somebody's who is still there."""
    found: set[str] = set()
    for pid in psutil.pids():
        try:
            mapped = Path(f"/proc/{pid}/maps").read_text(errors="replace")
        except OSError:
            mapped = ""
        found.update(re.findall(rf" {re.escape(str(folder))}/(\S+)", mapped))
        found.update(path.removeprefix(f"{folder}/") for path in _open_files(pid))
    return found


def _names(folder: Path) -> set[str]:
    """Of files: a folder there may be anybody's who has nothing in it open just now."""
    return {entry.name for entry in os.scandir(folder) if entry.is_file()} if folder.is_dir() else set()


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:200]
    except psutil.Error:
        return "?"
