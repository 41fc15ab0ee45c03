from __future__ import annotations

import os
import subprocess
import sys

import trio

from carlad.fleet.resources import Usage, usage_of, watch_usage

_HOG = """
import sys, threading, time
data = bytearray(64 << 20)
files = [open('/dev/null') for _ in range(10)]
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
while sum(time.process_time() for _ in (1,)) < 0.3: pass
print('ready', flush=True)
sys.stdin.read()
"""


def test_a_tree_s_memory_time_files_and_threads_are_added_up() -> None:
    hogs = [
        subprocess.Popen([sys.executable, "-c", _HOG], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for hog in hogs:
            assert hog.stdout is not None
            assert hog.stdout.readline() == b"ready\n"
        usage = usage_of(hog.pid for hog in hogs)
    finally:
        for hog in hogs:
            hog.communicate()
            hog.wait()
    assert usage.processes == 2
    assert 128 << 20 < usage.rss_bytes < 512 << 20
    assert 0.5 <= usage.cpu_s < 10.0
    assert usage.threads == 4
    assert usage.fds >= 2 * 13


def test_a_process_that_has_ended_counts_as_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert usage_of([ended.pid]).processes == 0
    assert usage_of([os.getpid(), ended.pid]).processes == 1


def test_usage_is_told_at_once_and_again_until_nobody_wants_to_know() -> None:
    told: list[Usage] = []

    async def main() -> None:
        with trio.CancelScope() as scope:

            def tell(usage: Usage) -> None:
                told.append(usage)
                if len(told) == 2:
                    scope.cancel()

            await watch_usage(lambda: [os.getpid()], 0.01, tell)

    trio.run(main)
    assert [usage.processes for usage in told] == [1, 1]
