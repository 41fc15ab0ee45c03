"""A machine that is suspended with a daemon, servers and holders on it: `suspends.py`, run in a kernel of our
own, as the machine that the tests run on is not to sleep.

User-mode Linux 6.1 wakes at once from `mem`, as it asks for the next timer where a kernel that is suspended
has none, and newer ones sleep there until a signal comes. So its library call for that takes, then, as long
as a file says: everything else of the suspend is the kernel's own, its clocks included.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.suspends import SLEEP_FOR
from tests.user_mode_linux import in_own_kernel

_SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void sleep_as_said(void) {
    struct timespec left = {0, 0};
    FILE *file = fopen(getenv("TEST_SUSPEND_S"), "r");
    if (!file) return;
    if (fscanf(file, "%ld", &left.tv_sec) != 1) left.tv_sec = 0;
    fclose(file);
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    while (nanosleep(&left, &left) == -1 && errno == EINTR) {}
    sigprocmask(SIG_SETMASK, &before, NULL);
}

int timer_gettime(timer_t timer, struct itimerspec *next) {
    int failed = syscall(SYS_timer_gettime, (int)(long)timer, next);
    if (!failed && !next->it_value.tv_sec && !next->it_value.tv_nsec) sleep_as_said();
    return failed;
}
"""


@pytest.mark.system
def test_suspends_end_what_lives_shorter_and_disturb_nothing_else(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library, source = tmp_path / "suspend.so", tmp_path / "suspend.c"
    source.write_text(_SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    own = {"LD_PRELOAD": str(library), "TEST_SUSPEND_S": str(tmp_path / SLEEP_FOR)}
    in_own_kernel("tests/system/suspends.py", tmp_path, own)
