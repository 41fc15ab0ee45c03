"""Who holds a lease, and that its death is heard of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from carlad.broker.deaths import Deaths, death_of
from carlad.broker.holder import GoneError, Peer, Process, identified, process_of, start_of
from carlad.messages import Holder

WORDS = Holder(user="liar", host="box", program="train.py", pid=1, started=17)


def sleeper(program: str | Path = sys.executable) -> subprocess.Popen[bytes]:
    """Runs until it is killed or its stdin is closed."""
    return subprocess.Popen([program, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def test_what_the_kernel_says_of_a_local_process_counts_and_its_words_do_not() -> None:
    holder = identified(WORDS, Peer(user="ann", pid=os.getpid()))
    assert (holder.user, holder.pid, holder.host) == ("ann", os.getpid(), "box")
    assert process_of(holder) == Process(os.getpid(), start_of(os.getpid()) or 0)


def test_of_a_remote_holder_nothing_is_concluded_from_its_pid() -> None:
    assert process_of(identified(WORDS, Peer())) is None


def test_a_lease_of_no_process_keeps_the_user_whom_the_kernel_names() -> None:
    holder = identified(Holder(user="liar", host="box", program="sh"), Peer(user="ann", pid=os.getpid()))
    assert (holder.user, holder.pid, process_of(holder)) == ("ann", 0, None)


def test_a_process_that_is_gone_or_a_zombie_holds_nothing() -> None:
    process = sleeper()
    assert process.stdin is not None
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended and was not reaped
    for _ in range(2):
        with pytest.raises(GoneError):
            identified(WORDS, Peer(user="ann", pid=process.pid))
        process.wait()


def test_a_process_s_start_is_read_whatever_its_name_is(tmp_path: Path) -> None:
    (tmp_path / ") Z 1 2 (x").symlink_to(sys.executable)
    before = start_of(os.getpid()) or 0
    process = sleeper(tmp_path / ") Z 1 2 (x")
    try:
        assert (start_of(process.pid) or 0) > before
    finally:
        end(process)


def test_each_watched_process_that_dies_is_reported_once_and_the_others_are_not() -> None:
    died: list[Process] = []

    async def main() -> None:
        processes = [sleeper(), sleeper(), sleeper()]
        names = [Process(p.pid, start_of(p.pid) or 0) for p in processes]
        descriptors = len(os.listdir("/proc/self/fd"))
        async with trio.open_nursery() as nursery:
            one_died = trio.Event()

            def report(process: Process) -> None:
                died.append(process)
                one_died.set()

            deaths = Deaths(nursery, report, kept=0)
            deaths.watch_only(frozenset(names))
            deaths.watch_only(frozenset(names[:2]))
            await trio.testing.wait_all_tasks_blocked()
            assert len(os.listdir("/proc/self/fd")) == descriptors + 2
            end(processes[0])
            end(processes[2])
            await one_died.wait()
            nursery.cancel_scope.cancel()
        end(processes[1])
        assert died == names[:1]

    trio.run(main)


def test_a_pid_that_is_used_again_is_another_process() -> None:
    async def main() -> None:
        with trio.fail_after(5):
            await death_of(Process(os.getpid(), 1))
            await death_of(Process(2**22 + 1, 1))  # above Linux's greatest pid

    trio.run(main)
