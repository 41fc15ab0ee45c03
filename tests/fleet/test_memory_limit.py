"""Limits of memory, kept by a kernel with cgroups of version 2, whichever this machine has.

Debian's user-mode Linux is a kernel that runs as a process, with this machine's files as its own. In it the
tests of cgroups are run as they are, and none of them is skipped.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.processes import REPOSITORY

_BOOTED_AND_DONE_S = 600.0  # half a minute, on a machine with nothing else to do
_INIT = """\
#!/bin/sh
export PATH={path} HOME={folder}/tmp TMPDIR={folder}/tmp PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmp {folder}/tmp
mkdir /sys/fs/cgroup/tests && echo $$ > /sys/fs/cgroup/tests/cgroup.procs
ip link set lo up
cd {repository}
exec > {folder}/said 2>&1
{python} -m pytest -p no:cacheprovider --basetemp={folder}/tmp/t -rs tests/fleet/test_cgroup.py
echo $? > {folder}/result
poweroff -f
"""


@pytest.mark.system
@pytest.mark.skipif(shutil.which("linux.uml") is None, reason="no linux.uml (Debian's user-mode-linux)")
@pytest.mark.skipif(os.geteuid() != 0, reason="its init has to be root to mount what it needs")
def test_the_kernel_keeps_servers_within_their_memory(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    init = tmp_path / "init"
    init.write_text(
        _INIT.format(path=os.environ["PATH"], folder=tmp_path, repository=REPOSITORY, python=sys.executable)
    )
    init.chmod(0o755)
    console = run_kernel(init, tmp_path)
    if not (tmp_path / "said").exists():
        pytest.skip(f"user-mode Linux does not run here: {console[-300:]}")
    said = (tmp_path / "said").read_text()
    assert (tmp_path / "result").read_text() == "0\n", said
    assert " passed" in said
    assert "SKIPPED" not in said


def run_kernel(init: Path, folder: Path) -> str:
    """What it says on its console until it is off."""
    kernel = ("linux.uml", "mem=2G", "quiet", f"uml_dir={folder}", "rootfstype=hostfs", "rootflags=/")
    command = (*kernel, "rw", "con=null", "con0=null,fd:1", "con1=null,fd:1", f"init={init}")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, text=True
    )
    try:
        console, _ = process.communicate(timeout=_BOOTED_AND_DONE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return console
