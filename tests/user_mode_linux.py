"""A kernel of our own: Debian's user-mode Linux runs as a process, with this machine's files as its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fleet.processes import REPOSITORY

BOOTED_AND_DONE_S = 600.0  # half a minute, on a machine with nothing else to do
_INIT = """\
#!/bin/sh
export PATH={path} HOME=/dev/shm TMPDIR=/dev/shm PYTHONDONTWRITEBYTECODE=1 TEST_FOLDER={folder}
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/shm && mount -t tmpfs tmp /dev/shm  # so short a name that sockets have room below it
mkdir /sys/fs/cgroup/tests && echo $$ > /sys/fs/cgroup/tests/cgroup.procs
ip link set lo up
cd {repository}
exec > {folder}/said 2>&1
{python} -m pytest -p no:cacheprovider --basetemp=/dev/shm/t -rs {tests}
echo $? > {folder}/result
poweroff -f
"""


def in_own_kernel(tests: str, folder: Path, environ: Mapping[str, str] | None = None) -> None:
    """Runs a file of tests in it and fails as they do; none may be skipped. `environ` is the kernel process's
    own, which the tests do not see; they have `folder` in TEST_FOLDER. Skips where no such kernel runs."""
    if shutil.which("linux.uml") is None:
        pytest.skip("no linux.uml (Debian's user-mode-linux)")
    if os.geteuid() != 0:
        pytest.skip("its init has to be root to mount what it needs")
    init = folder / "init"
    places = {"path": os.environ["PATH"], "repository": REPOSITORY, "python": sys.executable}
    init.write_text(_INIT.format(folder=folder, tests=tests, **places))
    init.chmod(0o755)
    console = _run_kernel(init, folder, environ or {})
    if not (folder / "said").exists():
        pytest.skip(f"user-mode Linux does not run here: {console[-300:]}")
    said = (folder / "said").read_text()
    assert (folder / "result").exists(), said + console[-2000:]
    assert (folder / "result").read_text() == "0\n", said
    assert " passed" in said
    assert "SKIPPED" not in said


def _run_kernel(init: Path, folder: Path, environ: Mapping[str, str]) -> str:
    """What it says on its console until it is off."""
    kernel = ("linux.uml", "mem=2G", "quiet", f"uml_dir={folder}", "rootfstype=hostfs", "rootflags=/")
    command = (*kernel, "rw", "con=null", "con0=null,fd:1", "con1=null,fd:1", f"init={init}")
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        env={**os.environ, **environ},
    )
    try:
        console, _ = process.communicate(timeout=BOOTED_AND_DONE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return console
